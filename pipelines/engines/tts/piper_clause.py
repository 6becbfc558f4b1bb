"""One clause on its way through a Piper voice: phonemes, the network's pieces of sound, and when each word begins."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from pipelines.engines.tts.piper_network import Network, Rendered
from pipelines.engines.tts.piper_text import aligned, end_of_sound, estimated, joined, phoneme_ids, sounding, word_marks
from pipelines.engines.tts.spoken import audible, pause_after, pieces_of, with_tail, word_timings
from pipelines.interfaces.tts import Speech, WordTiming

if TYPE_CHECKING:
    from piper.voice import PiperVoice


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
        phonemize = voice.piper.phonemize
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
    phonemes = joined(piper.phonemize(text.replace("[[", "[ [")))  # [[…]] would be read as phonemes
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
