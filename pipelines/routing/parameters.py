"""The parameters that each type of stage takes in a pipeline's file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.text import unknown


class Strict(BaseModel):
    """Data that may hold nothing else than its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_else(cls, value: object) -> object:
        if isinstance(value, dict):
            for name in value:
                if name not in cls.model_fields:
                    raise ValueError(unknown("field", str(name), sorted(cls.model_fields)))
        return value


class _Listening(Strict):
    pass


class _Thinking(Strict):
    instructions: str = ""
    """The system message."""
    max_tokens: int = Field(256, ge=1, le=32_768)
    """Of one response."""


class _Speaking(Strict):
    voice: str | None = None
    speed: float = Field(1.0, ge=0.25, le=4.0)
    """Times normal."""


class _Watching(Strict):
    max_fps: float = Field(12.0, gt=0, le=120)
    """Pictures looked at per second, at most."""


PARAMETERS: Mapping[str, type[Strict]] = {
    "audio_to_text": _Listening,
    "text_generation": _Thinking,
    "text_to_audio": _Speaking,
    "video_analysis": _Watching,
}
"""Types of stages that the live conversation runs → what they take."""


def checked(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` as the stage reads it. Raises :class:`ValueError` naming the parameter and what is legal."""
    model = PARAMETERS.get(kind)
    if model is None:
        return dict(given)
    try:
        return model.model_validate(dict(given)).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise ValueError("; ".join(explained(problem) for problem in error.errors(include_url=False))) from None


_SECRET = re.compile("key|credential|secret|headers|env")
"""In the names of what must not be repeated."""


def explained(problem: Mapping[str, Any]) -> str:
    """One of pydantic's errors for people: ``field: what is legal, not 'what was given'``."""
    name = ".".join(map(str, problem["loc"]))
    message = str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    message = message.partition(", unable to ")[0]
    given, ours = problem.get("input"), problem["type"] == "value_error"
    if not ours and not _SECRET.search(name) and isinstance(given, str | int | float):
        message = f"{message}, not {given!r}"
    return f"{name}: {message}" if name else message
