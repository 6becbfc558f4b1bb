"""Rules that turn written text into spoken text: a pattern and what stands for it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

Spoken = str | Callable[[re.Match[str]], str]


class Rule(NamedTuple):
    """Where ``pattern`` matches, ``spoken`` is said."""

    pattern: re.Pattern[str]
    spoken: Spoken


def rule(pattern: str, spoken: Spoken, flags: int = 0) -> Rule:
    """A rule from the source of a pattern."""
    return Rule(re.compile(pattern, flags), spoken)


def applied(rules: Iterable[Rule], text: str) -> str:
    """``text`` after all rules, each applied everywhere before the next."""
    for pattern, spoken in rules:
        text = pattern.sub(spoken, text)
    return text


def any_of(words: Iterable[str]) -> str:
    """A pattern for any of ``words``, the longest first, as they are written."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def words_of(table: Sequence[str] | str) -> dict[str, str]:
    """``short=long`` pairs as a table; underscores stand for blanks."""
    pairs = table.split() if isinstance(table, str) else table
    return {
        short.replace("_", " "): long.replace("_", " ") for short, _, long in (pair.partition("=") for pair in pairs)
    }
