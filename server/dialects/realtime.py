"""Our events → OpenAI Realtime (GA) server events. Pure: an event in, JSON objects out.

Order and field names follow the recorded traces of the service and what stock clients insist on: ``event_id`` on every
event, optional fields left out rather than null, ``transcript`` always present on a user's audio. Events of our own
(``vision.changed``, ``turn.latency``, ``engine.status``, ``visavis.partial_transcript``) ride beside them; clients
ignore types they do not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.errors import PipelineError
from pipelines.ports import Detection
from pipelines.vision.events import SceneChanged
from pipelines.voice.events import (
    PartialTranscript,
    Problem,
    ReplyAudioStarted,
    ReplyAudioStopped,
    ReplyFailed,
    ReplyGenerated,
    ReplyInterrupted,
    ReplyStarted,
    ReplyText,
    SpeechStarted,
    SpeechStopped,
    TranscriptFailed,
    TurnLatency,
    UserTurn,
    VoiceEvent,
)
from pipelines.voice.replies import new_id
from pipelines.voice.settings import ConversationSettings

Json = dict[str, Any]


@dataclass(slots=True)
class _Response:
    """What has been told of a response so far."""

    id: str
    item_id: str
    spoken: bool
    text: str = ""
    opened: bool = False
    sounding: bool = False
    done: bool = False


class RealtimeEvents:
    """Speaks for one session. Keeps only what the wire format needs and the events do not carry."""

    def __init__(self) -> None:
        self._last_item: str | None = None
        self._response: _Response | None = None
        self._partial = ""
        self._told = ""

    def translate(self, event: VoiceEvent | SceneChanged) -> list[Json]:  # noqa: C901 - a flat table of cases
        """The wire events for one of ours, in order; empty when the wire has nothing for it."""
        match event:
            case SpeechStarted():
                return [
                    _event("input_audio_buffer.speech_started", item_id=event.item_id, audio_start_ms=_ms(event.time))
                ]
            case SpeechStopped():
                return self._speech_stopped(event)
            case PartialTranscript():
                return self._partial_transcript(event)
            case UserTurn():
                return self._user_turn(event)
            case TranscriptFailed():
                return [
                    _event(
                        "conversation.item.input_audio_transcription.failed",
                        item_id=event.item_id,
                        content_index=0,
                        error=_error(event.error),
                    )
                ]
            case ReplyStarted():
                self._response = _Response(event.response_id, event.item_id, event.spoken)
                return [_event("response.created", response=self._response_object("in_progress"))]
            case ReplyText() | ReplyAudioStarted() | ReplyGenerated() | ReplyAudioStopped():
                return self._reply(event)
            case ReplyInterrupted():
                return self._interrupted(event)
            case ReplyFailed():
                details = {"type": "failed", "error": _error(event.error)}
                return [*self._open(), *self._close("failed", "incomplete", details)]
            case TurnLatency():
                return [self._latency(event)]
            case SceneChanged():
                objects = [_object(detection) for detection in event.objects]
                return [_event("vision.changed", scene=event.scene, objects=objects)]
            case Problem():
                return [error_event(event.error.code, event.error.message, kind="server_error")]

    # ------------------------------------------------------------------------------------------------ the user

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
        return [
            _event("input_audio_buffer.speech_stopped", item_id=event.item_id, audio_end_ms=_ms(event.time)),
            _event("input_audio_buffer.committed", item_id=event.item_id, previous_item_id=previous),
            *self._item_added(item),
            _event("conversation.item.done", item=item, previous_item_id=previous),
        ]

    def _partial_transcript(self, event: PartialTranscript) -> list[Json]:
        """The whole partial as an event of ours, and what two partials in a row agree on as a standard delta."""
        agreed = _common_words(self._partial, event.text)
        self._partial = event.text
        events = [_event("visavis.partial_transcript", item_id=event.item_id, transcript=event.text)]
        if agreed.startswith(self._told) and len(agreed) > len(self._told):
            delta, self._told = agreed[len(self._told) :], agreed
            kind = "conversation.item.input_audio_transcription.delta"
            events.append(_event(kind, item_id=event.item_id, content_index=0, delta=delta))
        return events

    def _user_turn(self, event: UserTurn) -> list[Json]:
        if event.spoken:
            return [
                _event(
                    "conversation.item.input_audio_transcription.completed",
                    item_id=event.item_id,
                    content_index=0,
                    transcript=event.text,
                    usage={"type": "duration", "seconds": round(event.seconds, 3)},
                )
            ]
        item: Json = {
            "id": event.item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_text", "text": event.text}],
        }
        previous = self._last_item
        return [*self._item_added(item), _event("conversation.item.done", item=item, previous_item_id=previous)]

    def _item_added(self, item: Json) -> list[Json]:
        previous, self._last_item = self._last_item, item["id"]
        return [_event("conversation.item.added", item=item, previous_item_id=previous)]

    @staticmethod
    def _latency(event: TurnLatency) -> Json:
        return _event(
            "turn.latency",
            response_id=event.response_id,
            voice_to_voice_ms=_ms(event.voice_to_voice),
            parts={name: _ms(seconds) for name, seconds in event.parts.items()},
            saved_ms=_ms(event.saved),
        )

    # ------------------------------------------------------------------------------------------------ the answer

    def _reply(self, event: ReplyText | ReplyAudioStarted | ReplyGenerated | ReplyAudioStopped) -> list[Json]:
        response = self._response
        if response is None or response.id != event.response_id:
            return []
        match event:
            case ReplyText():
                delta = event.text if not response.text else f" {event.text}"
                response.text += delta
                kind = "response.output_audio_transcript.delta" if response.spoken else "response.output_text.delta"
                return [*self._open(), self._part_event(kind, delta=delta)]
            case ReplyAudioStarted():
                response.sounding = True
                return [_event("output_audio_buffer.started", response_id=response.id)]
            case ReplyGenerated():
                return [*self._open(), *self._close("completed", "completed")]
            case ReplyAudioStopped():
                if not response.sounding:
                    return []
                response.sounding = False
                return [_event("output_audio_buffer.stopped", response_id=response.id)]

    def _interrupted(self, event: ReplyInterrupted) -> list[Json]:
        response = self._response
        if response is None or response.id != event.response_id:
            return []
        events: list[Json] = []
        if response.sounding:
            events.append(_event("output_audio_buffer.cleared", response_id=response.id))
        if not response.done:
            details = {"type": "cancelled", "reason": event.reason}
            events += self._close("cancelled", "incomplete", details)
        if response.opened and response.spoken:
            truncated = _event("conversation.item.truncated", item_id=response.item_id, content_index=0)
            events.append({**truncated, "audio_end_ms": _ms(event.heard_seconds), "transcript": event.heard})
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
            _event("response.output_item.added", response_id=response.id, output_index=0, item=item),
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
                _event("conversation.item.done", item=item, previous_item_id=self._last_item),
                _event("response.output_item.done", response_id=response.id, output_index=0, item=item),
            ]
        return [*events, _event("response.done", response=self._response_object(status, output, details))]

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
        return _event(kind, **place, content_index=0, **fields)

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
        }


def session_event(kind: str, session_id: str, settings: ConversationSettings, voice: str, models: Json) -> Json:
    """``session.created`` or ``session.updated`` with the settings in effect."""
    turn = settings.turn
    return _event(
        kind,
        session={
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": models["think"],
            "instructions": settings.instructions,
            "output_modalities": ["audio"],
            "max_output_tokens": settings.max_tokens,
            "audio": {
                "input": {
                    "transcription": {"model": models["listen"]},
                    "turn_detection": {
                        "type": turn.mode.value,
                        "threshold": settings.segmenter.start_threshold,
                        "prefix_padding_ms": _ms(turn.prefix_padding_seconds),
                        "silence_duration_ms": _ms(turn.silence_seconds),
                        "create_response": turn.create_response,
                        "interrupt_response": turn.interrupt_response,
                    },
                },
                "output": {"voice": settings.voice.voice or voice, "speed": settings.voice.speed},
            },
        },
    )


def error_event(
    code: str,
    message: str,
    *,
    param: str | None = None,
    event_id: str | None = None,
    kind: str = "invalid_request_error",
) -> Json:
    """An ``error`` event; ``event_id`` is the client's event that it answers."""
    error: Json = {"type": kind, "code": code, "message": message}
    if param is not None:
        error["param"] = param
    if event_id is not None:
        error["event_id"] = event_id
    return _event("error", error=error)


def status_event(rows: list[Json]) -> Json:
    """``engine.status``: what runs where, and why."""
    return _event("engine.status", data=rows)


def _event(kind: str, **fields: object) -> Json:
    return {"type": kind, "event_id": new_id("event"), **fields}


def _error(error: PipelineError) -> Json:
    return {"type": "server_error", "code": error.code, "message": error.message}


def _object(detection: Detection) -> Json:
    shown: Json = {
        "kind": detection.kind,
        "id": detection.id,
        "box": [round(value, 4) for value in detection.box],
        "score": round(detection.score, 3),
    }
    if detection.label:
        shown["label"] = detection.label
    return shown


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _common_words(one: str, other: str) -> str:
    """The words with which both texts begin."""
    common = []
    for left, right in zip(one.split(), other.split(), strict=False):
        if left != right:
            break
        common.append(left)
    return " ".join(common)
