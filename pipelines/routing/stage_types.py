"""The types of stages: what each takes and gives, and the options that it has in a pipeline's file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

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


class _Nothing(Strict):
    pass


Medium = Literal["audio", "text", "image", "video", "data"]
"""What runs from one stage to another. ``video`` is pictures with their times, and their sound where there is one;
``data`` is JSON."""
StageType = Literal[
    "audio_to_text",
    "text_to_audio",
    "audio_enhance",
    "audio_translate",
    "text_generation",
    "embedding",
    "image_to_text",
    "text_to_image",
    "image_edit",
    "image_enhance",
    "video_to_text",
    "text_to_video",
    "video_analysis",
    "video_summary",
]


@dataclass(frozen=True, slots=True)
class StageShape:
    """What a stage of one type takes and gives."""

    takes: tuple[Medium, ...]
    """One of these is needed."""
    gives: Medium
    also: tuple[Medium, ...] = ()
    """What it can be given besides."""
    options: type[Strict] = _Nothing


STAGE_TYPES: Mapping[StageType, StageShape] = {
    "audio_to_text": StageShape(("audio", "video"), "text", options=_Listening),
    "text_to_audio": StageShape(("text",), "audio", options=_Speaking),
    "audio_enhance": StageShape(("audio",), "audio"),
    "audio_translate": StageShape(("audio",), "audio"),
    "text_generation": StageShape(("text",), "text", ("image", "video", "data"), _Thinking),
    "embedding": StageShape(("text",), "data"),
    "image_to_text": StageShape(("image", "video"), "text", ("text",)),
    "text_to_image": StageShape(("text",), "image"),
    "image_edit": StageShape(("image",), "image", ("text",)),
    "image_enhance": StageShape(("image",), "image"),
    "video_to_text": StageShape(("video",), "text"),
    "text_to_video": StageShape(("text",), "video", ("image",)),
    "video_analysis": StageShape(("video", "image"), "data", options=_Watching),
    "video_summary": StageShape(("video",), "text"),
}
assert set(STAGE_TYPES) == set(get_args(StageType))


def checked(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` as the stage reads it. Raises :class:`ValueError` naming the option and what is legal."""
    shape = next((shape for name, shape in STAGE_TYPES.items() if name == kind), None)
    if shape is None:
        return dict(given)
    try:
        return shape.options.model_validate(dict(given)).model_dump(exclude_unset=True)
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
