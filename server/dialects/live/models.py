"""What clients of OpenAI's Live give, field by field: the session to begin with, and their events.

Source: ``openai.types.live`` (``openai`` 3.57). A field that acts is taken; every other is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from server.dialects.openai.fields import LONGEST_EVENT_ID, LONGEST_TEXT, Answering, Audio, AudioOutput, Given
from server.dialects.openai.fields import SessionPatch as Patch

MOST_INITIAL = 128
"""Messages that a session may begin with."""
HUNG_UP = "the call was hung up over HTTP"
"""Why a session ends upon a request."""


class Voice(AudioOutput):
    """A wish: a name that is not known means the usual voice."""

    unserved: ClassVar[Mapping[str, str]] = {
        "format": "peer and server agree on the format by SDP",
        "speed": "Live has no speed",
    }


class LiveAudio(Given):
    unserved: ClassVar[Mapping[str, str]] = {"format": "peer and server agree on the format by SDP"}
    output: Voice | None = None


class Responses(Answering):
    """The assistant itself is the Responses backend: what is set here holds for all that it says.

    ``model`` is a wish: one model serves all.
    """

    unserved: ClassVar[Mapping[str, str]] = {
        **Answering.unserved,
        "output_modalities": "Live speaks",
        "service_tier": "all sessions are served alike",
        "text": "what is said has no format",
    }
    model: str | None = Field(None, max_length=200)


class Delegation(Given):
    """Who does what the assistant would rather not do itself. It does everything: to ``client`` nothing is given."""

    unserved: ClassVar[Mapping[str, str]] = {
        "acknowledgement_delay_ms": "no delegation is announced by voice",
        "decisions": "there are no decisions here",
    }
    type: Literal["client", "responses"]
    responses: Responses | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Delegation:
        if self.responses is not None and self.type != "responses":
            raise PydanticCustomError("responses", 'only type "responses" has it', {"name": "responses"})
        return self


class InitialText(Given):
    type: Literal["input_text", "text", "output_text"] | None = None
    text: str = Field(min_length=1, max_length=LONGEST_TEXT)


class InitialItem(Given):
    """A message of earlier times."""

    type: Literal["message"] | None = None
    role: Literal["developer", "user", "assistant"]
    content: list[InitialText] = Field(min_length=1, max_length=1)
    id: str | None = Field(None, min_length=1, max_length=64)
    status: Literal["incomplete", "completed"] | None = None


def _store(value: bool | None) -> bool | None:
    if value:
        raise PydanticCustomError("store", "sessions are not stored, and cannot be forked; legal is false")
    return value


class LiveSession(Given):
    """``session`` of ``POST /v1/live/sessions``."""

    unserved: ClassVar[Mapping[str, str]] = {
        "client": "a data channel carries all events",
        "idle_timeout_s": "inference is not paused",
        "wake_policy": "inference is not paused",
        "triggers": "there are no decisions here",
    }
    model: str = Field(min_length=1, max_length=200)
    """A wish: one model serves all."""
    audio: LiveAudio | None = None
    delegation: Delegation | None = None
    input: list[InitialItem] | None = Field(None, max_length=MOST_INITIAL)
    instructions: str | None = Field(None, max_length=LONGEST_TEXT)
    safety_identifier: str | None = Field(None, max_length=512)
    """Told back with the session."""
    store: Annotated[bool | None, AfterValidator(_store)] = None

    def patch(self) -> Patch:
        """The settings to begin with as Realtime words them, without those of the delegation."""
        given: dict[str, Any] = {}
        if self.instructions and self.instructions.strip():  # blank ones mean the usual
            given["instructions"] = self.instructions
        if self.audio is not None and self.audio.output is not None:
            given["audio"] = Audio(output=self.audio.output)
        return Patch(**given)


class Transport(Given):
    type: Literal["webrtc"]
    sdp: str


class LiveCreate(Given):
    """The body of ``POST /v1/live/sessions``."""

    session: LiveSession
    transport: Transport


# ---------------------------------------------------------------------------------------------------- client events


class Event(Given):
    """A client event that tells no more than its type."""

    type: str
    event_id: str | None = Field(None, max_length=LONGEST_EVENT_ID)


class SessionChange(Given):
    unserved: ClassVar[Mapping[str, str]] = {"triggers": "there are no decisions here"}
    delegation: Delegation | None = None


class SessionUpdate(Event):
    """``session.update``: what is left out stays as it is."""

    session: SessionChange


class Append(Event):
    """``session.instructions.append`` and ``session.commentary.append``."""

    unserved: ClassVar[Mapping[str, str]] = {"delegation_id": "nothing is delegated to clients"}
    content: str = Field(min_length=1, max_length=LONGEST_TEXT)


class ItemCreate(Event):
    """``response.item.create``: an item of the Responses API."""

    item: dict[str, Any]


UNSERVED = {
    "session.start": "a session over WebRTC has begun with its offer",
    "session.input_audio.append": "audio is taken from the audio track",
    "session.output_audio.fixture.play": "no fixtures are played here",
    "session.thinking.append": "the model has no thinking to add to; session.instructions.append tells it silently",
    "decision.create": "there are no decisions here",
    "decision.item.create": "there are no decisions here",
    "decision.item.delete": "there are no decisions here",
    "transport.dtmf.send": "this is no SIP call",
}
"""Client events of the types that are refused, and why."""
