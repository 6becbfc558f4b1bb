"""One response of ours → OpenAI Realtime (GA) server events. Pure: an event in, JSON objects out.

The order is that of recorded traces of the service: the message opens with its first words, its parts and itself are
done before the calls of functions, and these before the response.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.voice.events import (
    ResponseAudioStarted,
    ResponseAudioStopped,
    ResponseFailed,
    ResponseGenerated,
    ResponseInterrupted,
    ResponseStarted,
    ResponseText,
    ResponseWords,
)
from pipelines.voice.history import FunctionCall
from server.dialects.openai.audio import format_json
from server.dialects.openai.fields import FormatName
from server.dialects.openai.shapes import (
    Json,
    error_object,
    function_call,
    message_object,
    milliseconds,
    server_event,
    usage_object,
)

Progress = (
    ResponseText
    | ResponseWords
    | ResponseAudioStarted
    | ResponseAudioStopped
    | ResponseGenerated
    | ResponseInterrupted
    | ResponseFailed
)


def _pcm() -> FormatName:
    return "audio/pcm"


@dataclass(frozen=True, slots=True)
class Sound:
    """How responses are heard."""

    plays: bool = True
    """Whether we play them, and tell of it; else the client does, and tells us (WebSocket)."""
    travels: bool = False
    """Whether the sound goes through these events; then what ends a response is told behind the last of it."""
    format: Callable[[], FormatName] = _pcm
    """In which a response that begins now is told: a change holds from the next one on."""


class ResponseEvents:
    """What has been told of a response so far, and what is told of it next.

    ``append`` is given the id of each item that becomes the last one of the conversation, and returns the one that was.
    """

    def __init__(
        self,
        started: ResponseStarted,
        conversation_id: str,
        append: Callable[[str], str | None],
        sound: Sound | None = None,
    ) -> None:
        self._about = started
        self._sound = sound or Sound()
        self.format = self._sound.format()
        """In which its sound is told."""
        self._sounded = False
        """Whether the last of the sound has been told."""
        self._held: ResponseGenerated | ResponseFailed | None = None
        """The outcome, while that is not so."""
        self._conversation_id = conversation_id
        self._append = append
        self._parts: list[str] = []
        self._previous: str | None = None
        """The item before the message."""
        self._opened = self._sounding = self._done = False
        self._may_sound = started.spoken

    @property
    def over(self) -> bool:
        """Whether nothing more can come."""
        return self._done and not self._sounding and not self._may_sound

    @property
    def told(self) -> bool:
        """Whether ``response.done`` has been."""
        return self._done

    @property
    def text(self) -> str:
        """The words told so far."""
        return " ".join(self._parts)

    def created(self) -> Json:
        """The first event."""
        return server_event("response.created", response=self._response("in_progress"))

    def translate(self, event: Progress) -> list[Json]:
        """The wire events for one of ours, in order."""
        match event:
            case ResponseText():
                delta = f" {event.text}" if self._parts else event.text
                self._parts.append(event.text)
                kind = "response.output_audio_transcript.delta" if self._spoken else "response.output_text.delta"
                return [*self._open(), self._part_event(kind, delta=delta)]
            case ResponseWords():
                return [self._words(event)]
            case ResponseAudioStarted():
                self._sounding = self._sound.plays
                started = server_event("output_audio_buffer.started", response_id=self._about.response_id)
                return [started] if self._sounding else []
            case ResponseAudioStopped():
                return [*self.sound_ended(), *self._silent("stopped")]
            case ResponseGenerated() | ResponseFailed() if self.awaits_sound:
                self._held = event
                return []
            case ResponseGenerated():
                return self._generated(event)
            case ResponseFailed():
                details: Json = {"type": "failed", "error": error_object(event.error)}
                return [*self._open(), *self._close("failed", details=details)]
            case ResponseInterrupted():
                return self._interrupted(event)

    def _words(self, event: ResponseWords) -> Json:
        words = [
            {"text": word.text, "start_ms": milliseconds(word.start), "end_ms": milliseconds(word.end)}
            for word in event.words
        ]
        ids = {"response_id": self._about.response_id, "item_id": self._about.item_id}
        return server_event("turn.words", **ids, words=words, **({"estimated": True} if event.estimated else {}))

    # ------------------------------------------------------------------------------------------------ the sound

    @property
    def awaits_sound(self) -> bool:
        """Whether more of its sound is to come through these events."""
        return self._sound.travels and self._spoken and not self._sounded and not self._done

    def sound(self, delta: str) -> list[Json]:
        """The next of it, in base64."""
        return [*self._open(), self._part_event("response.output_audio.delta", delta=delta)]

    def sound_ended(self) -> list[Json]:
        """That was all: the outcome may be told, if it is known. Idempotent."""
        self._sounded = True
        held, self._held = self._held, None
        return [] if held is None else self.translate(held)

    # ------------------------------------------------------------------------------------------------ the outcome

    def _generated(self, event: ResponseGenerated) -> list[Json]:
        usage = {} if event.usage is None else {"usage": usage_object(event.usage)}
        opened = self._open() if self._parts or not event.calls else []
        if event.cut:
            details = {"type": "incomplete", "reason": "max_output_tokens"}
            return [*opened, *self._close("incomplete", event.calls, details=details, **usage)]
        return [*opened, *self._close("completed", event.calls, **usage)]

    def _interrupted(self, event: ResponseInterrupted) -> list[Json]:
        events, held, self._held = self._silent("cleared"), self._held, None
        if not self._done:
            # all was generated: the calls are remembered, and the client is to make them
            known = held if isinstance(held, ResponseGenerated) else None
            usage = {} if known is None or known.usage is None else {"usage": usage_object(known.usage)}
            details = {"type": "cancelled", "reason": event.reason}
            events += self._close("cancelled", () if known is None else known.calls, details=details, **usage)
        if self._opened and self._spoken and self._about.kept and self._sound.plays:
            events.append(truncated(self._about.item_id, event.heard_seconds, event.heard))
        return events

    def _silent(self, how: str) -> list[Json]:
        """Nothing more of it will be heard."""
        sounding, self._sounding, self._may_sound = self._sounding, False, False
        return [server_event(f"output_audio_buffer.{how}", response_id=self._about.response_id)] if sounding else []

    def _close(
        self, status: str, calls: tuple[FunctionCall, ...] = (), *, details: Json | None = None, **fields: object
    ) -> list[Json]:
        """The events that end an answer; the message's own only if it was opened."""
        if self._done:
            return []
        self._done = True
        events: list[Json] = []
        output: list[Json] = []
        if self._opened:
            item_status = "completed" if status == "completed" else "incomplete"
            item = message_object(self._about.item_id, "assistant", [self._content()], item_status)
            output.append(item)
            events += self._parts_done()
            events += self._item_done(item, 0, self._previous)
        for call in calls:
            events += self._called(call, len(output))
            output.append(function_call(call))
        return [*events, server_event("response.done", response=self._response(status, output, details, **fields))]

    # ------------------------------------------------------------------------------------------------ items

    def _open(self) -> list[Json]:
        """The events that come before the first word of an answer."""
        if self._opened:
            return []
        self._opened = True
        item = message_object(self._about.item_id, "assistant", [], "in_progress")
        part = {"type": "audio", "transcript": ""} if self._spoken else {"type": "text", "text": ""}
        added, self._previous = self._item_added(item, 0)
        return [*added, self._part_event("response.content_part.added", part=part)]

    def _called(self, call: FunctionCall, index: int) -> list[Json]:
        place = {
            "response_id": self._about.response_id,
            "item_id": call.id,
            "output_index": index,
            "call_id": call.call.id,
        }
        kind = "response.function_call_arguments"
        added, previous = self._item_added(function_call(call, begun=True), index)
        return [
            *added,
            server_event(f"{kind}.delta", **place, delta=call.call.arguments),
            server_event(f"{kind}.done", **place, name=call.call.name, arguments=call.call.arguments),
            *self._item_done(function_call(call), index, previous),
        ]

    def _item_added(self, item: Json, index: int) -> tuple[list[Json], str | None]:
        """The events, and the item before it."""
        place = {"response_id": self._about.response_id, "output_index": index}
        events = [server_event("response.output_item.added", **place, item=item)]
        if not self._about.kept:
            return events, None
        previous = self._append(item["id"])
        return [*events, server_event("conversation.item.added", item=item, previous_item_id=previous)], previous

    def _item_done(self, item: Json, index: int, previous: str | None) -> list[Json]:
        done = server_event("response.output_item.done", response_id=self._about.response_id, output_index=index)
        done["item"] = item
        if not self._about.kept:
            return [done]
        return [server_event("conversation.item.done", item=item, previous_item_id=previous), done]

    def _parts_done(self) -> list[Json]:
        if not self._spoken:
            return [
                self._part_event("response.output_text.done", text=self.text),
                self._part_event("response.content_part.done", part={"type": "text", "text": self.text}),
            ]
        return [
            self._part_event("response.output_audio.done"),
            self._part_event("response.output_audio_transcript.done", transcript=self.text),
            self._part_event("response.content_part.done", part={"type": "audio", "transcript": self.text}),
        ]

    def _part_event(self, kind: str, **fields: object) -> Json:
        place = {"response_id": self._about.response_id, "item_id": self._about.item_id, "output_index": 0}
        return server_event(kind, **place, content_index=0, **fields)

    @property
    def _spoken(self) -> bool:
        return self._about.spoken

    def _content(self) -> Json:
        if self._spoken:
            return {"type": "output_audio", "transcript": self.text}
        return {"type": "output_text", "text": self.text}

    def _response(
        self, status: str, output: list[Json] | None = None, details: Json | None = None, **fields: object
    ) -> Json:
        about = self._about
        response: Json = {
            "object": "realtime.response",
            "id": about.response_id,
            "status": status,
            "status_details": details,
            "output": output or [],
            "conversation_id": self._conversation_id if about.kept else None,
            "output_modalities": ["audio" if about.spoken else "text"],
            "max_output_tokens": "inf" if about.max_tokens is None else about.max_tokens,
            **fields,
        }
        if about.spoken and about.voice is not None:
            response["audio"] = {"output": {"format": format_json(self.format), "voice": about.voice}}
        if about.metadata:
            response["metadata"] = dict(about.metadata)
        return response


def truncated(item_id: str, seconds: float, heard: str) -> Json:
    """Only the first ``seconds`` of an answer were heard, and only those words are remembered."""
    event = server_event("conversation.item.truncated", item_id=item_id, content_index=0)
    return {**event, "audio_end_ms": milliseconds(seconds), "transcript": heard}
