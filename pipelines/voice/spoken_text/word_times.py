"""When the words of a clause sound, as they are written: a voice tells of the words in which it says them. Pure.

``$3.50`` is said in four words, ``**no**`` in one, and an emoji in none. What is written and what is said are laid side
by side; words that are the same have the time of what is said, and those in between share the time that is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from pipelines.interfaces.tts import WordTiming

_Block = tuple[int, tuple[str, ...]]
"""How many spoken words, and the written ones that they say."""


class ClauseWords:
    """The words of one clause, told once each as their times become known."""

    def __init__(self, written: str, spoken: str) -> None:
        self._blocks = deque(_blocks(spoken.split(), written.split()))
        self._waiting: list[WordTiming] = []
        """Spoken words of the first block, one by one."""
        self._end = 0.0
        self._timed = False

    def take(self, words: Iterable[WordTiming]) -> tuple[WordTiming, ...]:
        """The next spoken words with their times → the written words whose times are known now."""
        for word in words:
            self._timed = True
            self._waiting += _single(word)
        told: list[WordTiming] = []
        while self._blocks and 0 < self._blocks[0][0] <= len(self._waiting):
            count, written = self._blocks.popleft()
            said, self._waiting = self._waiting[:count], self._waiting[count:]
            told += _laid_out(written, said[0].start, said[-1].end)
        return self._known(told)

    def rest(self, seconds: float) -> tuple[tuple[WordTiming, ...], bool]:
        """The clause has ended after ``seconds``: all words that are left, and whether their times are estimated."""
        left = [word for _, written in self._blocks for word in written]
        begin = self._waiting[0].start if self._waiting else self._end
        self._blocks.clear()
        return self._known(_laid_out(left, min(begin, seconds), seconds)), bool(left) and not self._timed

    def _known(self, words: Sequence[WordTiming]) -> tuple[WordTiming, ...]:
        if words:
            self._end = words[-1].end
        return tuple(words)


def _blocks(spoken: Sequence[str], written: Sequence[str]) -> list[_Block]:
    """In order. None is without a spoken word, unless nothing is said at all."""
    blocks: list[_Block] = []
    lead: tuple[str, ...] = ()
    matcher = SequenceMatcher(None, [*map(_plain, spoken)], [*map(_plain, written)], autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            blocks += [(1, (word,)) for word in written[c:d]]
        elif b > a and d > c:
            blocks.append((b - a, tuple(written[c:d])))
        elif not blocks and d > c:  # written before anything is said
            lead = tuple(written[c:d])
            continue
        elif not blocks:
            blocks.append((b - a, ()))
        else:  # only written, or only said: it goes with what was before
            count, words = blocks[-1]
            blocks[-1] = (count + b - a, (*words, *written[c:d]))
        if lead:
            blocks[0] = (blocks[0][0], (*lead, *blocks[0][1]))
            lead = ()
    return blocks or [(0, lead)]


def _plain(word: str) -> str:
    """What of a word is said; of one that is not, the word itself."""
    return "".join(filter(str.isalnum, word)).casefold() or word


def _single(word: WordTiming) -> list[WordTiming]:
    """Voices join silent signs to the word before: one with a blank in it, in parts."""
    return _laid_out(word.text.split(), word.start, word.end)


def _laid_out(words: Sequence[str], start: float, end: float) -> list[WordTiming]:
    """Words that share a time by their length."""
    whole = sum(map(len, words)) or 1
    told, at = [], 0
    for word in words:
        begin, at = at, at + len(word)
        told.append(WordTiming(word, start + (end - start) * begin / whole, start + (end - start) * at / whole))
    return told
