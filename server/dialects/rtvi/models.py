"""The messages of RTVI clients as they are taken here, field by field (``pipecat`` 1.14: ``rtvi/models.py``)."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from server.dialects.openai.fields import LONGEST_TEXT
from server.dialects.openai.items import LONGEST_OUTPUT

LONGEST_ID = 64
"""Characters of a message's id; clients use 8."""
_LONGEST_REASON = 500


class _Given(BaseModel):
    """Fields that are not known are let go, as in Pipecat: clients of later versions send more."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Message(_Given):
    """The envelope."""

    label: Literal["rtvi-ai"]
    type: str = Field(max_length=64)
    id: str = Field(max_length=LONGEST_ID)
    data: dict[str, Any] | None = None


class ClientReady(_Given):
    """``client-ready``."""

    version: str = Field("", max_length=40)


class ClientMessage(_Given):
    """``client-message``: a request of the application, named ``t``."""

    t: str = Field(max_length=64)
    d: dict[str, Any] | None = None


class Options(_Given):
    """How what is sent is answered."""

    run_immediately: bool = True
    """Whether it is answered at once, in place of what is being said."""
    audio_response: bool = True
    """Whether the answer has a voice."""


class SendText(_Given):
    """``send-text``."""

    content: str = Field(min_length=1, max_length=LONGEST_TEXT)
    options: Options | None = None


class _Source(_Given):
    type: Literal["bytes"]
    bytes: str


class _File(_Given):
    format: Literal["image/jpeg", "image/png"]
    source: _Source


class SendFile(_Given):
    """``send-file``: a picture; addresses are not fetched."""

    content: str = Field("", max_length=LONGEST_TEXT)
    file: _File
    options: Options | None = None

    @property
    def uri(self) -> str:
        """The picture as a data URI; clients may send one."""
        sent = self.file.source.bytes
        return sent if sent.startswith("data:") else f"data:{self.file.format};base64,{sent}"


class FunctionCallResult(_Given):
    """``llm-function-call-result``; the name and the arguments are those of the call, which are known."""

    tool_call_id: str = Field(max_length=LONGEST_ID)
    result: Any = None

    @property
    def output(self) -> str:
        """The result as text for the model to read: a string as it is, anything else as JSON."""
        return self.result if isinstance(self.result, str) else json.dumps(self.result, ensure_ascii=False)

    @model_validator(mode="after")
    def _is_short(self) -> FunctionCallResult:
        if len(self.output) > LONGEST_OUTPUT:
            raise ValueError(f"result: may have {LONGEST_OUTPUT} characters")
        return self


class AppendToContext(_Given):
    """``append-to-context``, which older clients send."""

    role: Literal["user", "assistant"]
    content: str = Field(min_length=1, max_length=LONGEST_TEXT)
    run_immediately: bool | None = None


def problem(error: ValidationError, place: str = "data") -> str:
    """What is wrong with a message, in words for its sender: the field, and what is legal."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(part for part in [place, *map(str, first["loc"])] if part)
    return f"{path}: {first['msg']}"[:_LONGEST_REASON]
