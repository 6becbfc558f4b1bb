"""What of a response has been spoken, word for word: the progress that ``bot-output`` tells. Pure.

The text that is shown and the words that are heard are not the same (``3 km`` is heard as ``three kilometres``), so
both are walked through side by side: a word that is read otherwise than written counts as spoken with the next one that
is found again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from server.dialects.rtvi.shapes import Json, message

_SKIPPED = 3
"""Shown words in a row that may be read otherwise than written …"""
_INSTEAD = 16
"""… and heard words that may stand in their place."""


@dataclass(slots=True)
class Segment:
    """One clause as the client shows it."""

    id: int
    text: str
    spoken: int = 0
    """Characters of it that have been spoken."""

    def message(self, *, spoken: bool = True) -> Json:
        """``bot-output`` with where it stands; ``spoken``: whether it has a voice at all."""
        told: Json = {"text": self.text, "aggregated_by": "sentence", "segment_id": self.id, "will_be_spoken": spoken}
        if not spoken:
            return message("bot-output", **told, spoken_status="new")
        done = self.spoken >= len(self.text)
        progress = {"accumulated_text": self.text[: self.spoken], "remaining_text": self.text[self.spoken :]}
        status = "completed" if done else "in-progress" if self.spoken else "new"
        return message("bot-output", **told, spoken_status=status, spoken_progress=progress)


@dataclass(frozen=True, slots=True)
class _Word:
    segment: Segment
    end: int
    """Characters of the segment up to its end."""
    text: str
    key: str


@dataclass(slots=True)
class SpokenOutput:
    """The segments of one response that has a voice, and how far it has been heard."""

    _words: list[_Word] = field(default_factory=list)
    _next: int = 0
    """Index of the first word that has not been spoken."""
    _place: int = 0
    """How many of the heard words are accounted for."""

    def add(self, segment: Segment) -> None:
        """The next clause."""
        for found in re.finditer(r"\S+", segment.text):
            self._words.append(_Word(segment, found.end(), found[0], _key(found[0])))

    def heard(self, words: str) -> list[Json]:
        """Messages for what is new in ``words``, which are all that has been heard of the response so far."""
        keys = [_key(word) for word in words.split()]
        begin = self._next
        while self._next < len(self._words) and self._place < len(keys):
            if not self._words[self._next].key:
                self._next += 1
            elif not keys[self._place]:
                self._place += 1
            elif (step := self._step(keys)) is not None:
                self._next += step[0] + 1
                self._place += step[1] + 1
            else:
                break
        while begin < self._next < len(self._words) and not self._words[self._next].key:
            self._next += 1  # a dash belongs to the word before
        return self._told(begin)

    def finish(self) -> list[Json]:
        """The same for a response that has been heard to its end."""
        begin, self._next = self._next, len(self._words)
        return self._told(begin)

    def _step(self, keys: Sequence[str]) -> tuple[int, int] | None:
        """How many shown and how many heard words come before the next pair of equals."""
        shown = self._words[self._next : self._next + _SKIPPED + 1]
        nearby = keys[self._place : self._place + _INSTEAD + 1]
        for skipped, word in enumerate(shown):
            if word.key and word.key in nearby:
                return skipped, nearby.index(word.key)
        return None

    def _told(self, begin: int) -> list[Json]:
        told: list[Json] = []
        changed: list[Segment] = []
        for word in self._words[begin : self._next]:
            told.append(message("bot-tts-text", text=word.text))
            word.segment.spoken = word.end
            if word.segment not in changed[-1:]:
                changed.append(word.segment)
        for segment in changed:
            if not segment.text[segment.spoken :].strip():
                segment.spoken = len(segment.text)
        return told + [segment.message() for segment in changed]


def _key(word: str) -> str:
    """A word without its marks, for comparing."""
    return "".join(character for character in word.casefold() if character.isalnum())
