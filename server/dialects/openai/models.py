"""The client events of OpenAI Realtime (GA) as they are taken here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from server.dialects.openai.fields import LONGEST_EVENT_ID, LONGEST_ID, Answering, Given, OutputAudio, SessionPatch
from server.dialects.openai.items import CreatedItem, InputItem

LONGEST_AUDIO = 15 << 20
"""Characters of base64 in one event."""
LATEST_MS = 10**9
"""Eleven days: a number that is none of this can be too large for any arithmetic."""


class Event(Given):
    """Every client event."""

    event_id: str | None = Field(None, max_length=LONGEST_EVENT_ID)


class SessionUpdate(Event):
    """``session.update``: what is left out stays as it is."""

    type: Literal["session.update"]
    session: SessionPatch


# ---------------------------------------------------------------------------------------------------- the conversation


class ItemCreate(Event):
    """``conversation.item.create``: what was typed, what a function has brought, or an item of earlier times."""

    type: Literal["conversation.item.create"]
    item: CreatedItem = Field(discriminator="type")
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
    """``conversation.item.truncate``: stop this answer, and remember only what was heard of it by ``audio_end_ms``."""

    type: Literal["conversation.item.truncate"]
    item_id: str = Field(max_length=LONGEST_ID)
    content_index: Literal[0] | None = None
    audio_end_ms: int | None = Field(None, ge=0, le=LATEST_MS)


# ---------------------------------------------------------------------------------------------------- the answer


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class ResponseOptions(Answering):
    """What holds for one answer only."""

    audio: OutputAudio | None = None
    metadata: Metadata | None = None
    conversation: Literal["auto", "none"] | None = None
    """``none``: the answer stays out of the conversation."""
    input: list[Annotated[InputItem, Field(discriminator="type")]] | None = Field(None, max_length=200, fail_fast=True)
    """What is answered instead of the conversation."""


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


class InputAppend(Event):
    """``input_audio_buffer.append``: what the user says, where sound travels in events."""

    type: Literal["input_audio_buffer.append"]
    audio: str = Field(max_length=LONGEST_AUDIO)


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
    | InputAppend
    | InputCommit
    | InputClear
)
events: TypeAdapter[ClientEvent] = TypeAdapter(Annotated[ClientEvent, Field(discriminator="type")])
SERVED = tuple(kind.model_fields["type"].annotation.__args__[0] for kind in ClientEvent.__args__)
"""What they are called."""
