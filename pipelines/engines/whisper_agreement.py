"""Which words of a partial transcript can be trusted to stay: those that two decodings in a row agree on.

"LocalAgreement-2" of Macháček, Dabre and Bojar, "Turning Whisper into Real-Time Transcription System" (2023).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_LARGEST_SHIFT = 3
"""Words by which a new hypothesis may be longer or shorter over what has been committed ("I am", "I'm")."""
_ANCHOR_WORDS = 2


class LocalAgreement:
    """Takes the transcript of a growing utterance again and again; what has been committed never changes."""

    def __init__(self) -> None:
        self.committed: list[str] = []
        """Words that stay."""
        self._tail: list[str] = []
        self._glue = " "

    @property
    def text(self) -> str:
        """What is committed, and the newest guess at what comes after."""
        return self._glue.join([*self.committed, *self._tail])

    def hear(self, text: str, *, spaced: bool = True) -> str:
        """The newest transcript of everything so far; returns :attr:`text`. Not ``spaced``: words are characters."""
        words = text.split() if spaced else [c for c in text if not c.isspace()]
        self._glue = " " if spaced else ""
        tail = words[self._place_in(words) :]
        agreed = _common(self._tail, tail)
        self.committed += tail[:agreed]
        self._tail = tail[agreed:]
        return self.text

    def _place_in(self, words: Sequence[str]) -> int:
        """Where in ``words`` that begins which has not been committed."""
        end = len(self.committed)
        anchor = [_plain(word) for word in self.committed[-_ANCHOR_WORDS:]]
        for shift in sorted(range(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1), key=abs):
            place = end + shift
            before = [_plain(word) for word in words[max(0, place - len(anchor)) : max(0, place)]]
            if before == anchor:
                return place
        return end


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words both begin with, whatever their case and punctuation."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if _plain(a) != _plain(b)), min(len(one), len(other)))


def _plain(word: str) -> str:
    return re.sub(r"\W", "", word).casefold() or word
