"""What the conversation tells the outside, in the order of one turn. A dialect turns these into somebody's JSON.

Times are media seconds of the incoming audio unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipelines.errors import PipelineError
from pipelines.interfaces.llm import Usage
from pipelines.interfaces.tts import WordTiming
from pipelines.voice.history import FunctionCall, FunctionResult, HistoryItem, Item

Role = Literal["user", "assistant", "system"]
Reason = Literal["turn_detected", "client_cancelled"]


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The user began to speak (for an interruption: once it is confirmed)."""

    item_id: str
    time: float
    """Where the audio of the turn begins, pre-roll included."""


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The turn of the user is over."""

    item_id: str
    time: float
    """Where the last voice ended."""
    detected: bool = True
    """``False`` for a turn of which nothing was told before: the client has ended it, unasked by a voice."""


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """A turn of the user of which :class:`SpeechStarted` has told comes to nothing: the client has cleared it."""

    item_id: str
    time: float
    """When."""


@dataclass(frozen=True, slots=True)
class PartialTranscript:
    """The best text so far; replaces the one before."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class UserTurn:
    """A complete user turn, spoken or typed; ``text`` is empty when speech was not understood."""

    item_id: str
    text: str
    spoken: bool
    seconds: float = 0.0
    """Length of the audio."""
    images: int = 0
    """Pictures that came with it."""
    after: str | None = None
    """The item it follows where that is not the last one; :data:`~pipelines.voice.history.FIRST`: none."""


@dataclass(frozen=True, slots=True)
class MessageAdded:
    """The client has put a message of another role into the conversation."""

    item_id: str
    role: Role
    text: str
    after: str | None = None
    """As in :class:`UserTurn`."""


@dataclass(frozen=True, slots=True)
class FunctionAdded:
    """The client has put a function's result, or a call of earlier times, into the conversation."""

    item: FunctionCall | FunctionResult
    after: str | None = None
    """As in :class:`UserTurn`."""


def added(item: HistoryItem, after: str | None) -> UserTurn | MessageAdded | FunctionAdded:
    """What is told of an item that the client has put into the conversation."""
    if not isinstance(item, Item):
        return FunctionAdded(item, after)
    if item.role == "user":
        return UserTurn(item.id, item.text, False, images=len(item.images), after=after)
    return MessageAdded(item.id, item.role, item.text, after)


@dataclass(frozen=True, slots=True)
class MessageRemoved:
    """The client has taken a message out of the conversation."""

    item_id: str


@dataclass(frozen=True, slots=True)
class TranscriptFailed:
    """The recogniser failed on this turn."""

    item_id: str
    error: PipelineError


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """The assistant is about to answer."""

    response_id: str
    item_id: str
    spoken: bool
    """Whether there is a voice to hear; otherwise the reply is text only."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the client wants to be told back with this answer."""
    kept: bool = True
    """Whether it becomes part of the conversation."""
    max_tokens: int | None = None
    """Its limit, if it has one."""
    voice: str | None = None
    """The voice asked for; ``None``: the engine's own."""


@dataclass(frozen=True, slots=True)
class ResponseHeld:
    """The answer to a turn waits because the user looks away; told again when the waiting is over."""

    item_id: str
    """Of the user's turn."""
    outcome: Literal["waiting", "given", "dropped"]


@dataclass(frozen=True, slots=True)
class ResponseText:
    """The next words of the answer."""

    response_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ResponseWords:
    """The next words of an answer that is spoken, as they are handed to playout."""

    response_id: str
    words: tuple[WordTiming, ...]
    """Times are seconds from the first sample of the answer; joined with blanks all words are its text."""
    estimated: bool
    """Whether the voice does not tell when its words sound."""


@dataclass(frozen=True, slots=True)
class ResponseAudioStarted:
    """The first sample of the answer has been sent."""

    response_id: str


@dataclass(frozen=True, slots=True)
class ResponseGenerated:
    """All of the answer has been generated and synthesised; it may still be playing."""

    response_id: str
    text: str
    cut: bool = False
    """Whether it ends there because it reached the limit of tokens."""
    calls: tuple[FunctionCall, ...] = ()
    """Functions that the client is asked to call."""
    usage: Usage | None = None
    """What it cost, where the engine knows."""


@dataclass(frozen=True, slots=True)
class ResponseAudioStopped:
    """The last sample of the answer has been sent."""

    response_id: str


@dataclass(frozen=True, slots=True)
class ResponseInterrupted:
    """The answer was cut off; only ``heard`` is remembered."""

    response_id: str
    reason: Reason
    heard: str
    heard_seconds: float


@dataclass(frozen=True, slots=True)
class ItemTruncated:
    """The client, which plays the sound itself, has told how much of an answer was heard; only that is remembered."""

    item_id: str
    heard: str
    heard_seconds: float


@dataclass(frozen=True, slots=True)
class IdleTimedOut:
    """The user has said nothing for so long that the assistant speaks up; stands for an empty turn of the user."""

    item_id: str
    start: float
    """Media time since when there was silence."""
    end: float


@dataclass(frozen=True, slots=True)
class ResponseFailed:
    """The answer could not be finished; ``heard`` is what was said before that."""

    response_id: str
    error: PipelineError
    heard: str


@dataclass(frozen=True, slots=True)
class TurnLatency:
    """Where the time between the end of speech and the first sound of the answer went."""

    response_id: str
    voice_to_voice: float
    """Seconds from the last voice of the user to the first sample sent."""
    parts: dict[str, float] = field(default_factory=dict)
    """Seconds spent in: endpoint, transcript, first_token, first_clause, first_audio; they add up to the whole."""
    saved: float = 0.0
    """Seconds of work done while the end of the turn was still being decided."""
    unjudged: bool = False
    """Whether words and the length of the pause decided alone, for the turn detector had too much to do, or failed."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something failed that belongs to no turn."""

    error: PipelineError


VoiceEvent = (
    SpeechStarted
    | SpeechStopped
    | SpeechDropped
    | PartialTranscript
    | UserTurn
    | MessageAdded
    | FunctionAdded
    | MessageRemoved
    | TranscriptFailed
    | ResponseHeld
    | ResponseStarted
    | ResponseText
    | ResponseWords
    | ResponseAudioStarted
    | ResponseGenerated
    | ResponseAudioStopped
    | ResponseInterrupted
    | ResponseFailed
    | ItemTruncated
    | IdleTimedOut
    | TurnLatency
    | Problem
)
