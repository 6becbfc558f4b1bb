"""What a scenario may expect of a turn: each word with the mapping that it takes. Strictly validated."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipelines.routing.stage_types import Problem, Problems, Strict, explain
from pipelines.text import unknown


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
    """Of what the server says, in text."""

    starts_within_ms: float | None = Field(None, gt=0)
    """From the last voiced sample of the turn to the first sound that comes back."""
    words_min: int = Field(0, ge=0)
    words_max: int | None = Field(None, gt=0)


class Sounded(Words):
    """Of the words that a recogniser of the client's hears in what comes back."""

    wer_max: float | None = Field(None, ge=0, le=5)
    """Share of words that may be wrong, against the text that the server says it speaks."""


class Stopped(Strict):
    """Of what the server was saying when this turn began."""

    within_ms: float = Field(gt=0)
    """From the first voiced sample of this turn."""
    ducked_within_ms: float | None = Field(None, gt=0)
    """The same until it is at least 8 dB lower."""


class Remembered(Strict):
    """Of what the server's history holds of the response that this turn interrupted."""

    last_assistant: Literal["heard_prefix"]
    """It begins as the response does, and ends where the sound did."""
    tolerance_words: int = Field(1, ge=0, le=20)


class Called(Strict):
    """Of functions that the model has called."""

    name: str = Field(min_length=1)
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Values that they must have; ``~paris``: the word is in it."""
    times: int = Field(1, ge=0, le=20)


class Seen(Strict):
    """Of what the server sees of the camera."""

    gesture: str | None = None
    scene: tuple[str, ...] = ()
    """Words of which one must be in the scene's description."""
    person: Literal["appeared", "left"] | None = None
    after_ms: float = Field(0.0, ge=0)
    """When it is to be seen, after the beginning of the turn."""
    within_ms: float = Field(gt=0)
    """Of that moment."""

    @model_validator(mode="after")
    def _is_one_thing(self) -> Seen:
        if (self.gesture is not None) + bool(self.scene) + (self.person is not None) != 1:
            raise ValueError("must have exactly one of gesture, scene and person")
        return self


class Happened(BaseModel):
    """An event of the server's. Its other fields are named by their dotted path."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str = Field(min_length=1)

    @property
    def values(self) -> dict[str, Any]:
        """Wanted values by path."""
        return dict(self.model_extra or {})


class Silent(Strict):
    """Nothing may sound after the turn."""

    at_least_ms: float = Field(gt=0, le=60_000)


class Acoustic(Strict):
    """Of the sound of the response; what is not named is not judged."""

    clipping_max: float | None = Field(None, ge=0, le=1)
    """Share of samples at full scale."""
    clicks_max: int | None = Field(None, ge=0)
    """Steps between two samples that stand out of those around them."""
    gap_max_ms: float | None = Field(None, gt=0)
    """The longest silence within the response."""
    loudness_min_db: float | None = Field(None, le=0)
    """RMS of what sounds, relative to full scale."""
    loudness_max_db: float | None = Field(None, le=0)
    drift_max_ms: float | None = Field(None, gt=0)
    """By which packets came later at the end than at the beginning, against their own timestamps."""

    @model_validator(mode="after")
    def _is_something(self) -> Acoustic:
        if not self.model_fields_set:
            raise ValueError(f"must name something; legal values are {', '.join(sorted(type(self).model_fields))}")
        return self


class Opinion(Strict):
    """What the server's own language model thinks of the answer: majority of three, and never the only gate."""

    model: str = Field(min_length=3, max_length=500)
    """What must be true of the answer."""


KINDS: dict[str, type[BaseModel]] = {
    "heard": Heard,
    "reply": Said,
    "spoken": Sounded,
    "stopped": Stopped,
    "history": Remembered,
    "tool": Called,
    "vision": Seen,
    "event": Happened,
    "silence": Silent,
    "acoustic": Acoustic,
    "judge": Opinion,
}
"""Expectations that have a mapping of their own."""
DENIED = ("early_reply", "reply", "stopped")
"""What ``not`` takes."""
LEGAL = (*sorted(KINDS), "no_turn", "not")
Expectation = tuple[str, Any]
"""Its word and what is said of it."""


def expectations(value: object) -> tuple[Expectation, ...]:
    """What a turn's ``expect`` says. Raises ``Problems`` with the place of each mistake."""
    if not isinstance(value, list):
        raise ValueError("must be a list of expectations")
    problems, found = list[Problem](), list[Expectation]()
    for place, item in enumerate(value):
        if not isinstance(item, dict) or len(item) != 1:
            problems.append(Problem((place,), f"must be one expectation; legal values are {', '.join(LEGAL)}"))
            continue
        [(word, given)] = item.items()
        if word in KINDS:
            try:
                found.append((word, KINDS[word].model_validate(given)))
            except ValidationError as error:
                problems += [Problem((place, word, *one.where), one.message) for one in explain(error)]
        elif (word == "not" and given in DENIED) or (word == "no_turn" and given is True):
            found.append((word, given))
        elif word == "not":
            problems.append(Problem((place, "not"), f"must be one of {', '.join(DENIED)}, not {given!r}"))
        elif word == "no_turn":
            problems.append(Problem((place, "no_turn"), "must be true"))
        else:
            problems.append(Problem((place, str(word)), unknown("expectation", str(word), LEGAL)))
    if problems:
        raise Problems(problems)
    if found and all(word == "judge" for word, _ in found):
        raise ValueError("judge is an opinion and never the only gate: expect something else beside it")
    return tuple(found)
