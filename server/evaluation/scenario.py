"""What a scenario may say: turns that are spoken or typed, and what is expected of each. Strictly validated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from pipelines.definitions.loading import read
from pipelines.routing.stage_types import Problem, Problems, Strict
from pipelines.text import unknown

SHIPPED = Path(__file__).parent / "scenarios"
"""The folder of the scenarios that come with the product."""


class Words(Strict):
    """What a text must be like; upper and lower case and punctuation do not matter."""

    contains: tuple[str, ...] = ()
    not_contains: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    matches: str | None = None
    """A regular expression that is found somewhere."""

    @field_validator("matches")
    @classmethod
    def _is_an_expression(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return value


class Heard(Words):
    """Of what the server understood."""

    wer_max: float | None = Field(None, ge=0, le=5)
    """Share of words that may be wrong."""


class Said(Words):
    """Of what the server says."""

    starts_within_ms: float | None = Field(None, gt=0)
    """From the last voiced sample of the turn to the first sound that comes back."""
    words_min: int = Field(0, ge=0)


class Stopped(Strict):
    """Of what the server was saying when this turn began."""

    within_ms: float = Field(gt=0)
    """From the first voiced sample of this turn."""


KINDS: dict[str, type[Strict]] = {"heard": Heard, "reply": Said, "stopped": Stopped}
"""Expectations that have a mapping of their own."""
DENIED = ("early_reply", "reply", "stopped")
"""What ``not`` takes."""
LEGAL = (*sorted(KINDS), "no_turn", "not")
Expectation = tuple[str, Any]
"""Its word and what is said of it."""


def _expectations(value: object) -> tuple[Expectation, ...]:
    if not isinstance(value, list):
        raise ValueError("must be a list of expectations")
    problems, found = [], list[Expectation]()
    for place, item in enumerate(value):
        if not isinstance(item, dict) or len(item) != 1:
            problems.append(Problem((place,), f"must be one expectation; legal values are {', '.join(LEGAL)}"))
            continue
        [(word, given)] = item.items()
        if word in KINDS:
            found.append((word, KINDS[word].model_validate(given)))
        elif word == "not" and given in DENIED:
            found.append((word, given))
        elif word == "no_turn" and given is True:
            found.append((word, True))
        elif word == "not":
            problems.append(Problem((place, "not"), f"must be one of {', '.join(DENIED)}, not {given!r}"))
        elif word == "no_turn":
            problems.append(Problem((place, "no_turn"), "must be true"))
        else:
            problems.append(Problem((place, str(word)), unknown("expectation", str(word), LEGAL)))
    if problems:
        raise Problems(problems)
    return tuple(found)


WHEN = "reply_started_ms"
"""The moment that ``when`` may name: so long after the first sound that came back to the turn before."""


class Turn(Strict):
    """One thing that the user does."""

    say: str | None = Field(None, min_length=1, max_length=2000)
    """Spoken; ``...`` marks a pause of ``pause_ms``."""
    type: str | None = Field(None, min_length=1, max_length=2000)
    """Written on the data channel."""
    cough: bool = False
    """A burst of noise of 150 ms, which is no turn."""
    pause_ms: int = Field(0, ge=0, le=10_000)
    when: Any = None
    """Milliseconds of :data:`WHEN`; ``None``: once all is quiet."""
    expect: Any = ()

    @field_validator("expect")
    @classmethod
    def _are_legal(cls, value: object) -> tuple[Expectation, ...]:
        return _expectations(value) if value != () else ()

    @field_validator("when")
    @classmethod
    def _is_a_moment(cls, value: Any) -> float | None:
        match value:
            case None:
                return None
            case {"reply_started_ms": int() | float() as moment} if len(value) == 1 and 0 < moment <= 60_000:
                return float(moment)
        raise ValueError(f"must be {{{WHEN}: a number above 0, up to 60000}}, not {value!r}")

    @model_validator(mode="after")
    def _does_one_thing(self) -> Turn:
        if (self.say is not None) + (self.type is not None) + self.cough != 1:
            raise ValueError("must have exactly one of say, type and cough")
        if self.pause_ms and "..." not in (self.say or ""):
            raise Problems([Problem(("pause_ms",), "has no effect without ... in say")])
        return self

    @property
    def is_answered(self) -> bool:
        """Whether something is expected to be said to it."""
        return not any(word == "no_turn" or (word, given) == ("not", "reply") for word, given in self.expect)


class User(Strict):
    """Who speaks."""

    voice: str = "en-us"
    """One of espeak-ng's."""
    rate: float = Field(1.0, ge=0.5, le=2)
    """Times the usual speed."""
    gain_db: float = Field(0.0, ge=-40, le=6)
    noise_db: float = Field(-66.0, ge=-90, le=-20)
    """Level of the white noise that is heard all the time, relative to full scale."""


class Way(Strict):
    """What becomes of packets on the way to the server."""

    loss_percent: float = Field(0.0, ge=0, le=50)
    jitter_ms: float = Field(0.0, ge=0, le=500)
    seed: int = 1


class Scenario(Strict):
    """One file."""

    version: int = Field(ge=1, le=1)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    description: str = Field("", max_length=500)
    user: User = User()
    network: Way = Way()
    session: dict[str, Any] = Field(default_factory=dict)
    """Sent as ``session.update`` before the first turn."""
    turns: tuple[Turn, ...] = Field(min_length=1, max_length=50)

    @field_validator("turns")
    @classmethod
    def _can_be_timed(cls, value: tuple[Turn, ...]) -> tuple[Turn, ...]:
        if value[0].when is not None:
            raise Problems([Problem((0, "when"), "has no turn before it")])
        return value


def load(paths: list[Path]) -> list[tuple[Path, Scenario]]:
    """The scenarios of files, and of all ``*.yaml`` in folders. Raises :class:`~pipelines.errors.DefinitionError`."""
    files = [file for path in paths for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]
    return [(file, read(file).validated(Scenario)) for file in files]
