"""Speech to text: an utterance on its way to its transcript."""

from __future__ import annotations

from asyncio import Task
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from media.frames import Samples
from pipelines.interfaces.tts import WordTiming


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said, as far as the recogniser can tell."""

    text: str
    """Plain words; empty when nothing was recognised."""
    confidence: float | None = None
    """0–1, or ``None`` when the engine has none."""
    language: str | None = None
    """Code such as ``en`` of what was spoken; ``None`` when the engine does not tell."""
    words: tuple[WordTiming, ...] = ()
    """When each word was said, counted from the start of the utterance; empty unless the engine was asked for it."""
    better: Task[Transcript | None] | None = field(default=None, compare=False, repr=False)
    """Where the engine doubts: somebody else hears the same, and this tells what to believe instead, or ``None``. It
    belongs to the recognition, which cancels it when more is fed or it is closed."""
    lost: bool = False
    """Whether it is of no use without ``better``: whoever has no time to lose waits for that all the same."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """What is asked of a recogniser beside what was said."""

    translate: bool = False
    """English, whatever is spoken."""
    word_times: bool = False
    """When each word was said."""


PLAIN = Hearing()
hearing: ContextVar[Hearing] = ContextVar("hearing", default=PLAIN)
"""Of the utterances that the running task opens. Engines that :func:`can_hear` it heed it."""


class Recognition(Protocol):
    """One utterance being recognised. One caller at a time; calls are made in order."""

    async def feed(self, samples: Samples) -> str:
        """Take the next samples (16 kHz, any length); return the best text so far (a partial, may be revised).

        Raises :class:`~pipelines.errors.STTError` when the engine failed.
        """
        ...

    async def transcript(self) -> Transcript:
        """The best transcript of all that was fed. More may be fed afterwards: the utterance then goes on."""
        ...

    async def close(self) -> None:
        """Give the decoder back. Idempotent; safe in the middle of an utterance and after cancellation."""
        ...


class SpeechToText(Protocol):
    """A speech recogniser."""

    @property
    def name(self) -> str:
        """How people call it."""
        ...

    async def open(self) -> Recognition:
        """Start an utterance; waits its turn when all decoders are in use."""
        ...

    async def close(self) -> None:
        """End workers and processes."""
        ...


def streams_partials(engine: SpeechToText) -> bool:
    """Whether ``engine`` knows words while they are being spoken, which tells interruptions from a listener's "mhm".

    It does unless its attribute ``streams_partials`` is false, as for a recogniser of whole utterances.
    """
    return bool(getattr(engine, "streams_partials", True))


def languages_of(engine: SpeechToText) -> tuple[str, ...]:
    """Codes of the languages that a session may choose to speak: attribute ``languages`` of ``engine``, or English."""
    return tuple(getattr(engine, "languages", ("en",)))


def can_hear(engine: SpeechToText, asked: Hearing) -> bool:
    """Whether ``engine`` can do what is asked: its method of that name tells; without one it hears plainly."""
    tell = getattr(engine, "can_hear", None)
    return asked == PLAIN or (tell is not None and bool(tell(asked)))
