"""The client events of OpenAI Realtime (GA) as they are taken here, field by field.

What is taken acts. Fields that stock clients send by themselves and that cannot act on a peer connection are taken with
the one value that is true anyway, or as a wish that ``session.updated`` answers with what is in effect.
Everything else is refused with what is legal.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from pipelines.errors import listed
from pipelines.interfaces.llm import Image
from pipelines.vision.images import jpeg_size
from pipelines.voice.settings import LONGEST_RESPONSE_TOKENS
from server.dialects.openai.vision import VisionPatch

LONGEST_SIDE = 2048
"""Pixels; language models make larger ones smaller anyway."""
_FORM = 'must be a data URI of a JPEG or PNG, such as "data:image/jpeg;base64,…"; addresses are not fetched'


def read_image(uri: object) -> Image:
    """The picture of a data URI. Raises ``ValueError`` telling what is legal."""
    if not isinstance(uri, str):
        raise ValueError(_FORM)
    head, comma, body = uri.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise ValueError(_FORM)
    try:
        data = base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ValueError(_FORM) from error
    kind, size = _header(data)
    if max(size) > LONGEST_SIDE or min(size) < 1:
        raise ValueError(f"must have 1 to {LONGEST_SIDE} pixels a side, not {size[0]}x{size[1]}")
    return Image(data, kind)


def _header(data: bytes) -> tuple[Literal["image/jpeg", "image/png"], tuple[int, int]]:
    """Kind and size, whatever the URI says it is."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        return "image/png", struct.unpack(">II", data[16:24])
    if data.startswith(b"\xff\xd8"):
        if (size := jpeg_size(data)) is None:
            raise ValueError("the JPEG has no frame header: it is cut off or broken")
        return "image/jpeg", size
    raise ValueError(_FORM)


LONGEST_TEXT = 32_000
"""Characters of instructions, and of one part of a message."""
LONGEST_ID = 64
LONGEST_EVENT_ID = 512


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


class Event(Given):
    """Every client event."""

    event_id: str | None = Field(None, max_length=LONGEST_EVENT_ID)


# ---------------------------------------------------------------------------------------------------- the session


class AudioFormat(Given):
    """Sound travels as Opus on the peer connection; stock clients name the format of their other transport."""

    type: Literal["audio/pcm"]
    rate: Literal[24000] | None = None


class TurnDetection(Given):
    """Null (push-to-talk), ``server_vad`` or ``semantic_vad``."""

    unserved: ClassVar[Mapping[str, str]] = {
        "idle_timeout_ms": "the assistant does not speak unasked",
    }
    type: Literal["server_vad", "semantic_vad"] | None = None
    threshold: float | None = Field(None, ge=0, le=1)
    prefix_padding_ms: int | None = Field(None, ge=0, le=5_000)
    silence_duration_ms: int | None = Field(None, ge=100, le=10_000)
    eagerness: Literal["low", "medium", "high", "auto"] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class Transcription(Given):
    """What the user says is always recognised; null only keeps the words from being told."""

    unserved: ClassVar[Mapping[str, str]] = {
        "prompt": "the recogniser takes no prompt",
        "keywords": "the recogniser takes no keywords",
        "languages": "one language or, with language null, any is listened for",
        "delay": "words are told as soon as they are known",
    }
    model: str | None = Field(None, max_length=200)
    language: str | None = Field(None, max_length=40)


class AudioInput(Given):
    unserved: ClassVar[Mapping[str, str]] = {
        "noise_reduction": "noise is not reduced here: browsers do that",
    }
    format: AudioFormat | None = None
    transcription: Transcription | None = None
    turn_detection: TurnDetection | None = None


def _voice(value: object) -> object:
    """The service takes a voice by its name, and one of the user's own as ``{"id": …}``."""
    return value.get("id") if isinstance(value, Mapping) and set(value) == {"id"} else value


class AudioOutput(Given):
    format: AudioFormat | None = None
    voice: Annotated[str | None, BeforeValidator(_voice), Field(max_length=200)] = None
    speed: float | None = Field(None, ge=0.25, le=4)


class Audio(Given):
    input: AudioInput | None = None
    output: AudioOutput | None = None


class OutputAudio(Given):
    output: AudioOutput | None = None


def _modality(value: object) -> object:
    if value is not None and value not in (["audio"], ["text"]):
        raise PydanticCustomError("modalities", 'legal are ["audio"] (a voice, and its words) and ["text"]')
    return value


def _tokens(value: object) -> object:
    if value in (None, "inf") or (type(value) is int and 1 <= value <= LONGEST_RESPONSE_TOKENS):
        return value
    raise PydanticCustomError("tokens", 'legal are 1 to {most} and "inf"', {"most": LONGEST_RESPONSE_TOKENS})


def _tracing(value: object) -> object:
    """Nothing is traced; stock clients ask for it by default."""
    if value is None or value == "auto" or isinstance(value, Mapping):
        return value
    raise PydanticCustomError("tracing", 'legal are null, "auto" and an object; nothing is traced')


class Answering(Given):
    """What the session and a single response have in common."""

    unserved: ClassVar[Mapping[str, str]] = {
        "tools": "functions of clients are not called here",
        "prompt": "there are no stored prompts",
        "reasoning": "how hard the model thinks is a setting of the server",
    }
    instructions: str | None = Field(None, max_length=LONGEST_TEXT)
    output_modalities: Annotated[Any, BeforeValidator(_modality)] = None
    max_output_tokens: Annotated[Any, BeforeValidator(_tokens)] = None
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: bool | None = None


class SessionPatch(Answering):
    """``session`` of ``session.update``."""

    unserved: ClassVar[Mapping[str, str]] = {
        **Answering.unserved,
        "include": "nothing more can be included",
    }
    type: Literal["realtime"] | None = None
    model: str | None = Field(None, max_length=200)
    audio: Audio | None = None
    tracing: Annotated[Any, BeforeValidator(_tracing)] = None
    truncation: Literal["auto"] | None = None
    vision: VisionPatch | None = None


class SessionUpdate(Event):
    """``session.update``: what is left out stays as it is."""

    type: Literal["session.update"]
    session: SessionPatch


# ---------------------------------------------------------------------------------------------------- the conversation


class _Words(Given):
    text: str = Field(min_length=1, max_length=LONGEST_TEXT)

    @property
    def words(self) -> str:
        """What is said."""
        return self.text


class Text(_Words):
    type: Literal["input_text"]


class Picture(Given):
    type: Literal["input_image"]
    image_url: Annotated[Image, BeforeValidator(read_image)]
    detail: Literal["auto"] | None = None


class OutputText(_Words):
    type: Literal["output_text"]


class OutputSpeech(Given):
    """What the assistant has said, in words; sound is not taken back."""

    unserved: ClassVar[Mapping[str, str]] = {
        "audio": "only the transcript of what was said is taken",
    }
    type: Literal["output_audio"]
    transcript: str = Field(min_length=1, max_length=LONGEST_TEXT)

    @property
    def words(self) -> str:
        """What was said."""
        return self.transcript


Part = Annotated[Text | Picture | OutputText | OutputSpeech, Field(discriminator="type")]
_PARTS: dict[str, tuple[str, ...]] = {
    "user": ("input_text", "input_image"),
    "system": ("input_text",),
    "assistant": ("output_text", "output_audio"),
}
"""Who can say what."""


class Message(Given):
    """An item of the conversation."""

    id: str | None = Field(None, min_length=1, max_length=LONGEST_ID)
    type: Literal["message"]
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None
    role: Literal["user", "assistant", "system"]
    content: list[Part] = Field(min_length=1, max_length=64, fail_fast=True)

    @model_validator(mode="after")
    def _fitting(self) -> Message:
        legal = _PARTS[self.role]
        if any(part.type not in legal for part in self.content):
            text = "a message of role {role} can hold {legal}"
            raise PydanticCustomError(
                "content", text, {"role": self.role, "legal": " and ".join(legal), "name": "content"}
            )
        return self


class ItemCreate(Event):
    """``conversation.item.create``: a message that was typed, or one of an earlier conversation."""

    type: Literal["conversation.item.create"]
    item: Message
    previous_item_id: str | None = Field(None, max_length=LONGEST_ID)


class ItemRetrieve(Event):
    """``conversation.item.retrieve``: how is it remembered?"""

    type: Literal["conversation.item.retrieve"]
    item_id: str = Field(max_length=LONGEST_ID)


class ItemDelete(Event):
    """``conversation.item.delete``: forget it."""

    type: Literal["conversation.item.delete"]
    item_id: str = Field(max_length=LONGEST_ID)


class ItemTruncate(Event):
    """``conversation.item.truncate``: stop this answer, and remember what was heard of it.

    How much that is, is known here: the numbers are those of clients that play the sound themselves.
    """

    type: Literal["conversation.item.truncate"]
    item_id: str = Field(max_length=LONGEST_ID)
    content_index: Literal[0] | None = None
    audio_end_ms: int | None = Field(None, ge=0)


# ---------------------------------------------------------------------------------------------------- the answer


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class ResponseOptions(Answering):
    """What holds for one answer only."""

    unserved: ClassVar[Mapping[str, str]] = {
        **Answering.unserved,
        "input": "an answer is to the whole conversation",
    }
    audio: OutputAudio | None = None
    metadata: Metadata | None = None
    conversation: Literal["auto"] | None = None


class ResponseCreate(Event):
    """``response.create``: answer now."""

    type: Literal["response.create"]
    response: ResponseOptions | None = None


class ResponseCancel(Event):
    """``response.cancel``: stop answering."""

    type: Literal["response.cancel"]
    response_id: str | None = Field(None, max_length=LONGEST_ID)


class OutputClear(Event):
    """``output_audio_buffer.clear``: stop speaking."""

    type: Literal["output_audio_buffer.clear"]


class InputCommit(Event):
    """``input_audio_buffer.commit``: the user has finished."""

    type: Literal["input_audio_buffer.commit"]


class InputClear(Event):
    """``input_audio_buffer.clear``: forget what is being said."""

    type: Literal["input_audio_buffer.clear"]


ClientEvent = (
    SessionUpdate
    | ItemCreate
    | ItemRetrieve
    | ItemDelete
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
    | OutputClear
    | InputCommit
    | InputClear
)
events: TypeAdapter[ClientEvent] = TypeAdapter(Annotated[ClientEvent, Field(discriminator="type")])
SERVED = tuple(kind.model_fields["type"].annotation.__args__[0] for kind in ClientEvent.__args__)
"""What they are called."""
