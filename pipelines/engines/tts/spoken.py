"""Text and time, as voices share them: what can be read out, where to breathe, and when each word sounds. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from unicodedata import category

import numpy as np

from media.frames import Samples, silence
from pipelines.interfaces.tts import Speech, WordTiming

SPEEDS = (0.25, 4.0)
"""Slowest and fastest legal speed."""
Mark = tuple[int, float]
"""A word begins: index into the text, seconds from the start of the audio."""
_PIECE = 0.5
"""Seconds of one piece: large enough to resample cheaply, small enough not to hold up the loop."""
_PART = 300
"""Characters spoken in one go; longer text is cut where a reader would breathe."""
_AUDIBLE = 100
"""Amplitude, -50 dBFS: what is below at the end of a clause is taken for silence."""


def cleaned(text: str) -> str:
    """``text`` without invisible marks (soft hyphens, direction), and blanks for what else cannot be printed (NUL)."""
    visible = (character for character in text if category(character) != "Cf")
    return "".join(character if character.isprintable() else " " for character in visible)


def parts(text: str) -> Iterator[str]:
    """``text`` in parts of at most ``_PART`` characters, cut after a sentence, else a clause, else a word.

    Parts without a letter or digit are left out.
    """
    while text:
        cut = len(text)
        if cut > _PART:
            head = text[:_PART]
            ends = (max((m.end() for m in re.finditer(p, head)), default=0) for p in (r"[.!?]\s", r"[,;:–—]\s", r"\s"))
            cut = next((end for end in ends if end), _PART)
        part, text = text[:cut], text[cut:]
        if any(character.isalnum() for character in part):
            yield part


def pause_after(text: str) -> float:
    """Seconds of silence that let the next clause join naturally."""
    return 0.15 if re.search(r"[.!?…][\"'”’)\]\s]*$", text) else 0.06


def audible(samples: Samples) -> tuple[int, int]:
    """The index of the first sample that can be heard and the one after the last; 0, 0 for silence."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > _AUDIBLE)
    return (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, 0)


def with_tail(samples: Samples, rate: int, seconds: float) -> Samples:
    """``samples`` ending in exactly ``seconds`` of silence."""
    end = audible(samples)[1] + round(seconds * rate)
    return np.concatenate((samples[:end], silence(max(0, end - len(samples)) / rate, rate)))


def word_timings(text: str, marks: list[Mark], seconds: float) -> list[WordTiming]:
    """When each word of ``text`` sounds; joined with blanks they are ``text`` again.

    ``marks`` are espeak's words, which are not the reader's: ``$3.50`` has four, ``of the`` may have one. A word starts
    at its first mark; one without a mark shares the time of the word before by its length, and bare punctuation
    belongs to the word before. The last word ends at ``seconds``.
    """
    tokens = [(match.start(), match.group()) for match in re.finditer(r"\S+", text)]
    begins = [begin for begin, _ in tokens]
    starts: list[float | None] = [None] * len(tokens)
    between: list[tuple[int, float]] = []
    for position, time in marks:
        n = bisect_right(begins, position) - 1
        if n >= 0 and position < begins[n] + len(tokens[n][1]):
            starts[n] = time if starts[n] is None else starts[n]
        elif n + 1 < len(tokens):
            between.append((n + 1, time))  # espeak points at the blank in front, though not only then
    for n, time in between:
        starts[n] = time if starts[n] is None else starts[n]
    spoken = _joined([word for _, word in tokens], starts)
    return _filled(spoken, seconds)


def _joined(words: list[str], starts: list[float | None]) -> list[tuple[str, float | None]]:
    """Words with their starts; silent punctuation joined to the word before (or after, at the very start)."""
    joined: list[tuple[str, float | None]] = []
    lead = ""
    for word, start in zip(words, starts, strict=True):
        if start is not None or any(character.isalnum() for character in word):
            joined.append((lead + word, start))
            lead = ""
        elif joined:
            joined[-1] = (f"{joined[-1][0]} {word}", joined[-1][1])
        else:
            lead += word + " "
    return joined


def _filled(words: list[tuple[str, float | None]], seconds: float) -> list[WordTiming]:
    """Words with start and end: unknown starts are laid out between the known ones by length of word."""
    starts: list[float] = []
    n = 0
    while n < len(words):
        begin = max(words[n][1] or 0.0, starts[-1] if starts else 0.0)
        stop = next((k for k in range(n + 1, len(words)) if words[k][1] is not None), len(words))
        end = max(begin, seconds if stop == len(words) else words[stop][1] or 0.0)
        sizes = [len(word) for word, _ in words[n:stop]]
        starts += [begin + (end - begin) * sum(sizes[:k]) / sum(sizes) for k in range(len(sizes))]
        n = stop
    ends = [*starts[1:], seconds]
    return [WordTiming(word, start, end) for (word, _), start, end in zip(words, starts, ends, strict=True)]


def pieces_of(samples: Samples, rate: int, offset: float, words: list[WordTiming]) -> Iterator[Speech]:
    """``samples`` in pieces, each with the words that start in it, moved by ``offset`` seconds."""
    size = round(_PIECE * rate)
    for begin in range(0, len(samples), size):
        end = begin + size
        last = end >= len(samples)
        inside = [w for w in words if begin <= round(w.start * rate) and (last or round(w.start * rate) < end)]
        moved = tuple(WordTiming(w.text, w.start + offset, w.end + offset) for w in inside)
        yield Speech(samples[begin:end], rate, moved)
