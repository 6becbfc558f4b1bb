"""How the examination writes its probes down and what its answers must match. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from pipelines.interfaces.llm import Tool
from training.starter.probe import Probe
from training.starter.words import number

MODEL = r"small (?:built-in )?model|did not understand"
"""The honest answer to what the model cannot do."""
YES = r"\byes\b"
NO = r"\bno\b|\bnot\b|n't\b"
UNKNOWN = r"not told|do(?: not|n't) know|not know|haven't told"
NO_CAMERA = r"no camera"
QUESTION_AND_ANSWER = r"\?\W+\w+"
"""Of a joke or a riddle."""
_NUMBERS = "|".join(number(n) for n in (*range(1, 20), *range(20, 100, 10))) + "|hundred"


def table(
    kind: str,
    text: str,
    good: str = "",
    *,
    scene: str = "",
    now: datetime | None = None,
    tools: tuple[Tool, ...] = (),
    misheard: bool = True,
) -> Iterator[Probe]:
    """A probe for each line ``first turn / next turn => pattern``; without a pattern of its own it has ``good``."""
    for line in text.strip().splitlines():
        said, _, wanted = line.strip().partition(" => ")
        yield Probe(kind, tuple(said.split(" / ")), wanted or good, scene, now, tools, misheard)


def told(n: int) -> str:
    """Matches the number in words or digits, but no part of another."""
    words = re.sub("[ -]", "[ -]", number(n))
    return rf"(?<![\w-])(?<!hundred )(?<!hundred and )(?:{words}|{n})(?![ -](?:and )?(?:{_NUMBERS})\b)(?!\w)"


def value(n: int) -> str:
    """Matches the number where it is no operand."""
    return rf"{told(n)}(?! (?:plus|minus|times|and|take|multiplied|divided)\b)"


def equals(n: int) -> str:
    """Matches the end of ``seven plus five is twelve.``, or ``twelve.`` alone."""
    return rf"(?:\b(?:is|equals|makes|are|was|get|=) |^){value(n)}"


def in_order(numbers: range) -> str:
    """Matches exactly these numbers told one after the other."""
    numbers_told = r",? (?:and )?".join(rf"(?:{number(n)}|{n})" for n in numbers)
    before = "|".join(number(n) for n in range(21))
    return rf"(?<!\w){numbers_told}(?!,? (?:and )?(?:{before}|\d))(?!\w)"


def spelt(word: str) -> str:
    """Matches ``C, A, T.`` and ``C-A-T`` but not ``cat``."""
    return r"\b" + r"[,. -]+".join(word) + r"\b"


def without_denial(good: str) -> str:
    """Matches an answer that says yes, or has ``good`` and no word of denial."""
    return rf"^yes\b|^(?!.*\b(?:no|not|nobody|cannot)\b).*(?:{good})"
