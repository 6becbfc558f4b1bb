"""Streamed model text → clauses to speak. Pure: text in, clauses out, whatever the pieces it came in.

The first clause is short, because the user waits for it; whole sentences follow, because they sound better.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import regex

_OPENS = regex.compile(r"(?<!\\)(?:[`\[$<]|\\[(\[])")
_SPAN = regex.compile(
    r"""
      `[^`\n]{1,200}`
    | \[ [^\[\]\n]{0,300} \]
      (?: \( [^()\s]{0,2000} (?: \([^()\s]{0,200}\) [^()\s]{0,200} ){0,4} (?: [ ]+ "[^"\n]{0,200}" )? \)
        | [ ]? \[ [^\[\]\n]{0,100} \] )
    | \$\$ [^$]{1,300} \$\$
    | \$ (?: [^\s$\d\n] | \d[\d.,]* (?: [\\^_] | [a-zA-Z](?<![kKmMbBtT])(?![a-zA-Z]) ) )
      (?: [^$\n]{0,100} [^\s$\\\n] )? \$ (?!\w)
    | \\\( .{1,300}? \\\)
    | \\\[ (?s:.{1,300}?) \\\]
    | <!-- (?s:.{0,300}?) -->
    | < /? [a-zA-Z] [^<>\n]{0,300} >
    """,
    regex.VERBOSE,
)
_ADDRESS = regex.compile(r"(?:https?|ftp|wss?)://\S*|www\.\S*", regex.IGNORECASE)
LONGEST_ADDRESS = 4_000
"""Characters of a web address that is followed to its end."""


def spans(text: str) -> tuple[list[tuple[int, int]], int | None]:
    """Where parts of ``text`` that are not to be cut begin and end, and where one begins that is not complete yet."""
    found: list[tuple[int, int]] = []
    at = 0
    while (opening := _OPENS.search(text, at)) is not None:
        match = _SPAN.match(text, opening.start(), partial=True)
        if match is None:
            at = opening.end()
        elif match.partial:
            return found, opening.start()
        else:
            found.append(match.span())
            at = match.end()
    return found, None


def is_address(token: str) -> bool:
    """Whether a word is an address, or as far as it has come."""
    return _ADDRESS.match(token) is not None


def address_end(text: str, at: int) -> int | None:
    """Where the address ends that holds position ``at`` of ``text``, ``len(text)`` if it may go on; ``None``: none."""
    begin = max(text.rfind(space, 0, at) for space in " \n\t\r") + 1
    match = _ADDRESS.match(text, begin)
    return match.end() if match is not None and match.end() > at else None


FIRST_WORDS = 3
"""The first clause ends at the first punctuation mark after this many words …"""
FIRST_LIMIT = 8
"""… or after this many words without any."""
SENTENCE_LIMIT = 30
"""A longer sentence is cut, at a comma when there is one after :data:`FIRST_LIMIT` words."""
LEFTOVER = 2
"""No cut between words that would leave fewer words than this for the next clause."""
LONGEST = 400
"""Characters; what is longer without a place to cut is cut all the same."""

_CLOSERS = r"""["'”’»›)\]}」』）】*_`~]*"""
_END = re.compile(rf"(?P<stop>[.!?…]+|[,;:])(?P<closers>{_CLOSERS})$")
_INNER = re.compile(rf"(?P<stop>[。！？]+|[，、；：]+|—+){_CLOSERS}")
_CJK = re.compile(r"[぀-ヿ㐀-䶿一-鿿]")
_LIST_NUMBER = re.compile(r"[(\[]?[0-9]{1,3}[.)]")
_FENCE = re.compile(r"(?P<fence>```+|~~~+).*?(?P=fence)[^\n]*\n", re.DOTALL)
_LONGEST_FENCE = 20_000
"""Characters of code that is not spoken anyway."""

_NEVER_LAST = re.compile(
    r"mrs?|ms|dr|prof|st|mt|ft|gen|sen|rep|gov|hon|capt|lt|col|sgt|rev|pres|vs|e\.g|i\.e|cf|approx|dept|viz|ca"
    r"|(?:[^\W\d_]\.)*(?!i$)[^\W\d_]"
)
"""Words whose full stop ends no sentence, initials too (``U.S.`` may, but ``U.S. Army`` cut in two sounds worse)."""
_LETTERED = frozenset(
    "plan vitamin hepatitis type class grade section option group team part exhibit appendix point model route gate "
    "terminal hall room level category step line building block".split()
)
"""Words before which a letter is no initial: it may end a sentence."""
_BEFORE_DIGITS = re.compile(
    r"nos?|pp?|vol|figs?|sec|ch|art|eq|ext|tel|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec",
)
"""Words whose full stop ends no sentence when a number follows."""
_BEFORE_LOWER = re.compile(
    r"etc|inc|ltd|co|corp|jr|sr|bros|al|ave|blvd|rd|est|min|max|hrs?|a\.m|p\.m|b\.c|a\.d|ph\.d|m\.d"
)
"""Words whose full stop ends no sentence when the next word is in lower case."""
_LATIN = re.compile(r"[(\"'“]?(?:e\.g|i\.e)\.,", re.IGNORECASE)
_MONTH = re.compile(
    r"(?:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.?",
    re.IGNORECASE,
)
_DAY = re.compile(r"[0-9]{1,2}(?:st|nd|rd|th)?,")
_OPERATORS = "+=×*/<>≤≥≈÷±^%°$€£¥&"
"""What belongs to the words around it."""


class _Kind(IntEnum):
    NONE = -1
    """What is before and what is behind belong together."""
    WORD = 0
    SOFT = 1
    HARD = 2
    LINE = 3


@dataclass(frozen=True, slots=True)
class _Boundary:
    """A place where the text may be cut, and the words before it."""

    end: int
    kind: _Kind
    words: int


class ClauseSplitter:
    """The clauses of one reply at a time.

    Where the text is cut depends on the text alone, not on the pieces it came in. The clauses joined are the text but
    for white space. A fenced code block is one clause, so that it can be left unspoken as a whole; numbers, names,
    formulas, links and addresses stay in one piece.
    """

    def __init__(self) -> None:
        self._text = ""
        self._first = self._begins_line = True

    def push(self, text: str) -> list[str]:
        """Take the next piece of the reply; return the clauses that are complete, without white space around them."""
        self._go_on_with(self._text + text)
        return list(self._clauses())

    def pause(self) -> list[str]:
        """Nothing comes for a while: what can be said of what is there (nothing or one clause).

        The last word is kept unless a punctuation mark ends it: it may go on, as a number may behind its point.
        """
        text = self._text
        last = text[len(text) - len(re.split(r"\s", text)[-1]) :]
        end = len(text) if _is_whole(last) else len(text) - len(last)
        _, open_at = spans(text)
        if open_at is not None and open_at < end:
            end = max(text.rfind(space, 0, open_at) for space in " \n\t") + 1
        if self._is_fenced or not any(character.isalnum() for character in text[:end]):
            return []
        self._text = ""
        self._go_on_with(text[end:])
        self._first = False
        return [text[:end].rstrip()]

    def flush(self) -> list[str]:
        """The reply has ended: return what is left (nothing or one clause), and be ready for the next reply."""
        rest = self._text.rstrip()
        self._text, self._first, self._begins_line = "", True, True
        return [rest] if rest else []

    def drop(self) -> str:
        """Forget what has not been given out as a clause; returns it."""
        dropped, self._text = self._text, ""
        return dropped

    def settle(self) -> list[str]:
        """A sentence ends here, whatever may follow: return it (nothing or one clause). A block of code goes on."""
        if self._is_fenced or not self._text.strip():
            return []
        settled, self._text, self._first, self._begins_line = self._text.rstrip(), "", False, True
        return [settled]

    def _clauses(self) -> Iterator[str]:
        while self._text and (end := self._cut()) is not None:
            clause, rest = self._text[:end], self._text[end:]
            self._text, self._begins_line = "", clause.endswith("\n")
            self._go_on_with(rest)
            self._first = False
            yield clause.rstrip()

    def _go_on_with(self, text: str) -> None:
        """What is to be cut next; white space in front of it tells whether it begins a line."""
        stripped = text.lstrip()
        self._begins_line = self._begins_line or (not self._text and "\n" in text[: len(text) - len(stripped)])
        self._text = stripped

    @property
    def _is_fenced(self) -> bool:
        """Whether a block of code begins."""
        return self._text.startswith("```") or (self._text.startswith("~~~") and self._begins_line)

    def _cut(self) -> int | None:
        """Where the next clause ends; ``None`` when more text is needed to know."""
        if self._is_fenced:
            fence = _FENCE.match(self._text)
            end = fence.end() if fence else None
            return _LONGEST_FENCE if end is None and len(self._text) > _LONGEST_FENCE else end
        places = _boundaries(self._text[:LONGEST])
        end, fallback = _first_clause(places) if self._first else _sentence(places)
        if end is None and len(self._text) > LONGEST:
            return fallback or self._forced()
        return end

    def _forced(self) -> int | None:
        """Where a text is cut that has no place for it: not in the middle of an address, which would be read aloud."""
        end = address_end(self._text, LONGEST - 1)
        if end is None:
            return max(self._text.rfind(space, 0, LONGEST) for space in " \n\t") + 1 or LONGEST
        return None if end == len(self._text) < LONGEST_ADDRESS else end


def cuts(text: str) -> list[tuple[int, bool, int]]:
    """Where ``text`` may be cut between clauses: index, whether a sentence ends there, words before it."""
    places = _boundaries(text)
    return [(place.end, place.kind >= _Kind.HARD, place.words) for place in places if place.kind is not _Kind.WORD]


def _first_clause(places: Iterator[_Boundary]) -> tuple[int | None, int]:
    """Where the first clause ends, if that is known, and where it ends if it must (0: nowhere yet)."""
    fallback = 0
    for place in places:
        if place.kind is _Kind.LINE or (place.kind is not _Kind.WORD and place.words >= FIRST_WORDS):
            return place.end, fallback
        if place.words <= FIRST_LIMIT:
            fallback = place.end
        elif place.words + 1 - FIRST_LIMIT >= LEFTOVER:  # the word after the place has begun
            return fallback or place.end, fallback
    return None, fallback


def _sentence(places: Iterator[_Boundary]) -> tuple[int | None, int]:
    """The same for the clauses that follow."""
    comma = word = 0
    for place in places:
        if place.kind >= _Kind.HARD:
            return place.end, comma or word
        if place.words <= SENTENCE_LIMIT:
            word = place.end
            if place.kind is _Kind.SOFT and place.words >= FIRST_LIMIT:
                comma = place.end
        elif place.words + 1 - SENTENCE_LIMIT >= LEFTOVER:
            return comma or word or place.end, comma or word
    return None, comma or word


def _boundaries(text: str) -> Iterator[_Boundary]:
    """Places to cut, in order, as far as they are certain: those of a longer text begin with the same ones.

    What a full stop means is known once the next word has begun, so each word's end waits for that; and what is inside
    something that is not to be cut once it is complete.
    """
    whole, open_at = spans(text)
    for place in _places(text):
        if open_at is not None and place.end > open_at:
            return
        if not any(begin < place.end < end for begin, end in whole):
            yield place


def _places(text: str) -> Iterator[_Boundary]:
    words, before, kind = 0, "", _Kind.LINE
    for match in re.finditer(r"(\S+)(\s*)", text):
        token, space = match.groups()
        start = match.start()
        if words and token.startswith("```"):
            yield _Boundary(start, _Kind.LINE, words)
        for end, kind in _inner(token, complete=bool(space)):
            yield _Boundary(start + end, kind, words + _count(token[:end]))
        words += _count(token)
        if "\n" in space:
            kind = _Kind.LINE
            if words:
                yield _Boundary(match.end(1), kind, words)
        elif following := text[match.end() : match.end() + 1]:
            kind = _ending(token, following, before, first=kind >= _Kind.HARD or before.endswith(":"))
            if kind is not _Kind.NONE:
                yield _Boundary(match.end(1), kind, words)
        before = token


def _inner(token: str, *, complete: bool) -> Iterator[tuple[int, _Kind]]:
    """Places inside a token: after dashes, and after the stops of scripts that set no spaces."""
    if is_address(token):
        return
    for match in _INNER.finditer(token):
        around = token[match.start() - 1 : match.start()] + token[match.end() : match.end() + 1]
        if (match.end() < len(token) or complete) and not (len(around) == 2 and around.isdigit()):
            yield match.end(), _Kind.HARD if match["stop"][0] in "。！？" else _Kind.SOFT


def _ending(token: str, following: str, before: str, *, first: bool) -> _Kind:
    """What the end of ``token`` is; ``before`` is the word before, ``following`` how the next one begins.

    ``first``: the token may begin a clause, as the number in front of a point of a list does.
    """
    match = _END.search(token)
    if match is None:
        return _Kind.NONE if _binds(token, following) else _Kind.WORD
    if first and _LIST_NUMBER.fullmatch(token):
        return _Kind.NONE
    stop = match["stop"]
    if stop in ",;:":
        return _Kind.NONE if _goes_on(token, following, before) else _Kind.SOFT
    if following.islower() and (match["closers"] or ".." in stop or "…" in stop):
        return _Kind.SOFT
    if stop == "." and _abbreviation(token[: match.start()], following, before):
        return _Kind.NONE
    return _Kind.HARD


def _binds(token: str, following: str) -> bool:
    """Whether a word and the next belong together: a number and its unit, an operator and what it joins."""
    if following.isdigit() or (token[-1].isdigit() and not any(character.isalpha() for character in token)):
        return True
    return following in _OPERATORS or all(character in _OPERATORS for character in token)


def _goes_on(token: str, following: str, before: str) -> bool:
    """Whether a comma joins: in a date, behind ``e.g.``"""
    date = _DAY.fullmatch(token) is not None and following.isdigit() and _MONTH.fullmatch(before) is not None
    return date or _LATIN.fullmatch(token) is not None


def _is_whole(token: str) -> bool:
    """Whether ``token``, of which more might come, surely is complete: not ``exam``, ``3.``, ``https:`` or ``Dr.``"""
    match = _END.search(token)
    if match is None or match["stop"] == ":" or token[: match.start()][-1:].isdigit():
        return False
    return _ending(token, "", "", first=False) is not _Kind.NONE


def _abbreviation(word: str, following: str, before: str) -> bool:
    """Whether the full stop after ``word`` belongs to the word."""
    if before.lower() in _LETTERED and len(word) == 1:
        return False
    word = word.lstrip("\"'“‘«([{*_").lower()
    if _BEFORE_DIGITS.fullmatch(word) and following.isdigit():
        return True
    if _BEFORE_LOWER.fullmatch(word):
        return not following.isupper()
    return _NEVER_LAST.fullmatch(word) is not None


def _count(token: str) -> int:
    """Words in a token: one, or one for every two characters of a script that sets no spaces; none in punctuation."""
    if ideographs := len(_CJK.findall(token)):
        return max(1, ideographs // 2)
    return int(any(character.isalnum() for character in token))
