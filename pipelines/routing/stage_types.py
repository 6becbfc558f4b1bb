"""The types of stages: what each takes and gives, and the options that it has in a pipeline's file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from pipelines.text import nearest, unknown


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake."""

    where: tuple[str | int, ...]
    """Keys and places in lists that lead to it."""
    message: str

    def __str__(self) -> str:
        where = ".".join(map(str, self.where))
        return f"{where}: {self.message}" if where else self.message


class Problems(ValueError):
    """Several mistakes at once; raised by validators that know where each of them is."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class Strict(BaseModel):
    """Data that may hold nothing else than its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _nothing_else(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Name every word that is unknown or is no number, and what else is wrong beside it."""
        if not isinstance(value, dict):
            return handler(value)
        legal = sorted(cls.model_fields)
        strange = [str(name) for name in value if name not in cls.model_fields]
        problems = [Problem((name,), unknown("field", name[:_LONGEST], legal)) for name in strange[:_MOST]]
        given = {name: item for name, item in value.items() if name in cls.model_fields}
        for name in list(given):
            if message := _wrong_type(cls.model_fields[name].annotation, given[name]):
                problems.append(Problem((name,), message))
                del given[name]
        if not problems:
            return handler(value)
        try:
            handler(given)
        except ValidationError as error:
            wrong = {problem.where for problem in problems}
            problems += [problem for problem in explain(error) if problem.where not in wrong]
        raise Problems(problems)


def _wrong_type(annotation: object, value: object) -> str:
    """What a field must be where pydantic would take something else for it: ``yes`` for true, true for 1."""
    kinds = {annotation, *get_args(annotation)}
    given = shown(value)
    if bool in kinds:
        legal = isinstance(value, bool) or len(kinds) > 1
        return "" if legal else f"must be true or false, not {given}"
    if kinds & {int, float} and str not in kinds and isinstance(value, bool | str):
        return f"must be {'a number' if float in kinds else 'a whole number'}, not {given}"
    return ""


def shown(value: object) -> str:
    """What was given, as YAML writes it, without its end if it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


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

    @property
    def all_taken(self) -> tuple[Medium, ...]:
        """What it needs one of, and what it can be given besides."""
        return self.takes + self.also


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
    """``given`` as the stage reads it. Raises :class:`Problems` naming the options and what is legal."""
    shape = next((shape for name, shape in STAGE_TYPES.items() if name == kind), None)
    if shape is None:
        return dict(given)
    try:
        return shape.options.model_validate(dict(given)).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise Problems(explain(error)) from None


_SECRET = re.compile("key|credential|secret|headers|env")
"""In the names of what must not be repeated."""
_INSTANCE = re.compile(r" or instance of \w+")
_LONGEST = 80
"""Characters of what was given that are repeated."""
_MOST = 20
"""Mistakes of one object that are looked into; a file may hold thousands."""


def explain(error: ValidationError) -> list[Problem]:
    """All that pydantic found, each with its own place; a list is not called empty where its items are wrong."""
    found = error.errors(include_url=False)
    problems: list[Problem] = []
    for one in found:
        if one["type"] == "too_short" and any(_inside(one["loc"], other["loc"]) for other in found):
            continue  # a list of which no item is sound counts as empty, too
        where = tuple(part for part in one["loc"] if part != "[key]")
        raised = one.get("ctx", {}).get("error")
        if isinstance(raised, Problems):
            problems += [Problem(where + inner.where, inner.message) for inner in raised.problems]
        else:
            problems.append(Problem(where, _message(one)))
        if len(problems) > _MOST:
            break
    return problems


def explained(problem: Mapping[str, Any]) -> str:
    """One of pydantic's errors for people: ``field: what is legal, not 'what was given'``."""
    return str(Problem(problem["loc"], _message(problem)))


def _inside(outer: tuple[int | str, ...], inner: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _message(problem: Mapping[str, Any]) -> str:
    name = ".".join(map(str, problem["loc"]))
    message = str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    message = _INSTANCE.sub("", message.partition(", unable to ")[0])
    if problem["type"] == "missing":
        return "is missing"
    given, ours = problem.get("input"), problem["type"] == "value_error"
    if not ours and not _SECRET.search(name) and isinstance(given, str | int | float):
        message = f"{message}, not {shown(given)}"
    if problem["type"] in ("literal_error", "enum") and isinstance(given, str):
        meant = nearest(given[:_LONGEST], re.findall(r"'([^']*)'", problem["ctx"]["expected"]))
        message += f"; did you mean {meant}?" if meant else ""
    return message
