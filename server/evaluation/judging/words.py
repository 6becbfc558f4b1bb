"""Texts compared as they sound: without capitals and punctuation, numbers as digits. Pure."""

from __future__ import annotations

import re

from server.evaluation.expectations import Words

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen".split()
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def normalized(text: str) -> list[str]:
    """Words in lower case; numbers below a hundred as digits.

    >>> normalized("Two plus three: FIVE!")
    ['2', 'plus', '3', '5']
    >>> normalized("twenty-three or 23")
    ['23', 'or', '23']
    """
    words: list[str] = []
    tens = False
    for word in re.findall(r"[\w']+", text.lower().replace("’", "'").replace("-", " ")):
        if tens and word in _UNITS[1:10]:
            words[-1] = str(int(words[-1]) + _UNITS.index(word))
            tens = False
            continue
        tens = word in _TENS
        if tens:
            words.append(str(10 * _TENS.index(word) + 20))
        else:
            words.append(str(_UNITS.index(word)) if word in _UNITS else word)
    return words


def _distances(wanted: list[str], got: list[str]) -> list[int]:
    """Of ``got`` to each beginning of ``wanted``, the empty one first (Levenshtein, in words)."""
    column = list(range(len(wanted) + 1))
    for j, other in enumerate(got, 1):
        last, column[0] = column[0], j
        for i, word in enumerate(wanted, 1):
            last, column[i] = column[i], min(column[i] + 1, column[i - 1] + 1, last + (word != other))
    return column


def word_error_rate(reference: str, heard: str) -> float:
    """Levenshtein distance of words over the length of ``reference``."""
    wanted = normalized(reference)
    return _distances(wanted, normalized(heard))[-1] / max(1, len(wanted))


def words_reached(text: str, heard: str) -> int:
    """How many words of ``text`` were spoken, by what was ``heard`` of it.

    >>> words_reached("one two three four five", "one too three")
    3
    """
    distances = _distances(normalized(text), normalized(heard))
    return min(range(len(distances)), key=lambda n: (distances[n], abs(n - len(normalized(heard)))))


def holds(text: str, part: str) -> bool:
    """Whether the words of ``part`` stand in ``text``, one after the other."""
    return f" {' '.join(normalized(part))} " in f" {' '.join(normalized(text))} "


def wrong_words(text: str, words: Words) -> str:
    """Why ``text`` is not as ``words`` say; empty when it is."""
    if missing := [part for part in words.contains if not holds(text, part)]:
        return f"{text!r} lacks {', '.join(missing)}"
    if there := [part for part in words.not_contains if holds(text, part)]:
        return f"{text!r} has {', '.join(there)}"
    if words.any_of and not any(holds(text, part) for part in words.any_of):
        return f"{text!r} has none of {', '.join(words.any_of)}"
    if words.matches and not re.search(words.matches, text, re.IGNORECASE):
        return f"{text!r} does not match {words.matches}"
    return ""
