"""Our events → RTVI messages. Pure: an event in, JSON objects out.

The order is that of Pipecat's observer, as its clients expect it: of a spoken turn ``user-started-speaking``, partial
``user-transcription``, ``user-stopped-speaking`` and the final ``user-transcription``; of a response ``user-llm-text``,
``bot-llm-started``, ``bot-llm-text`` and ``bot-output`` for each clause, ``bot-started-speaking``, ``bot-tts-text`` and
``bot-output`` as it is heard, ``bot-stopped-speaking``. What RTVI has no message for rides as ``server-message``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipelines.assistant.events import Event
from pipelines.vision.detect import CameraStarted, CameraStopped, VisionCaughtUp, VisionFellBehind
from pipelines.vision.events import (
    AttentionChanged,
    GestureEnded,
    GestureStarted,
    PersonAppeared,
    PersonLeft,
    SceneChanged,
)
from pipelines.voice.events import (
    FunctionAdded,
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
    SpeechDropped,
    SpeechStarted,
    SpeechStopped,
    TranscriptFailed,
    TurnLatency,
    UserTurn,
)
from pipelines.voice.history import FunctionResult
from server.dialects.openai.shapes import server_event
from server.dialects.openai.vision import video_event, vision_event
from server.dialects.rtvi.bot_output import Segment, SpokenOutput
from server.dialects.rtvi.shapes import Json, error, message, server_message
from server.http.json_input import JsonInputError, read_json

MOST_RESPONSES = 16
"""Responses that are followed at a time."""
MOST_CALLS = 64
"""Calls whose results are waited for."""
USER = "user"
"""The id of whom transcripts are from: a session has one."""
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)\]]*\s*$")
_STAGES = {"transcript": "stt", "first_token": "llm", "first_audio": "tts"}
"""Parts of a turn's latency that are a stage's time to its first byte."""


@dataclass(slots=True)
class _Response:
    """What has been told of a response so far."""

    id: str
    spoken: bool
    output: SpokenOutput = field(default_factory=SpokenOutput)
    begun: bool = False
    """Whether any text has been told."""
    thinking: bool = True
    """Whether the model may still have more to say."""
    sounding: bool = False
    sentence: str = ""
    """Words since the last end of a sentence."""
    text: str = ""
    """All words so far."""
    aside: bool = False
    """Whether it stays out of the conversation."""
    metadata: Mapping[str, str] = field(default_factory=dict)


class RtviMessages:
    """Speaks for one session. Keeps only what the wire format needs and the events do not carry."""

    def __init__(
        self, transcribes: Callable[[], bool], engines: Callable[[], Mapping[str, str]], now: Callable[[], str]
    ) -> None:
        self._transcribes = transcribes
        """Whether the client wants to know in words what the user says."""
        self._engines = engines
        """Who serves ``stt``, ``llm`` and ``tts``, by name."""
        self._now = now
        """Time of day, as in ISO 8601."""
        self._asked: list[str] = []
        """What the user has said since the last response."""
        self._segments = 0
        self._responses: dict[str, _Response] = {}
        """Those that are being given, by id: one may be thought of while another is heard."""
        self._called: dict[str, str] = {}
        """Functions whose results are still to come, by the id of the call."""

    @property
    def sounding(self) -> str | None:
        """The id of the response that is being heard, if any is."""
        return next((response.id for response in self._responses.values() if response.sounding), None)

    def heard(self, words: str) -> list[Json]:
        """How far the response that is being heard has come: ``words`` are all of its that have sounded."""
        sounding = self.sounding
        return [] if sounding is None else self._responses[sounding].output.heard(words)

    def translate(self, event: Event) -> list[Json]:  # noqa: C901 - a flat table of cases
        """The messages for one of our events, in order; empty when the client has no use for it."""
        match event:
            case SpeechStarted():
                return [message("user-started-speaking")]
            case SpeechStopped():
                return [message("user-stopped-speaking")] if event.detected else []
            case SpeechDropped():
                return [message("user-stopped-speaking")]
            case PartialTranscript():
                return self._transcript(event.text, final=False)
            case UserTurn():
                return self._user_turn(event)
            case TranscriptFailed() | Problem():
                return [error(event.error.message)]
            case ResponseStarted():
                return self._started(event)
            case ResponseText() | ResponseAudioStarted() | ResponseGenerated() | ResponseAudioStopped():
                return self._progress(event)
            case ResponseInterrupted():
                return self._interrupted(event)
            case ResponseFailed():
                return [error(event.error.message), *self._progress(event)]
            case FunctionAdded(FunctionResult() as result):
                return self._result(result)
            case TurnLatency():
                return [self._metrics(event)]
            case SceneChanged() | AttentionChanged():
                return [server_message(vision_event(event))]
            case PersonAppeared() | PersonLeft() | GestureStarted() | GestureEnded():
                return [server_message(vision_event(event))]
            case VisionFellBehind() | VisionCaughtUp() | CameraStopped() | CameraStarted():
                return [server_message(video_event(event))]
            case ResponseHeld():
                held = server_event("visavis.reply_held", item_id=event.item_id, outcome=event.outcome)
                return [server_message(held)]
            case _:
                return []

    # ------------------------------------------------------------------------------------------------ the user

    def _transcript(self, text: str, *, final: bool) -> list[Json]:
        if not text or not self._transcribes():
            return []
        return [message("user-transcription", text=text, final=final, timestamp=self._now(), user_id=USER)]

    def _user_turn(self, event: UserTurn) -> list[Json]:
        if event.text:
            self._asked.append(event.text)
        return self._transcript(event.text, final=True) if event.spoken else []

    # ------------------------------------------------------------------------------------------------ the response

    def _started(self, event: ResponseStarted) -> list[Json]:
        """A response that stays out of the conversation is told when it is there, for whoever has asked for it."""
        response = _Response(event.response_id, event.spoken, aside=not event.kept, metadata=event.metadata)
        self._responses[response.id] = response
        while len(self._responses) > MOST_RESPONSES:
            del self._responses[next(iter(self._responses))]
        if response.aside:
            return []
        asked, self._asked = " ".join(self._asked), []
        told = [message("user-llm-text", text=asked)] if asked and self._transcribes() else []
        return [*told, message("bot-llm-started")]

    def _progress(
        self, event: ResponseText | ResponseAudioStarted | ResponseGenerated | ResponseAudioStopped | ResponseFailed
    ) -> list[Json]:
        response = self._responses.get(event.response_id)
        if response is None:
            return []
        match event:
            case ResponseText():
                return self._text(response, event.text)
            case ResponseAudioStarted():
                response.sounding = True
                return [message("bot-started-speaking")]
            case ResponseGenerated() | ResponseFailed():
                told = self._thought(response)
                if isinstance(event, ResponseGenerated):
                    told += self._calls(event)
                if not response.spoken:
                    del self._responses[response.id]
                return told
            case ResponseAudioStopped():
                rest = response.output.finish() if response.sounding else []
                del self._responses[response.id]
                return [*rest, *self._fell_silent(response)]

    def _text(self, response: _Response, text: str) -> list[Json]:
        response.text = f"{response.text} {text}".strip()
        if response.aside:
            return []
        told: list[Json] = []
        if response.spoken and not response.begun:
            told.append(message("bot-tts-started"))
        told.append(message("bot-llm-text", text=f" {text}" if response.begun else text))
        response.begun = True
        response.sentence = f"{response.sentence} {text}".strip()
        if _SENTENCE_END.search(text):
            told += self._sentence(response)
        self._segments += 1
        segment = Segment(self._segments, text)
        if response.spoken:
            response.output.add(segment)
        return [*told, segment.message(spoken=response.spoken)]

    @staticmethod
    def _sentence(response: _Response) -> list[Json]:
        """``bot-transcription``, which tells whole sentences."""
        sentence, response.sentence = response.sentence, ""
        return [message("bot-transcription", text=sentence)] if sentence else []

    def _thought(self, response: _Response) -> list[Json]:
        """The model has ended, one way or the other."""
        if not response.thinking:
            return []
        response.thinking = False
        if response.aside:
            about: Json = {"response_id": response.id, "text": response.text, "metadata": dict(response.metadata)}
            return [server_message(server_event("visavis.response", **about))]
        return [*self._sentence(response), message("bot-llm-stopped")]

    @staticmethod
    def _fell_silent(response: _Response) -> list[Json]:
        """The end of a voice, of which only what was told to have begun is told to have ended."""
        told = [message("bot-tts-stopped")] if response.spoken and response.begun else []
        if response.sounding:
            told.append(message("bot-stopped-speaking"))
        response.sounding = False
        return told

    def _interrupted(self, event: ResponseInterrupted) -> list[Json]:
        response = self._responses.pop(event.response_id, None)
        if response is None:
            return []
        heard = response.output.heard(event.heard) if response.sounding else []
        response.sentence = ""  # nobody has heard the rest of it
        interrupted = [] if response.aside else [message("bot-interrupted")]
        return [*heard, *interrupted, *self._thought(response), *self._fell_silent(response)]

    # ------------------------------------------------------------------------------------------------ functions

    def _calls(self, event: ResponseGenerated) -> list[Json]:
        """The client runs the functions that it has handlers for, upon ``llm-function-call-in-progress``."""
        told: list[Json] = []
        for call in (item.call for item in event.calls):
            self._called[call.id] = call.name
            told.append(message("llm-function-call-started", function_name=call.name))
            about: Json = {"function_name": call.name, "tool_call_id": call.id, "arguments": _object(call.arguments)}
            told.append(message("llm-function-call-in-progress", **about))
        while len(self._called) > MOST_CALLS:
            del self._called[next(iter(self._called))]
        return told

    def _result(self, result: FunctionResult) -> list[Json]:
        name = self._called.pop(result.call_id, None)
        if name is None:
            return []
        about: Json = {
            "function_name": name,
            "tool_call_id": result.call_id,
            "cancelled": False,
            "result": result.output,
        }
        return [message("llm-function-call-stopped", **about)]

    # ------------------------------------------------------------------------------------------------ metrics

    def _metrics(self, event: TurnLatency) -> Json:
        """Seconds, as Pipecat's are: a stage's until its first byte, and the other parts of the turn."""
        engines = self._engines()
        first = [
            {"processor": engines.get(stage, stage), "value": round(event.parts[part], 4)}
            for part, stage in _STAGES.items()
            if part in event.parts
        ]
        rest = {name: seconds for name, seconds in event.parts.items() if name not in _STAGES}
        rest["voice_to_voice"] = event.voice_to_voice
        others = [{"processor": name, "value": round(seconds, 4)} for name, seconds in rest.items()]
        return message("metrics", ttfb=first, processing=others)


def _object(text: str) -> Json:
    """The arguments of a call; empty where the model has not written an object."""
    try:
        value = read_json(text)
    except JsonInputError:
        return {}
    return value if isinstance(value, dict) else {}
