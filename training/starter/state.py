"""What a synthetic conversation knows at one moment, and what one of its turns is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from training.starter.words import expand


@dataclass(slots=True)
class Call:
    """A tool call and what came back."""

    name: str
    arguments: Mapping[str, object]
    result: str


@dataclass(slots=True)
class Turn:
    """What the user said and what is to be answered."""

    intent: str
    user: str
    answer: str
    call: Call | None = None
    """Made before the answer."""
    keep: bool = False
    """The words of the user must stay as they are: the answer copies them."""
    seen: bool = False
    """The answer rests on the camera line."""
    timed: bool = False
    """The answer rests on the time."""
    bid: bool = False
    """The user wants something done: "could you" may come before it."""


@dataclass(slots=True)
class State:
    """The conversation so far."""

    rng: Random
    scene: str = ""
    """What the camera shows now; empty without a camera."""
    now: datetime | None = None
    told_time: bool = False
    """``now`` is told with the newest words of the user, not in the instructions."""
    tools: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    """What the user told: ``name``, ``colour``, ``place``, ``pet``."""
    total: int | None = None
    """Result of the last sum."""
    saw: str = ""
    """The scene that was last told."""
    jokes: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    def say(self, *patterns: str, **slots: str) -> str:
        """One of ``patterns``, expanded, with ``slots`` filled in."""
        return expand(self.rng.choice(patterns), self.rng).format(**slots)

    def vary(self, *answers: str) -> str:
        """The next of ``answers`` in a circle: what follows from the conversation is learned, chance is not."""
        given = [turn.answer for turn in self.turns if turn.answer in answers]
        return answers[(answers.index(given[-1]) + 1) % len(answers)] if given else answers[0]


Speak = Callable[[State], Turn | None]
"""Adds to the conversation; ``None`` where that would make no sense now."""
