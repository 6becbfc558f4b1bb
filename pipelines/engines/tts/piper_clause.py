"""One clause on its way through a Piper voice: its phonemes, the network's pieces of sound, and when its words begin.

A word's beginning is exact when the voice tells how many samples each phoneme id took, and estimated from the number of
phonemes when it does not.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from pipelines.engines.tts.piper_network import Network, Rendered
from pipelines.engines.tts.spoken import Mark, audible, pause_after, pieces_of, with_tail, word_timings
from pipelines.interfaces.tts import Speech, WordTiming
from pipelines.voice.clauses import cuts

if TYPE_CHECKING:
    from piper.voice import PiperVoice

BOS, EOS, PAD = "^", "$", "_"
"""Piper's names for the beginning, the end and what stands between phonemes."""
FEWEST_WORDS = 4
"""A comma cuts only after this many words, some 1.5 s of speech: shorter steps would chop the melody."""
LONGEST = 120
"""Characters of one step without any mark to cut at (some 8 s of speech)."""
_STRESS = "ˈˌ"
_SNAP = 1.5
"""Phonemes by which the estimated beginning of a word may be off a gap between phonemes and still be that gap."""


def steps(text: str) -> Iterator[str]:
    """``text`` in parts that are synthesised one by one: sentences, and clauses of long sentences.

    Parts without a letter or digit are left out.
    """
    begin = words = 0
    for end, sentence, count in cuts(text):
        if sentence or count - words >= FEWEST_WORDS:
            yield from _short(text[begin:end])
            begin, words = end, count
    yield from _short(text[begin:])


def _short(text: str) -> Iterator[str]:
    text = text.strip()
    while text:
        cut = len(text) if len(text) <= LONGEST else text.rfind(" ", 1, LONGEST)
        part, text = text[: cut if cut > 0 else LONGEST], text[cut if cut > 0 else LONGEST :].lstrip()
        if any(character.isalnum() for character in part):
            yield part


def joined(sentences: Sequence[Sequence[str]]) -> list[str]:
    """Phonemes of one sentence out of what espeak took for several, as it does after ``Dr.``."""
    phonemes: list[str] = []
    for sentence in sentences:
        if phonemes and phonemes[-1] == ".":
            phonemes[-1] = " "
        elif phonemes and phonemes[-1] != " ":
            phonemes.append(" ")
        phonemes += sentence
    return phonemes


def phoneme_ids(phonemes: Sequence[str], id_map: Mapping[str, Sequence[int]]) -> tuple[list[int], list[int]]:
    """The ids of ``phonemes`` as the voice was trained with, and for each id the phoneme that it belongs to.

    The beginning belongs to -1, the end to ``len(phonemes)``. Phonemes that the voice does not know are left out.
    """
    ids, owners = [*id_map[BOS], *id_map[PAD]], [-1] * (len(id_map[BOS]) + len(id_map[PAD]))
    for n, phoneme in enumerate(phonemes):
        if phoneme in id_map:
            own = (*id_map[phoneme], *id_map[PAD])
            ids += own
            owners += [n] * len(own)
    return [*ids, *id_map[EOS]], [*owners, *[len(phonemes)] * len(id_map[EOS])]


def aligned(owners: Sequence[int], samples: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Where each of ``count`` phonemes begins and the last one ends, in samples; shape ``(count + 1,)``.

    ``samples`` is how many of them each id took.
    """
    each = np.bincount(np.asarray(owners) + 1, weights=samples, minlength=count + 2)
    return np.asarray(np.cumsum(each)[: count + 1], np.float64)


def estimated(phonemes: Sequence[str], first: int, last: int) -> NDArray[np.float64]:
    """The same without knowledge: all that sound between samples ``first`` and ``last`` take equally long."""
    weights = _weights(phonemes)
    return np.asarray(first + (last - first) * weights / max(1.0, weights[-1]), np.float64)


def word_marks(
    text: str, phonemes: Sequence[str], starts: NDArray[np.float64], rate: int, size_of: Callable[[str], float]
) -> list[Mark]:
    """When the words of ``text`` begin; ``starts`` are of the phonemes, in samples at ``rate``.

    espeak speaks some words as one (``of the``) and some as several; then a word begins at the gap nearest to where it
    should by its number of phonemes, which ``size_of`` tells.
    """
    words = [(match.start(), match.group()) for match in re.finditer(r"\S+", text)]
    words = [(begin, word) for begin, word in words if any(character.isalnum() for character in word)]
    weights = _weights(phonemes)
    gaps = [n for n in _group_starts(phonemes) if n < len(phonemes)]
    if len(gaps) == len(words):
        places: list[float] = list(map(float, gaps))
    else:
        places = _places([size_of(word) for _, word in words], weights, gaps)
    times = np.interp(places, np.arange(len(starts)), starts) / rate
    return [(begin, float(time)) for (begin, _), time in zip(words, times, strict=True)]


def end_of_sound(phonemes: Sequence[str], starts: NDArray[np.float64]) -> float:
    """Where the last phoneme that sounds ends, in samples; ``starts`` as from :func:`aligned`."""
    last = max((n for n, phoneme in enumerate(phonemes) if _sounds(phoneme)), default=len(phonemes) - 1)
    return float(starts[last + 1])


def sounding(phonemes: Sequence[str]) -> float:
    """How many of ``phonemes`` take time."""
    return float(_weights(phonemes)[-1])


def _places(sizes: Sequence[float], weights: NDArray[np.float64], gaps: Sequence[int]) -> list[float]:
    """Where the words begin, in phonemes: at a gap if there is one near, else in proportion to their sizes."""
    total = sum(sizes)
    scale = weights[-1] / total if total else 0.0
    at = 0.0
    places: list[float] = []
    for size in sizes:
        near = min(gaps, key=lambda gap: abs(weights[gap] - at), default=None)
        if near is not None and abs(weights[near] - at) <= _SNAP and (not places or near > places[-1]):
            at = float(weights[near])
            places.append(float(near))
        else:
            places.append(float(np.interp(at, weights, np.arange(len(weights)))))
        at += size * scale
    return list(np.maximum.accumulate(places)) if places else []


def _phonemes(piper: PiperVoice, text: str) -> list[list[str]]:
    """Of the sentences of ``text``. espeak has one voice and one text at a time, whichever thread asks."""
    with _ESPEAK:
        return piper.phonemize(text)


_ESPEAK = threading.Lock()


def _group_starts(phonemes: Sequence[str]) -> Iterator[int]:
    """Indices at which something that sounds begins after a blank or at the very beginning."""
    open_group = False
    begin = 0
    for n, phoneme in enumerate(phonemes):
        if phoneme == " ":
            open_group = False
            begin = n + 1
        elif not open_group and _sounds(phoneme):
            open_group = True
            yield begin


def _sounds(phoneme: str) -> bool:
    kind = category(phoneme[0])
    return phoneme not in _STRESS and kind[0] not in "PZMC"


def _weights(phonemes: Sequence[str]) -> NDArray[np.float64]:
    """How many sounding phonemes there are before each and in all; shape ``(n + 1,)``."""
    return np.concatenate(([0.0], np.cumsum([float(_sounds(phoneme)) for phoneme in phonemes])))


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice in memory."""

    piper: PiperVoice
    """Its configuration and its phonemes; without a network of its own."""
    network: Network


@dataclass(frozen=True, slots=True)
class Manner:
    """How to speak: the name of a speaker, or ``None`` for the voice's default one, and how many times as fast."""

    speaker: str | None
    speed: float


class Stop:
    """Ends the runs of one utterance, from any thread."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._options: Any = None

    def options(self) -> Any:
        """What a run must be given. On the worker, for importing onnxruntime takes long."""
        if self._options is None:
            import onnxruntime

            self._options = onnxruntime.RunOptions()
        if self._set.is_set():
            self._options.terminate = True
        return self._options

    def set(self) -> None:
        """The run in hand fails at its next node, and so do all that follow."""
        self._set.set()
        if self._options is not None:
            self._options.terminate = True


class Clause:
    """A part of a text that is spoken without a break; ``offset`` is the seconds of speech before it.

    What is silent at the end of a piece is held back: at the end of the clause it is replaced by a pause of the right
    length.
    """

    def __init__(self, text: str, manner: Manner, offset: float) -> None:
        self.ended = False
        self.offset = offset
        """Seconds of speech before what comes next."""
        self._text = text
        self._manner = manner
        self._began = offset
        self._sound: Iterator[NDArray[np.float32]] | None = None
        self._words: list[WordTiming] = []
        self._held: Samples = np.zeros(0, np.int16)

    def step(self, voice: Voice, gain: float, stop: Stop) -> list[Speech]:
        """The next piece, which may be of several :class:`Speech` or none, with the words that begin in it."""
        rate = voice.piper.config.sample_rate
        if self._sound is None:
            self._begin(voice, gain, stop)
        raw = next(self._sound, None) if self._sound is not None else None
        if raw is None:
            self.ended = True
            if self._sound is None:
                return []
            rest, self._held = with_tail(self._held, rate, pause_after(self._text)), self._held[:0]
            return self._given(rest, rate, last=True)
        samples = np.concatenate((self._held, _as_samples(raw, gain)))
        end = audible(samples)[1]
        self._held = samples[end:]
        return self._given(samples[:end], rate)

    def _begin(self, voice: Voice, gain: float, stop: Stop) -> None:
        phonemes, rendered, owners = render(voice, self._text, self._manner, stop)
        if rendered is None:
            return
        config = voice.piper.config
        self._sound = rendered.pieces
        if rendered.per_id is not None and len(rendered.per_id) == len(owners):
            starts = aligned(owners, rendered.per_id * config.hop_length, len(phonemes))
            end = end_of_sound(phonemes, starts)
        else:  # the times can only be estimated from the sound as a whole
            whole = np.concatenate(list(rendered.pieces))
            self._sound = iter([whole])
            first, last = audible(_as_samples(whole, gain))
            starts, end = estimated(phonemes, first, last), float(last)
        seconds = end / config.sample_rate + pause_after(self._text)
        phonemize = partial(_phonemes, voice.piper)
        marks = word_marks(
            self._text, phonemes, starts, config.sample_rate, lambda word: sounding(joined(phonemize(word)))
        )
        self._words = word_timings(self._text, [(at, min(time, seconds)) for at, time in marks], seconds)

    def _given(self, samples: Samples, rate: int, *, last: bool = False) -> list[Speech]:
        """``samples`` with the words that begin in them; the last ones take all words that are left."""
        seconds = len(samples) / rate
        done = self.offset - self._began
        count = len(self._words) if last else sum(word.start < done + seconds for word in self._words)
        words, self._words = self._words[:count], self._words[count:]
        here = [WordTiming(w.text, max(0.0, w.start - done), max(0.0, w.end - done)) for w in words]
        given = list(pieces_of(samples, rate, self.offset, here))
        self.offset += seconds
        return given


def specimen(voice: Voice, text: str, manner: Manner, stop: Stop) -> tuple[NDArray[np.float32], bool]:
    """The sound of ``text`` as the network gives it, and whether word times are exact."""
    _, rendered, owners = render(voice, text, manner, stop)
    if rendered is None:
        return np.zeros(0, np.float32), False
    exact = rendered.per_id is not None and len(rendered.per_id) == len(owners)
    return np.concatenate(list(rendered.pieces)), exact


def render(voice: Voice, text: str, manner: Manner, stop: Stop) -> tuple[list[str], Rendered | None, list[int]]:
    """The phonemes of ``text``, the network's answer, and to which phoneme each id belongs (none if that is unknown).

    No answer when espeak makes no sound of ``text``.
    """
    piper = voice.piper
    config = piper.config
    phonemes = joined(_phonemes(piper, text.replace("[[", "[ [")))  # [[…]] would be read as phonemes
    if not phonemes:
        return [], None, []
    owners: list[int] = []
    if config.phoneme_type == "pinyin":  # has ids of its own making
        ids = piper.phonemes_to_ids(phonemes)
    else:
        ids, owners = phoneme_ids(phonemes, config.phoneme_id_map)
    feed: dict[str, NDArray[Any]] = {
        "input": np.array([ids], np.int64),
        "input_lengths": np.array([len(ids)], np.int64),
        "scales": np.array([config.noise_scale, config.length_scale / manner.speed, config.noise_w_scale], np.float32),
    }
    if config.num_speakers > 1:
        number = config.default_speaker_id if manner.speaker is None else config.speaker_id_map[manner.speaker]
        feed["sid"] = np.array([number], np.int64)
    return phonemes, voice.network.render(feed, stop.options), owners


def _as_samples(raw: NDArray[np.float32], gain: float) -> Samples:
    scaled = np.nan_to_num(raw) * (gain * 32767.0)
    samples: Samples = np.clip(scaled, -32767, 32767).astype(np.int16)
    return samples
