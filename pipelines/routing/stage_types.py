"""The types of stages: what each takes and gives, and the options that it has in a pipeline's file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from pipelines.text import nearest, unknown
from pipelines.vision.detectors import DetectorName


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake."""

    where: tuple[str | int, ...]
    """Keys and places in lists that lead to it."""
    message: str

    def __str__(self) -> str:
        where = ".".join(str(part)[:_LONGEST] for part in self.where)
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
    if bool in kinds:
        legal = isinstance(value, bool) or bool(kinds - {annotation, bool})
        return "" if legal else f"must be true or false, not {shown(value)}"
    if kinds & {int, float} and str not in kinds and isinstance(value, bool | str):
        return f"must be {'a number' if float in kinds else 'a whole number'}, not {shown(value)}"
    return ""


def shown(value: object) -> str:
    """What was given, as YAML writes it, without its end if it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


class Listening(Strict):
    """Of ``audio_to_text``."""

    language: str | None = Field(None, pattern="^[a-z]{2,3}$")
    """Code of what is spoken, such as ``de``; without it the recogniser finds out, if it can."""
    translate: bool = False
    """English text, whatever is spoken."""
    word_times: bool = False
    """Give each word with its times."""


class Thinking(Strict):
    """Of ``text_generation``."""

    instructions: str = Field("", max_length=20_000)
    """The system message."""
    max_tokens: int = Field(256, ge=1, le=32_768)
    """Of one response."""
    temperature: float | None = Field(None, ge=0, le=2)
    """Randomness; without it as the model's maker says."""
    template: str = Field("", max_length=20_000)
    """What the model is asked: ``{input}`` stands for the text of the pipeline's input, ``{listen}`` for what the stage
    ``listen`` gave. Without it all text that comes is asked, one after the other."""
    respond_to: Literal["auto", "each", "whole"] = "auto"
    """``each``: every utterance gets its response as soon as it ends; ``whole``: there is one response to all that
    comes. ``auto``: ``each`` to what people say or write, ``whole`` with a ``template`` or several sources, or when a
    model wrote it."""


class Speaking(Strict):
    """Of ``text_to_audio``."""

    voice: str | None = None
    speed: float = Field(1.0, ge=0.25, le=4.0)
    """Times normal."""
    language: str | None = Field(None, pattern="^[a-z]{2,3}$")
    """Code of what the text is in; without it that of the text that comes, where somebody tells, else the voice's."""


class Translating(Strict):
    """Of ``audio_translate``: speech in any language to English speech."""

    language: str | None = Field(None, pattern="^[a-z]{2,3}$")
    """Code of what is spoken; without it the recogniser finds out."""
    voice: str | None = None
    speed: float = Field(1.0, ge=0.25, le=4.0)
    """Times normal."""


class Enhancing(Strict):
    """Of ``audio_enhance``."""

    attenuation_limit_db: float = Field(100.0, ge=0, le=100)
    """Noise is lowered by no more than this; 100: by all that can be."""
    high_pass_hz: float | None = Field(None, ge=20, le=1000)
    """What is lower is taken away first: hum, rumble."""
    loudness_lufs: float | None = Field(None, ge=-60, le=-5)
    """The loudness of the result (EBU R 128: -23); it is known at the end only, so nothing is given before that."""


class Embedding(Strict):
    """Of ``embedding``."""

    dimensions: int | None = Field(None, ge=1, le=16_384)
    """Of a vector; without it as many as the model has."""
    normalize: bool = True
    """Whether vectors have the length 1."""
    prompt_name: str | None = Field(None, max_length=100)
    """One of the model's prompts, such as ``query`` or ``document``."""
    truncate: bool = False
    """Whether a text that is too long for the model is cut, or else refused."""


class Reading(Strict):
    """Of ``image_to_text``."""

    mode: Literal["ocr", "caption"] = "ocr"
    """``ocr``: what is written in a picture; ``caption``: what it shows, or the answer to a question about it."""
    prompt: str = Field("", max_length=4_000)
    """The question, for ``caption``; text that comes is added to it."""
    max_fps: float = Field(1.0, gt=0, le=30)
    """Pictures of a video that are read per second, at most."""


class Drawing(Strict):
    """Of ``text_to_image``."""

    width: int | None = Field(None, ge=64, le=2048, multiple_of=8)
    height: int | None = Field(None, ge=64, le=2048, multiple_of=8)
    """Pixels; without them as the model likes best, as for all others."""
    num_inference_steps: int | None = Field(None, ge=1, le=200)
    guidance_scale: float | None = Field(None, ge=0, le=50)
    negative_prompt: str | None = Field(None, max_length=4_000)
    seed: int | None = Field(None, ge=0, le=2**32 - 1)


class Filming(Strict):
    """Of ``text_to_video``."""

    width: int | None = Field(None, ge=32, le=1280, multiple_of=8)
    height: int | None = Field(None, ge=32, le=1280, multiple_of=8)
    num_frames: int | None = Field(None, ge=1, le=256)
    fps: float = Field(8.0, gt=0, le=60)
    """Pictures per second of the video."""
    num_inference_steps: int | None = Field(None, ge=1, le=200)
    guidance_scale: float | None = Field(None, ge=0, le=50)
    negative_prompt: str | None = Field(None, max_length=4_000)
    seed: int | None = Field(None, ge=0, le=2**32 - 1)


class Crop(Strict):
    """A part of a picture, in pixels."""

    left: int = Field(ge=0, lt=4096)
    top: int = Field(ge=0, lt=4096)
    width: int = Field(ge=1, le=4096)
    height: int = Field(ge=1, le=4096)


class Editing(Strict):
    """Of ``image_edit``: cut out, mirror, turn, resize, in this order."""

    crop: Crop | None = None
    flip: Literal["horizontal", "vertical"] | None = None
    rotate: float | None = Field(None, ge=-360, le=360)
    """Degrees clockwise; the picture grows so that nothing is lost."""
    width: int | None = Field(None, ge=1, le=4096)
    height: int | None = Field(None, ge=1, le=4096)
    """Pixels of the result; with one of them the other follows."""


class ImageEnhancing(Strict):
    """Of ``image_enhance``: how much of what, 0–1 each; without any of them a little of each."""

    denoise: float | None = Field(None, ge=0, le=1)
    contrast: float | None = Field(None, ge=0, le=1)
    sharpen: float | None = Field(None, ge=0, le=1)
    upscale: int | None = Field(None, ge=1, le=4)
    """Times larger."""


class Watching(Strict):
    """Of ``video_analysis``."""

    max_fps: float = Field(12.0, gt=0, le=120)
    """Pictures looked at per second, at most."""
    detectors: tuple[DetectorName, ...] = ()
    """Without them those that new sessions have."""
    landmarks: bool = False
    """Whether the points of faces, hands and bodies are told."""
    trails: bool = True
    """Whether is told where what is followed has been in the last second."""
    tracks: bool = False
    """Whether the whole way of everything that was followed is told, once it has gone."""
    annotate: bool = False
    """Give every picture, too, with what was found drawn onto it."""


class Scanning(Strict):
    """Of ``video_to_text``."""

    speech: bool = True
    """Whether what is said is told."""
    scene: bool = True
    """Whether what is seen is told."""
    read_text: bool = False
    """Whether what is written in the pictures is told."""
    language: str | None = Field(None, pattern="^[a-z]{2,3}$")
    """Code of what is spoken; without it the recogniser finds out."""
    translate: bool = False
    """What is said in English, whatever is spoken."""
    max_fps: float = Field(1.0, gt=0, le=30)
    """Pictures looked at per second, at most."""


class Summing(Scanning):
    """Of ``video_summary``."""

    instructions: str = Field("", max_length=20_000)
    """What the language model is told to do; without them: to say in a few sentences what the video is about."""
    max_tokens: int = Field(256, ge=1, le=32_768)
    key_frames: int = Field(4, ge=0, le=16)
    """Pictures that a model that takes pictures is shown, at most: those that begin another scene."""


class Nothing(Strict):
    """Of types that have none."""


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
    options: type[Strict] = Nothing

    @property
    def all_taken(self) -> tuple[Medium, ...]:
        """What it needs one of, and what it can be given besides."""
        return self.takes + self.also


STAGE_TYPES: Mapping[StageType, StageShape] = {
    "audio_to_text": StageShape(("audio", "video"), "text", options=Listening),
    "text_to_audio": StageShape(("text",), "audio", options=Speaking),
    "audio_enhance": StageShape(("audio",), "audio", options=Enhancing),
    "audio_translate": StageShape(("audio",), "audio", options=Translating),
    "text_generation": StageShape(("text",), "text", ("image", "video", "data"), Thinking),
    "embedding": StageShape(("text",), "data", options=Embedding),
    "image_to_text": StageShape(("image", "video"), "text", ("text",), options=Reading),
    "text_to_image": StageShape(("text",), "image", options=Drawing),
    "image_edit": StageShape(("image",), "image", ("text",), options=Editing),
    "image_enhance": StageShape(("image",), "image", options=ImageEnhancing),
    "video_to_text": StageShape(("video",), "text", options=Scanning),
    "text_to_video": StageShape(("text",), "video", ("image",), options=Filming),
    "video_analysis": StageShape(("video", "image"), "data", options=Watching),
    "video_summary": StageShape(("video",), "text", options=Summing),
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
_IN_YAML = {
    "a valid dictionary": "a mapping",
    "a valid tuple": "a list",
    "a valid list": "a list",
    "Tuple should have": "must have",
    " after validation": "",
}
"""Pydantic's words → what they are called in a file."""
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
    name = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    message = str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    message = _INSTANCE.sub("", message.partition(", unable to ")[0])
    for pydantics, ours in _IN_YAML.items():
        message = message.replace(pydantics, ours)
    if problem["type"] == "missing":
        return "is missing"
    given = problem.get("input")
    if problem["type"] != "value_error" and not _SECRET.search(name) and isinstance(given, str | int | float):
        message = f"{message}, not {shown(given)}"
    if problem["type"] in ("literal_error", "enum") and isinstance(given, str):
        meant = nearest(given[:_LONGEST], re.findall(r"'([^']*)'", problem["ctx"]["expected"]))
        message += f"; did you mean {meant}?" if meant else ""
    return message
