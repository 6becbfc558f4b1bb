"""Our events → OpenAI Realtime (GA) server events. Pure: an event in, JSON objects out.

Order and field names follow the recorded traces of the service and what stock clients insist on: ``event_id`` on every
event, optional fields left out rather than null, ``transcript`` always present on a user's audio. Events of our own
(``vision.*``, ``turn.latency``, ``engine.status``, ``visavis.partial_transcript``) ride beside them; clients
ignore types they do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipelines.vision.detect import CameraStarted, CameraStopped, VideoEvent, VisionCaughtUp, VisionFellBehind
from pipelines.vision.events import (
    AttentionChanged,
    GestureEnded,
    GestureStarted,
    PersonAppeared,
    PersonLeft,
    SceneChanged,
    VisionEvent,
)
from pipelines.voice.events import (
    FIRST,
    MessageAdded,
    MessageRemoved,
    PartialTranscript,
    Problem,
    ResponseAudioStarted,
    ResponseAudioStopped,
    ResponseFailed,
    ResponseGenerated,
    ResponseHeld,
    ResponseInterrupted,
    ResponseStarted,
    ResponseText,
    SpeechStarted,
    SpeechStopped,
    TranscriptFailed,
    TurnLatency,
    UserTurn,
    VoiceEvent,
)
from server.dialects.openai.shapes import Json, error_event, error_object, milliseconds, server_event
from server.dialects.openai.vision import video_event, vision_event


@dataclass(slots=True)
class _Response:
    """What has been told of a response so far."""

    id: str
    item_id: str
    spoken: bool
    metadata: Mapping[str, str]
    parts: list[str] = field(default_factory=list)
    opened: bool = False
    sounding: bool = False
    done: bool = False

    @property
    def text(self) -> str:
        """The words told so far."""
        return " ".join(self.parts)


class RealtimeEvents:
    """Speaks for one session. Keeps only what the wire format needs and the events do not carry."""

    def __init__(self, transcribes: Callable[[], bool] = lambda: True) -> None:
        self._transcribes = transcribes
        """Whether the client wants to know in words what the user says."""
        self._last_item: str | None = None
        self._response: _Response | None = None
        self._partial = ""
        self._told = ""

    def translate(self, event: VoiceEvent | VisionEvent | VideoEvent) -> list[Json]:  # noqa: C901 - a flat table of cases
        """The wire events for one of ours, in order; empty when the wire has nothing for it."""
        match event:
            case SpeechStarted():
                start = milliseconds(event.time)
                kind = "input_audio_buffer.speech_started"
                return [server_event(kind, item_id=event.item_id, audio_start_ms=start)]
            case SpeechStopped():
                return self._speech_stopped(event)
            case PartialTranscript() | TranscriptFailed() | UserTurn(spoken=True) if not self._transcribes():
                return []
            case PartialTranscript():
                return self._partial_transcript(event)
            case UserTurn(spoken=True):
                return [self._transcribed(event)]
            case UserTurn():
                return self._typed(event)
            case MessageRemoved():
                self._last_item = event.last
                return [server_event("conversation.item.deleted", item_id=event.item_id)]
            case MessageAdded():
                kind = "output_text" if event.role == "assistant" else "input_text"
                content = [{"type": kind, "text": event.text}]
                return self._message(event.item_id, event.role, content, event.after)
            case TranscriptFailed():
                return [
                    server_event(
                        "conversation.item.input_audio_transcription.failed",
                        item_id=event.item_id,
                        content_index=0,
                        error=error_object(event.error),
                    )
                ]
            case ResponseStarted():
                self._response = _Response(event.response_id, event.item_id, event.spoken, event.metadata)
                return [server_event("response.created", response=self._response_object("in_progress"))]
            case ResponseText() | ResponseAudioStarted() | ResponseGenerated() | ResponseAudioStopped():
                return self._progress(event)
            case ResponseInterrupted():
                return self._interrupted(event)
            case ResponseFailed():
                details = {"type": "failed", "error": error_object(event.error)}
                return [*self._open(), *self._close("failed", "incomplete", details)]
            case TurnLatency():
                return [self._latency(event)]
            case SceneChanged() | AttentionChanged():
                return [vision_event(event)]
            case PersonAppeared() | PersonLeft() | GestureStarted() | GestureEnded():
                return [vision_event(event)]
            case ResponseHeld():
                return [server_event("visavis.reply_held", item_id=event.item_id, outcome=event.outcome)]
            case VisionFellBehind() | VisionCaughtUp() | CameraStopped() | CameraStarted():
                return [video_event(event)]
            case Problem():
                return [error_event(event.error.code, event.error.message, kind="server_error")]

    # ------------------------------------------------------------------------------------------------ the user

    def _typed(self, event: UserTurn) -> list[Json]:
        content = [{"type": "input_text", "text": event.text}] if event.text else []
        # pictures are told back without their bytes: events are small
        content += [{"type": "input_image"} for _ in range(event.images)]
        return self._message(event.item_id, "user", content, event.after)

    def _speech_stopped(self, event: SpeechStopped) -> list[Json]:
        self._partial = self._told = ""
        item: Json = {
            "id": event.item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        previous = self._last_item
        stopped = "input_audio_buffer.speech_stopped"
        told = [server_event(stopped, item_id=event.item_id, audio_end_ms=milliseconds(event.time))]
        return [
            *(told if event.detected else []),
            server_event("input_audio_buffer.committed", item_id=event.item_id, previous_item_id=previous),
            *self._item_added(item),
            server_event("conversation.item.done", item=item, previous_item_id=previous),
        ]

    def _partial_transcript(self, event: PartialTranscript) -> list[Json]:
        """The whole partial as an event of ours, and what two partials in a row agree on as a standard delta."""
        agreed = _common_words(self._partial, event.text)
        self._partial = event.text
        events = [server_event("visavis.partial_transcript", item_id=event.item_id, transcript=event.text)]
        if agreed.startswith(self._told) and len(agreed) > len(self._told):
            delta, self._told = agreed[len(self._told) :], agreed
            kind = "conversation.item.input_audio_transcription.delta"
            events.append(server_event(kind, item_id=event.item_id, content_index=0, delta=delta))
        return events

    @staticmethod
    def _transcribed(event: UserTurn) -> Json:
        return server_event(
            "conversation.item.input_audio_transcription.completed",
            item_id=event.item_id,
            content_index=0,
            transcript=event.text,
            usage={"type": "duration", "seconds": round(event.seconds, 3)},
        )

    def _message(self, item_id: str, role: str, content: list[Json], after: str | None) -> list[Json]:
        """A message that the client has put in: at the end, or behind the item ``after``."""
        item: Json = {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": role,
            "content": content,
        }
        previous = self._last_item
        if after is None or after == previous:
            return [
                *self._item_added(item),
                server_event("conversation.item.done", item=item, previous_item_id=previous),
            ]
        before = None if after == FIRST else after
        self._last_item = previous or item_id
        return [
            server_event(f"conversation.item.{kind}", item=item, previous_item_id=before) for kind in ("added", "done")
        ]

    def _item_added(self, item: Json) -> list[Json]:
        previous, self._last_item = self._last_item, item["id"]
        return [server_event("conversation.item.added", item=item, previous_item_id=previous)]

    @staticmethod
    def _latency(event: TurnLatency) -> Json:
        return server_event(
            "turn.latency",
            response_id=event.response_id,
            voice_to_voice_ms=milliseconds(event.voice_to_voice),
            parts={name: milliseconds(seconds) for name, seconds in event.parts.items()},
            saved_ms=milliseconds(event.saved),
        )

    # ------------------------------------------------------------------------------------------------ the answer

    def _progress(
        self, event: ResponseText | ResponseAudioStarted | ResponseGenerated | ResponseAudioStopped
    ) -> list[Json]:
        response = self._response
        if response is None or response.id != event.response_id:
            return []
        match event:
            case ResponseText():
                delta = f" {event.text}" if response.parts else event.text
                response.parts.append(event.text)
                kind = "response.output_audio_transcript.delta" if response.spoken else "response.output_text.delta"
                return [*self._open(), self._part_event(kind, delta=delta)]
            case ResponseAudioStarted():
                response.sounding = True
                return [server_event("output_audio_buffer.started", response_id=response.id)]
            case ResponseGenerated():
                if event.cut:
                    details = {"type": "incomplete", "reason": "max_output_tokens"}
                    return [*self._open(), *self._close("incomplete", "incomplete", details)]
                return [*self._open(), *self._close("completed", "completed")]
            case ResponseAudioStopped():
                if not response.sounding:
                    return []
                response.sounding = False
                return [server_event("output_audio_buffer.stopped", response_id=response.id)]

    def _interrupted(self, event: ResponseInterrupted) -> list[Json]:
        response = self._response
        if response is None or response.id != event.response_id:
            return []
        events: list[Json] = []
        if response.sounding:
            events.append(server_event("output_audio_buffer.cleared", response_id=response.id))
        if not response.done:
            details = {"type": "cancelled", "reason": event.reason}
            events += self._close("cancelled", "incomplete", details)
        if response.opened and response.spoken:
            truncated = server_event("conversation.item.truncated", item_id=response.item_id, content_index=0)
            events.append({**truncated, "audio_end_ms": milliseconds(event.heard_seconds), "transcript": event.heard})
        self._response = None
        return events

    def _open(self) -> list[Json]:
        """The events that come before the first word of an answer."""
        response = self._response
        if response is None or response.opened:
            return []
        response.opened = True
        item = self._item("in_progress", [])
        part = {"type": "audio", "transcript": ""} if response.spoken else {"type": "text", "text": ""}
        return [
            server_event("response.output_item.added", response_id=response.id, output_index=0, item=item),
            *self._item_added(item),
            self._part_event("response.content_part.added", part=part),
        ]

    def _close(self, status: str, item_status: str, details: Json | None = None) -> list[Json]:
        """The events that end an answer; the item's own only if it was opened."""
        response = self._response
        if response is None or response.done:
            return []
        response.done = True
        events: list[Json] = []
        output: list[Json] = []
        if response.opened:
            item = self._item(item_status, [self._content()])
            output = [item]
            events = [
                *self._parts_done(),
                server_event("conversation.item.done", item=item, previous_item_id=self._last_item),
                server_event("response.output_item.done", response_id=response.id, output_index=0, item=item),
            ]
        return [*events, server_event("response.done", response=self._response_object(status, output, details))]

    def _parts_done(self) -> list[Json]:
        response = self._response
        assert response is not None
        if not response.spoken:
            return [
                self._part_event("response.output_text.done", text=response.text),
                self._part_event("response.content_part.done", part={"type": "text", "text": response.text}),
            ]
        return [
            self._part_event("response.output_audio.done"),
            self._part_event("response.output_audio_transcript.done", transcript=response.text),
            self._part_event("response.content_part.done", part={"type": "audio", "transcript": response.text}),
        ]

    def _part_event(self, kind: str, **fields: object) -> Json:
        assert self._response is not None
        place = {"response_id": self._response.id, "item_id": self._response.item_id, "output_index": 0}
        return server_event(kind, **place, content_index=0, **fields)

    def _item(self, status: str, content: list[Json]) -> Json:
        assert self._response is not None
        return {
            "id": self._response.item_id,
            "object": "realtime.item",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def _content(self) -> Json:
        assert self._response is not None
        if self._response.spoken:
            return {"type": "output_audio", "transcript": self._response.text}
        return {"type": "output_text", "text": self._response.text}

    def _response_object(self, status: str, output: list[Json] | None = None, details: Json | None = None) -> Json:
        assert self._response is not None
        return {
            "object": "realtime.response",
            "id": self._response.id,
            "status": status,
            "status_details": details,
            "output": output or [],
            "output_modalities": ["audio" if self._response.spoken else "text"],
            **({"metadata": dict(self._response.metadata)} if self._response.metadata else {}),
        }


def _common_words(one: str, other: str) -> str:
    """The words with which both texts begin."""
    common = []
    for left, right in zip(one.split(), other.split(), strict=False):
        if left != right:
            break
        common.append(left)
    return " ".join(common)
