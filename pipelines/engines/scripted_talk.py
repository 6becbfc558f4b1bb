"""What scripted answers are made from: the talk so far, plain words, and numbers in words. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import cached_property

_LONGEST = 600
"""Characters of an utterance that are looked at."""
_QUOTED_WORDS = 12

_SIGNS = (
    (r"['’`\u0300-\u036f]", ""),
    (r"(?<=[0-9]),(?=[0-9]{3})", ""),
    (r"(?<=[0-9])\s*\+\s*(?=[0-9])", " plus "),
    (r"(?<=[0-9])\s*[*×]\s*(?=[0-9])", " times "),
    (r"(?<=[0-9])\s*÷\s*(?=[0-9])", " divided by "),
    (r"(?<=[0-9])\s+/\s+(?=[0-9])", " divided by "),
    (r"(?<=[0-9])\s+[-−–]\s+(?=[0-9])", " minus "),
    (r"[^\w.]|_|(?<![0-9])\.|\.(?![0-9])", " "),
)
"""What a text goes through to become plain words, in this order."""

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_VALUES = {word: n for n, word in enumerate(_SMALL)} | {word: 10 * n for n, word in enumerate(_TENS, 2)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_MISHEARD = {
    word: Fraction(n) for word, n in {"won": 1, "to": 2, "too": 2, "tree": 3, "free": 3, "for": 4, "ate": 8}.items()
}
_NUMBER_WORDS = 12
"""Words of the longest number that is looked for."""
_SIGN_OF = {
    "plus": "plus",
    "added to": "plus",
    "minus": "minus",
    "take away": "minus",
    "times": "times",
    "multiplied by": "times",
    "divided by": "divided by",
    "over": "divided by",
}
_OPERATOR = re.compile(rf"\b({'|'.join(_SIGN_OF)})\b")


@dataclass(frozen=True)
class Talk:
    """The conversation as the intents see it."""

    said: tuple[str, ...]
    """What the user said, the newest last."""
    replies: tuple[str, ...]
    """What was answered, the newest last."""
    scene: str
    """What the camera shows; empty without one."""
    now: Callable[[], datetime] | None

    @property
    def utterance(self) -> str:
        """What the user said just now, as it was recognised."""
        return self.said[-1] if self.said else ""

    @property
    def earlier(self) -> tuple[str, ...]:
        """What the user said before."""
        return self.said[:-1]

    @property
    def turn(self) -> int:
        """How many things the user said before."""
        return len(self.earlier)

    @cached_property
    def words(self) -> str:
        """:attr:`utterance` in plain words."""
        return plain(self.utterance)


def plain(text: str) -> str:
    """Lower-case words without apostrophes, accents and punctuation, one space apart (``What's up?`` → ``whats up``).

    The signs of sums become words.
    """
    text = unicodedata.normalize("NFKD", text[:_LONGEST]).lower()
    for pattern, word in _SIGNS:
        text = re.sub(pattern, word, text)
    return " ".join(text.split())


def quoted(text: str) -> str:
    """The beginning of ``text``, to be put between quotation marks."""
    words = text.replace('"', "").split()
    beginning = " ".join(words[:_QUOTED_WORDS])[:120].rstrip(".,;:!? ")
    return beginning + ("…" if len(words) > _QUOTED_WORDS else "")


def pick(choices: Sequence[str], turn: int) -> str:
    """One of ``choices``, another one each turn."""
    return choices[turn % len(choices)]


def capitalised(text: str) -> str:
    """``text`` with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def in_words(number: int) -> str:
    """0–99 in words, other numbers in digits."""
    if not 0 <= number < 100:
        return str(number)
    if number < 20:
        return _SMALL[number]
    tens = _TENS[number // 10 - 2]
    return tens if number % 10 == 0 else f"{tens}-{_SMALL[number % 10]}"


def read_number(words: Sequence[str]) -> Fraction | None:
    """The number that ``words`` spell, all of them: ``["two", "hundred", "and", "five"]``, ``["3.5"]``, or ``None``."""
    if len(words) == 1 and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", words[0]):
        return Fraction(words[0])
    if not words or words[0] not in _VALUES or words[-1] == "and":
        return None
    total = part = 0
    for word in words:
        if word in _SCALES:
            part *= _SCALES[word]
            if word != "hundred":
                total, part = total + part, 0
        elif word in _VALUES and _fits(part, _VALUES[word]):
            part += _VALUES[word]
        elif word != "and":
            return None
    return Fraction(total + part)


def _fits(part: int, value: int) -> bool:
    """Whether ``value`` may follow ``part`` in one number: ``twenty one`` but not ``one twenty``."""
    return part % 100 == 0 or (part % 10 == 0 and part % 100 >= 20 and value < 10)


def first_number(words: Sequence[str]) -> Fraction | None:
    """The number that ``words`` begin with."""
    return _longest([words[:n] for n in range(min(len(words), _NUMBER_WORDS), 0, -1)])


def last_number(words: Sequence[str]) -> Fraction | None:
    """The number that ``words`` end with."""
    return _longest([words[-n:] for n in range(min(len(words), _NUMBER_WORDS), 0, -1)])


def _longest(candidates: Sequence[Sequence[str]]) -> Fraction | None:
    """The first of ``candidates`` that is a number; at worst the last, one word, as a recogniser mishears numbers."""
    for words in candidates:
        if (number := read_number(words)) is not None:
            return number
    return _MISHEARD.get(candidates[-1][0]) if candidates else None


def sum_of(words: str) -> str | None:
    """A sum and its result as a sentence; ``None`` when ``words`` hold no sum that can be understood."""
    first, *rest = _OPERATOR.split(words)
    if not rest:
        return None
    operators, texts = [_SIGN_OF[word] for word in rest[::2]], [text.split() for text in rest[1::2]]
    numbers = [last_number(first.split()), *(read_number(text) for text in texts[:-1]), first_number(texts[-1])]
    terms: list[Fraction] = []
    told = ""
    for operator, number in zip(["plus", *operators], numbers, strict=True):
        if number is None:
            return None
        told += f" {operator} {say_number(number)}" if told else say_number(number)
        if operator == "divided by" and number == 0:
            return "Nothing can be divided by zero."
        if operator in ("plus", "minus"):
            terms.append(number if operator == "plus" else -number)
        else:
            terms[-1] = terms[-1] * number if operator == "times" else terms[-1] / number
    return f"{capitalised(told)} is {say_number(sum(terms, Fraction(0)))}."


def say_number(number: Fraction) -> str:
    """A number as it is said, to three decimals."""
    if abs(number) >= 10**15:
        return "too big for me"
    if number < 0:
        return f"minus {say_number(-number)}"
    if number.denominator == 1:
        return in_words(number.numerator)
    rounded = f"{float(number):.3f}".rstrip("0").rstrip(".")
    return rounded if Fraction(rounded) == number else f"about {rounded}"
