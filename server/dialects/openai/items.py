"""The items of a conversation as clients of OpenAI Realtime (GA) give them: messages, function calls, their results."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.interfaces.llm import Image
from pipelines.vision.images import jpeg_size
from server.dialects.openai.fields import LONGEST_ID, LONGEST_TEXT, Given
from server.http.json_input import JsonInputError, read_json_object

LONGEST_OUTPUT = 200_000
"""Characters of a function's result; of a long one a language model is shown beginning and end."""
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
    detail: Literal["auto", "low", "high"] | None = None
    """A wish: how finely it is looked at is the model's business."""


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


class InputSpeech(Given):
    """What the user has said, in words; sound comes by the input buffer."""

    unserved: ClassVar[Mapping[str, str]] = {
        "audio": "sound is taken from input_audio_buffer.append, or from the microphone; give the transcript",
    }
    type: Literal["input_audio"]
    transcript: str = Field(min_length=1, max_length=LONGEST_TEXT)

    @property
    def words(self) -> str:
        """What was said."""
        return self.transcript


Part = Annotated[Text | InputSpeech | Picture | OutputText | OutputSpeech, Field(discriminator="type")]
_PARTS: dict[str, tuple[str, ...]] = {
    "user": ("input_text", "input_audio", "input_image"),
    "system": ("input_text",),
    "assistant": ("output_text", "output_audio"),
}
"""Who can say what."""


class _Item(Given):
    id: str | None = Field(None, min_length=1, max_length=LONGEST_ID)
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class Message(_Item):
    """What somebody has said, or shown."""

    type: Literal["message"]
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


def _arguments(text: str) -> str:
    try:
        read_json_object(text, "they")
    except JsonInputError as error:
        message = "must be the text of a JSON object: {why}"
        raise PydanticCustomError("arguments", message, {"why": str(error)}) from None
    return text


class FunctionCallItem(_Item):
    """A call of an earlier conversation."""

    type: Literal["function_call"]
    call_id: str = Field(min_length=1, max_length=LONGEST_ID)
    name: str = Field(min_length=1, max_length=64)
    arguments: Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_arguments)]


class FunctionCallOutput(_Item):
    """What a call has brought, as text for the model to read."""

    type: Literal["function_call_output"]
    call_id: str = Field(min_length=1, max_length=LONGEST_ID)
    output: str = Field(max_length=LONGEST_OUTPUT)


class ItemReference(Given):
    """An item of the conversation by its id."""

    type: Literal["item_reference"]
    id: str = Field(min_length=1, max_length=LONGEST_ID)


CreatedItem = Message | FunctionCallItem | FunctionCallOutput
InputItem = CreatedItem | ItemReference
