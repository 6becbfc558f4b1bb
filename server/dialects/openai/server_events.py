"""Our events → OpenAI Realtime (GA) server events. Pure: an event in, JSON objects out.

Order and field names follow the recorded traces of the service and what stock clients insist on: ``event_id`` on every
event, optional fields left out rather than null, ``transcript`` always present on a user's audio. Events of our own
(``vision.*``, ``turn.latency``, ``engine.status``, ``visavis.partial_transcript``) ride beside them; clients
ignore types they do not know.
"""

from __future__ import annotations

from collections.abc import Callable

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
    FunctionAdded,
    IdleTimedOut,
    ItemTruncated,
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
    ResponseWords,
    SpeechDropped,
    SpeechStarted,
    SpeechStopped,
    TranscriptFailed,
    TurnLatency,
    UserTurn,
    VoiceEvent,
)
from pipelines.voice.history import FIRST, LONGEST_HISTORY, new_id
from server.dialects.openai.fields import FormatName
from server.dialects.openai.response_events import Progress, ResponseEvents, Sound, truncated
from server.dialects.openai.shapes import (
    Json,
    error_event,
    error_object,
    item_object,
    message_object,
    milliseconds,
    server_event,
)
from server.dialects.openai.vision import video_event, vision_event

MOST_PARTIALS = 16
"""Turns whose partial transcripts are kept: of those that wait for their words, and the one that is being said."""


class RealtimeEvents:
    """Speaks for one session. Keeps only what the wire format needs and the events do not carry."""

    def __init__(self, transcribes: Callable[[], bool] = lambda: True, sound: Sound | None = None) -> None:
        self._transcribes = transcribes
        """Whether the client wants to know in words what the user says."""
        self._sound = sound or Sound()
        self._conversation_id = new_id("conv")
        self._items: list[str] = []
        """Ids of those the client has been told of, in their order; the newest."""
        self._responses: dict[str, ResponseEvents] = {}
        """Those of which something is still to be told."""
        self._partials: dict[str, tuple[str, str]] = {}
        """Of turns whose words are not known yet: the newest partial transcript, and what of it was told as deltas."""

    def translate(self, event: VoiceEvent | VisionEvent | VideoEvent) -> list[Json]:  # noqa: C901 - a flat table of cases
        """The wire events for one of ours, in order; empty when the wire has nothing for it."""
        match event:
            case SpeechStarted():
                start = milliseconds(event.time)
                kind = "input_audio_buffer.speech_started"
                return [server_event(kind, item_id=event.item_id, audio_start_ms=start)]
            case SpeechStopped():
                return self._speech_stopped(event)
            case SpeechDropped():
                self._partials.pop(event.item_id, None)
                return [_stopped(event)]
            case PartialTranscript() | TranscriptFailed() | UserTurn(spoken=True) if not self._transcribes():
                return []
            case PartialTranscript():
                return self._partial_transcript(event)
            case UserTurn(spoken=True):
                return [self._transcribed(event)]
            case UserTurn():
                return self._typed(event)
            case MessageRemoved():
                if event.item_id in self._items:
                    self._items.remove(event.item_id)
                return [server_event("conversation.item.deleted", item_id=event.item_id)]
            case MessageAdded():
                kind = "output_text" if event.role == "assistant" else "input_text"
                content = [{"type": kind, "text": event.text}]
                return self._added(message_object(event.item_id, event.role, content), event.after)
            case FunctionAdded():
                return self._added(item_object(event.item), event.after)
            case ItemTruncated():
                return [truncated(event.item_id, event.heard_seconds, event.heard)]
            case IdleTimedOut():
                return self._idle(event)
            case TranscriptFailed():
                return [self._not_transcribed(event)]
            case ResponseStarted():
                response = self._responses[event.response_id] = ResponseEvents(
                    event, self._conversation_id, self._append, self._sound
                )
                return [response.created()]
            case ResponseText() | ResponseWords() | ResponseAudioStarted() | ResponseAudioStopped():
                return self._progress(event)
            case ResponseGenerated() | ResponseInterrupted() | ResponseFailed():
                return self._progress(event)
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
        content: list[Json] = [{"type": "input_text", "text": event.text}] if event.text else []
        # pictures are told back without their bytes: events are small
        content += [{"type": "input_image"} for _ in range(event.images)]
        return self._added(message_object(event.item_id, "user", content), event.after)

    def _speech_stopped(self, event: SpeechStopped) -> list[Json]:
        return [*([_stopped(event)] if event.detected else []), *self._committed(event.item_id)]

    def _idle(self, event: IdleTimedOut) -> list[Json]:
        start, end = milliseconds(event.start), milliseconds(event.end)
        kind = "input_audio_buffer.timeout_triggered"
        timeout = server_event(kind, item_id=event.item_id, audio_start_ms=start, audio_end_ms=end)
        return [timeout, *self._committed(event.item_id)]

    def _committed(self, item_id: str) -> list[Json]:
        """The sound of a turn has become an item of the conversation; its words are told later."""
        kind = "input_audio_buffer.committed"
        committed = server_event(kind, item_id=item_id, previous_item_id=self._last_item)
        item = message_object(item_id, "user", [{"type": "input_audio", "transcript": None}])
        return [committed, *self._added(item, None)]

    def _partial_transcript(self, event: PartialTranscript) -> list[Json]:
        """The whole partial as an event of ours, and what two partials in a row agree on as a standard delta."""
        partial, told = self._partials.pop(event.item_id, ("", ""))
        agreed = _common_words(partial, event.text)
        events = [server_event("visavis.partial_transcript", item_id=event.item_id, transcript=event.text)]
        if agreed.startswith(told) and len(agreed) > len(told):
            delta, told = agreed[len(told) :], agreed
            kind = "conversation.item.input_audio_transcription.delta"
            events.append(server_event(kind, item_id=event.item_id, content_index=0, delta=delta))
        self._partials[event.item_id] = event.text, told
        while len(self._partials) > MOST_PARTIALS:  # of voices that came to nothing no end is told
            del self._partials[next(iter(self._partials))]
        return events

    def _not_transcribed(self, event: TranscriptFailed) -> Json:
        self._partials.pop(event.item_id, None)
        kind = "conversation.item.input_audio_transcription.failed"
        return server_event(kind, item_id=event.item_id, content_index=0, error=error_object(event.error))

    def _transcribed(self, event: UserTurn) -> Json:
        self._partials.pop(event.item_id, None)
        return server_event(
            "conversation.item.input_audio_transcription.completed",
            item_id=event.item_id,
            content_index=0,
            transcript=event.text,
            usage={"type": "duration", "seconds": round(event.seconds, 3)},
        )

    def _added(self, item: Json, after: str | None) -> list[Json]:
        """A complete item is put in: at the end, or behind the item ``after``."""
        if after is None or after == self._last_item:
            previous = self._append(item["id"])
        else:
            previous = None if after == FIRST else after
            self._items.insert(self._items.index(after) + 1 if after in self._items else 0, item["id"])
        return [
            server_event(f"conversation.item.{kind}", item=item, previous_item_id=previous)
            for kind in ("added", "done")
        ]

    def _append(self, item_id: str) -> str | None:
        """An item is the last one from now on; returns which was it before."""
        previous = self._last_item
        self._items.append(item_id)
        del self._items[:-LONGEST_HISTORY]
        return previous

    @property
    def _last_item(self) -> str | None:
        return self._items[-1] if self._items else None

    @staticmethod
    def _latency(event: TurnLatency) -> Json:
        return server_event(
            "turn.latency",
            response_id=event.response_id,
            voice_to_voice_ms=milliseconds(event.voice_to_voice),
            parts={name: milliseconds(seconds) for name, seconds in event.parts.items()},
            saved_ms=milliseconds(event.saved),
            unjudged=event.unjudged,
        )

    # ------------------------------------------------------------------------------------------------ the answer

    @property
    def untold(self) -> tuple[str, ...]:
        """Ids of the responses of which the end is still to be told."""
        return tuple(name for name, response in self._responses.items() if not response.told)

    @property
    def sounds_as(self) -> FormatName | None:
        """In which format the response that sounds is told; ``None``: none does."""
        return None if self._sounding is None else self._sounding.format

    def sound(self, delta: str) -> list[Json]:
        """The next sound, in base64, of the response that sounds: they do so in the order in which they began."""
        response = self._sounding
        return [] if response is None else response.sound(delta)

    def sound_ended(self) -> list[Json]:
        """All the sound of that response has been told."""
        response = self._sounding
        return [] if response is None else response.sound_ended()

    @property
    def _sounding(self) -> ResponseEvents | None:
        return next((response for response in self._responses.values() if response.awaits_sound), None)

    def _progress(self, event: Progress) -> list[Json]:
        response = self._responses.get(event.response_id)
        if response is None:
            return []
        told = response.translate(event)
        if response.over:
            del self._responses[event.response_id]
        return told


def _stopped(event: SpeechStopped | SpeechDropped) -> Json:
    kind = "input_audio_buffer.speech_stopped"
    return server_event(kind, item_id=event.item_id, audio_end_ms=milliseconds(event.time))


def _common_words(one: str, other: str) -> str:
    """The words with which both texts begin."""
    common = []
    for left, right in zip(one.split(), other.split(), strict=False):
        if left != right:
            break
        common.append(left)
    return " ".join(common)
