"""The settings of a session and of a response as clients of OpenAI Realtime (GA) give them, field by field.

What is taken acts. What stock clients send by themselves and cannot act here is taken as a wish: ``session.updated``
answers with what is in effect. Everything else is refused with what is legal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.errors import listed
from pipelines.routing.run import Priority
from pipelines.voice.settings import LONGEST_RESPONSE_TOKENS
from server.dialects.openai.vision import VisionPatch

LONGEST_TEXT = 32_000
"""Characters of instructions, and of one part of a message."""
LONGEST_ID = 64
"""Characters of the id of an item, a response or a call."""
LONGEST_EVENT_ID = 512
"""Characters of an event's own id."""


class Given(BaseModel):
    """Only what is given changes anything; what is not known is an error that names the fields there are."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)

    unserved: ClassVar[Mapping[str, str]] = {}
    """Fields that stock clients may send, but only as null or empty, and why."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        for name, value in data.items():
            if name in cls.unserved:
                if value not in (None, [], ""):
                    given = {"why": cls.unserved[name], "legal": "[]" if isinstance(value, list) else "null"}
                    raise PydanticCustomError("unserved_field", "{why}; legal is {legal}", {**given, "name": name})
            elif name not in cls.model_fields:
                text = "there is no such field; the fields are {fields}"
                fields = listed(sorted({*cls.model_fields, *cls.unserved}))
                raise PydanticCustomError("unknown_field", text, {"fields": fields, "name": name})
        return {name: value for name, value in data.items() if name not in cls.unserved}


PCM_RATE = 24_000
"""Hertz of ``audio/pcm``."""
FormatName = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]


class AudioFormat(Given):
    """PCM of 16 bits, or G.711. On a peer connection sound travels as Opus, and stock clients name PCM all the same."""

    type: FormatName
    rate: int | None = None

    @model_validator(mode="after")
    def _fitting(self) -> AudioFormat:
        legal = PCM_RATE if self.type == "audio/pcm" else 8_000
        if self.rate not in (None, legal):
            text = "{type} has a rate of {legal}"
            raise PydanticCustomError("rate", text, {"type": self.type, "legal": legal, "name": "rate"})
        return self


class TurnDetection(Given):
    """Null (push-to-talk), ``server_vad`` or ``semantic_vad``."""

    type: Literal["server_vad", "semantic_vad"] | None = None
    threshold: float | None = Field(None, ge=0, le=1)
    prefix_padding_ms: int | None = Field(None, ge=0, le=5_000)
    silence_duration_ms: int | None = Field(None, ge=100, le=10_000)
    idle_timeout_ms: int | None = Field(None, ge=1_000, le=600_000)
    eagerness: Literal["low", "medium", "high", "auto"] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class Transcription(Given):
    """What the user says is always recognised; null only keeps the words from being told.

    Hints for recognisers that take some (``prompt``, ``keywords``, ``languages``, ``delay``) are wishes: ours take
    none.
    """

    model: str | None = Field(None, max_length=200)
    language: str | None = Field(None, max_length=40)
    languages: list[str] | None = Field(None, max_length=100)
    prompt: str | None = Field(None, max_length=LONGEST_TEXT)
    keywords: list[str] | None = Field(None, max_length=1_000)
    delay: str | None = Field(None, max_length=40)


class NoiseReduction(Given):
    """A wish: browsers reduce noise themselves, and the recogniser copes with the rest."""

    type: Literal["near_field", "far_field"] | None = None
    strength: float | None = Field(None, ge=0, le=1)


class AudioInput(Given):
    format: AudioFormat | None = None
    transcription: Transcription | None = None
    noise_reduction: NoiseReduction | None = None
    turn_detection: TurnDetection | None = None


def _voice(value: object) -> object:
    """The service takes a voice by its name, and one of the user's own as ``{"id": …}``."""
    return value.get("id") if isinstance(value, Mapping) and set(value) == {"id"} else value


class AudioOutput(Given):
    format: AudioFormat | None = None
    voice: Annotated[Annotated[str, Field(max_length=200)] | None, BeforeValidator(_voice)] = None
    speed: float | None = Field(None, ge=0.25, le=4)


class Audio(Given):
    input: AudioInput | None = None
    output: AudioOutput | None = None


class OutputAudio(Given):
    output: AudioOutput | None = None


def _modality(value: object) -> object:
    if value is not None and value not in (["audio"], ["text"]):
        raise PydanticCustomError("modalities", 'legal values are ["audio"] (a voice, and its words) and ["text"]')
    return value


def _tokens(value: object) -> object:
    if value in (None, "inf") or (type(value) is int and 1 <= value <= LONGEST_RESPONSE_TOKENS):
        return value
    raise PydanticCustomError("tokens", 'legal values are 1 to {most} and "inf"', {"most": LONGEST_RESPONSE_TOKENS})


def _tracing(value: object) -> object:
    """Nothing is traced; stock clients ask for it by default."""
    if value is None or value == "auto" or isinstance(value, Mapping):
        return value
    raise PydanticCustomError("tracing", 'legal values are null, "auto" and an object; nothing is traced')


class FunctionTool(Given):
    """A function of the client's that the assistant may ask it to call."""

    type: Literal["function"]
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str | None = Field(None, max_length=LONGEST_TEXT)
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    """Calls keep to the schema in any case, where the engine can see to it."""


class NamedChoice(Given):
    """This function is to be called."""

    type: Literal["function"]
    name: str = Field(max_length=64)


def _tool(value: object) -> object:
    if isinstance(value, Mapping) and value.get("type") == "mcp":
        raise PydanticCustomError("mcp", "tools of MCP servers are set up at the server; use type: function")
    return value


def _tools(tools: list[FunctionTool] | None) -> list[FunctionTool] | None:
    names = [tool.name for tool in tools or ()]
    if len(set(names)) < len(names):
        raise PydanticCustomError("tools", "each function needs a name of its own")
    if len(json.dumps([tool.parameters for tool in tools or ()])) > LONGEST_TEXT:
        raise PydanticCustomError("tools", "the parameters may have {most} characters", {"most": LONGEST_TEXT})
    return tools


def _choice(value: object) -> object:
    if value is None or isinstance(value, Mapping) or value in ("auto", "none", "required"):
        return value
    text = 'legal values are "auto", "none", "required" and an object like {example}'
    raise PydanticCustomError("tool_choice", text, {"example": '{"type": "function", "name": "…"}'})


class Answering(Given):
    """What the session and a single response have in common."""

    unserved: ClassVar[Mapping[str, str]] = {
        "prompt": "there are no stored prompts",
    }
    instructions: str | None = Field(None, max_length=LONGEST_TEXT)
    output_modalities: Annotated[Any, BeforeValidator(_modality)] = None
    max_output_tokens: Annotated[Any, BeforeValidator(_tokens)] = None
    tools: Annotated[
        list[Annotated[FunctionTool, BeforeValidator(_tool)]] | None, Field(max_length=128), AfterValidator(_tools)
    ] = None
    tool_choice: Annotated[Literal["auto", "none", "required"] | NamedChoice | None, BeforeValidator(_choice)] = None
    parallel_tool_calls: bool | None = None
    reasoning: dict[str, Any] | None = None
    """A wish: how hard a model thinks is a setting of the server."""


class RecordingPatch(Given):
    """Whether the session is recorded, where the server allows it."""

    enabled: bool | None = None
    video: bool | None = None
    """The annotated camera, too."""


def _truncation(value: object) -> object:
    """What does not fit the model's context is left out from the oldest turn on, whatever is wished."""
    if value in (None, "auto", "disabled") or isinstance(value, Mapping):
        return value
    raise PydanticCustomError("truncation", 'legal values are "auto", "disabled" and an object; "auto" is in effect')


class SessionPatch(Answering):
    """``session`` of ``session.update``."""

    type: Literal["realtime", "transcription"] | None = None
    """``transcription``: what is said is written down, and nothing is answered."""
    model: str | None = Field(None, max_length=200)
    audio: Audio | None = None
    include: list[str] | None = Field(None, max_length=20)
    """A wish: nothing more can be included."""
    tracing: Annotated[Any, BeforeValidator(_tracing)] = None
    truncation: Annotated[Any, BeforeValidator(_truncation)] = None
    vision: VisionPatch | None = None
    recording: RecordingPatch | None = None
    priority: Priority | None = None
    """Who is let in later, and gives something up sooner, while there is too much to do; chosen at the beginning."""
