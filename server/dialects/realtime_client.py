"""What a client may say on the data channel: OpenAI Realtime client events, the part served today.

An event that is not understood is answered by one ``error`` event and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from pipelines.errors import listed
from pipelines.ports import Image
from pipelines.vision.settings import DetectorName, VisionSettings
from pipelines.voice.conversation import Conversation
from pipelines.voice.history import Item
from pipelines.voice.replies import new_id
from pipelines.voice.settings import ConversationSettings
from server.dialects.image_part import read_image
from server.dialects.realtime_shapes import Json, error_event
from server.dialects.vision_client import VisionPatch, merge_vision
from server.json_input import JsonInputError, read_json_object

LARGEST_EVENT = 256 * 1024
"""Bytes; so large a message our session description allows (``a=max-message-size``)."""


class _Lenient(BaseModel):
    """Fields this server does not know are ignored: clients send what other services want."""

    model_config = ConfigDict(extra="ignore")

    event_id: str | None = None


class _TurnDetection(_Lenient):
    threshold: float | None = Field(None, ge=0, le=1)
    prefix_padding_ms: int | None = Field(None, ge=0, le=5_000)
    silence_duration_ms: int | None = Field(None, ge=100, le=10_000)
    create_response: bool | None = None
    interrupt_response: bool | None = None


class _AudioInput(_Lenient):
    turn_detection: _TurnDetection | None = None


class _AudioOutput(_Lenient):
    voice: str | None = None
    speed: float | None = Field(None, ge=0.25, le=4)


class _Audio(_Lenient):
    input: _AudioInput | None = None
    output: _AudioOutput | None = None


class _SessionPatch(_Lenient):
    instructions: str | None = Field(None, max_length=32_000)
    audio: _Audio | None = None
    max_output_tokens: int | Literal["inf"] | None = None
    vision: VisionPatch | None = None


class SessionUpdate(_Lenient):
    """``session.update``: what is left out stays as it is."""

    type: Literal["session.update"]
    session: _SessionPatch


class _Text(_Lenient):
    type: Literal["input_text"]
    text: str = Field(min_length=1, max_length=32_000)


class _Picture(_Lenient):
    type: Literal["input_image"]
    image_url: Annotated[Image, BeforeValidator(read_image)]

    model_config = ConfigDict(extra="ignore", arbitrary_types_allowed=True)


class _Message(_Lenient):
    id: str | None = Field(None, max_length=64)
    type: Literal["message"]
    role: Literal["user"]
    content: list[Annotated[_Text | _Picture, Field(discriminator="type")]] = Field(min_length=1)


class ItemCreate(_Lenient):
    """``conversation.item.create``: a message the user typed."""

    type: Literal["conversation.item.create"]
    item: _Message


class _ResponseOptions(_Lenient):
    instructions: str | None = Field(None, max_length=32_000)


class ResponseCreate(_Lenient):
    """``response.create``: answer now."""

    type: Literal["response.create"]
    response: _ResponseOptions | None = None


class ResponseCancel(_Lenient):
    """``response.cancel``: stop answering."""

    type: Literal["response.cancel"]


class OutputClear(_Lenient):
    """``output_audio_buffer.clear``: stop speaking."""

    type: Literal["output_audio_buffer.clear"]


class InputCommit(_Lenient):
    """``input_audio_buffer.commit``: the user has finished."""

    type: Literal["input_audio_buffer.commit"]


class InputClear(_Lenient):
    """``input_audio_buffer.clear``: forget what is being said."""

    type: Literal["input_audio_buffer.clear"]


ClientEvent = Annotated[
    SessionUpdate | ItemCreate | ResponseCreate | ResponseCancel | OutputClear | InputCommit | InputClear,
    Field(discriminator="type"),
]
_events: TypeAdapter[Any] = TypeAdapter(ClientEvent)


class Video(Protocol):
    """How the session is seen."""

    settings: VisionSettings

    @property
    def unavailable(self) -> Mapping[DetectorName, str]:
        """Why detectors cannot be used."""
        ...

    def configure(self, settings: VisionSettings) -> None:
        """Change it, at once."""
        ...


class RealtimeClient:
    """Carries out one client's events on its conversation; answers go to ``send``."""

    def __init__(
        self,
        conversation: Conversation,
        video: Video,
        voices: tuple[str, ...],
        send: Callable[[Json], None],
        updated: Callable[[], Json],
    ) -> None:
        self._conversation = conversation
        self._video = video
        self._voices = voices
        self._send = send
        self._updated = updated
        self.event_id: str | None = None
        """Of the event that is being carried out."""

    def receive(self, message: str | bytes) -> None:
        """One message of the data channel."""
        if len(message) > LARGEST_EVENT:  # of a text these are characters, which is near enough
            self._send(error_event("event_too_large", f"an event may have {LARGEST_EVENT} bytes"))
            return
        self.event_id = None
        try:
            data = read_json_object(message, "an event")
        except JsonInputError as error:
            self._send(error_event(error.code, str(error)))
            return
        event_id = data.get("event_id")
        self.event_id = event_id if isinstance(event_id, str) else None
        try:
            event = _events.validate_python(data)
        except ValidationError as error:
            self._send(_explain(error, self.event_id))
            return
        self._carry_out(event)

    def _carry_out(self, event: Any) -> None:
        conversation = self._conversation
        match event:
            case SessionUpdate():
                self._update(event)
            case ItemCreate():
                self._add(event)
            case ResponseCreate():
                conversation.respond()
            case ResponseCancel():
                if not conversation.replies.interrupt("client_cancelled"):
                    message = "there is no response to cancel"
                    self._send(error_event("response_cancel_not_active", message, event_id=event.event_id))
            case OutputClear():
                conversation.replies.interrupt("client_cancelled")
            case InputCommit():
                if not conversation.commit():
                    message = "nobody is speaking: there is no audio to commit"
                    self._send(error_event("input_audio_buffer_commit_empty", message, event_id=event.event_id))
            case InputClear():
                conversation.clear()

    def _add(self, event: ItemCreate) -> None:
        """A picture for a model that takes none is told, and only the words are kept."""
        parts = event.item.content
        text = "\n".join(part.text for part in parts if isinstance(part, _Text))
        images = tuple(part.image_url for part in parts if isinstance(part, _Picture))
        if images and not self._conversation.sees:
            message = (
                f"{self._conversation.thinker} takes no pictures (chat_images: true says that a model server's does); "
                f"{'the words are kept' if text else 'nothing was added'}"
            )
            param = "item.content"
            self._send(error_event("images_not_taken", message, param=param, event_id=event.event_id))
            images = ()
        if text or images:
            self._conversation.add(Item(event.item.id or new_id("item"), "user", text, images=images))

    def _update(self, event: SessionUpdate) -> None:
        voice = event.session.audio.output.voice if event.session.audio and event.session.audio.output else None
        if voice is not None and voice not in self._voices:
            message = f"there is no voice {voice!r}; the voices are {listed(self._voices)}"
            param = "session.audio.output.voice"
            self._send(error_event("invalid_value", message, param=param, event_id=event.event_id))
            return
        self._conversation.configure(merge(self._conversation.settings, event.session))
        if event.session.vision is not None:
            self._update_vision(event.session.vision, event.event_id)
        self._send(self._updated())

    def _update_vision(self, patch: VisionPatch, event_id: str | None) -> None:
        """What cannot be had is told; the rest is done."""
        if patch.codec is not None:
            message = "the codec is agreed on when the session begins: give it with the offer"
            param = "session.vision.codec"
            self._send(error_event("invalid_value", message, param=param, event_id=event_id))
        missing = [name for name in patch.detectors if name in self._video.unavailable]
        if missing:
            message = "; ".join(f"{name} cannot be used: {self._video.unavailable[name]}" for name in missing)
            param = "session.vision.detectors"
            self._send(error_event("detector_unavailable", message, param=param, event_id=event_id))
        settings = merge_vision(self._video.settings, patch)
        if settings.background.kind != "keep" and "segmentation" in self._video.unavailable:
            message = f"a background needs segmentation: {self._video.unavailable['segmentation']}"
            param = "session.vision.background.kind"
            self._send(error_event("detector_unavailable", message, param=param, event_id=event_id))
            settings = replace(settings, background=replace(settings.background, kind="keep"))
        self._video.configure(settings)


def merge(settings: ConversationSettings, patch: _SessionPatch) -> ConversationSettings:
    """Settings with the given fields changed and all others kept."""
    audio = patch.audio or _Audio()
    output = audio.output or _AudioOutput()
    detection = (audio.input or _AudioInput()).turn_detection or _TurnDetection()
    turn = replace(
        settings.turn,
        **_given(
            prefix_padding_seconds=_seconds(detection.prefix_padding_ms),
            silence_seconds=_seconds(detection.silence_duration_ms),
            create_response=detection.create_response,
            interrupt_response=detection.interrupt_response,
        ),
    )
    threshold = detection.threshold
    segmenter = settings.segmenter
    if threshold is not None:
        segmenter = replace(segmenter, start_threshold=threshold, stop_threshold=max(0.01, threshold - 0.15))
    tokens = patch.max_output_tokens
    return replace(
        settings,
        turn=turn,
        segmenter=segmenter,
        voice=replace(settings.voice, **_given(voice=output.voice, speed=output.speed)),
        **_given(
            instructions=patch.instructions,
            max_tokens=tokens if isinstance(tokens, int) else None,
        ),
    )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _explain(error: ValidationError, event_id: str | None) -> Json:
    problem = error.errors()[0]
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        known = problem.get("ctx", {}).get("expected_tags", "")
        given = problem.get("ctx", {}).get("tag")
        what = f"unknown event type {given!r}" if given else "an event needs a type"
        return error_event("unknown_event", f"{what}; served are {known}", param="type", event_id=event_id)
    path = ".".join(str(part) for part in problem["loc"][1:])
    return error_event("invalid_value", f"{path}: {problem['msg']}", param=path, event_id=event_id)
