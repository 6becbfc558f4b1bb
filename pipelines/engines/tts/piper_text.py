"""What Piper's voices need to know of a text: where to cut it, its phonemes as ids, and when its words begin. Pure.

A word's beginning is exact when the voice tells how many samples each phoneme id took, and estimated from the number of
phonemes when it does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.tts.spoken import Mark
from pipelines.voice.clauses import cuts

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
