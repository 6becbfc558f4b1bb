"""Text to speech: clauses in, samples and the times of words out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from media.frames import Samples


@dataclass(frozen=True, slots=True)
class WordTiming:
    """One word of speech and when it sounds."""

    text: str
    start: float
    """Seconds from the start of the audio it belongs to."""
    end: float


@dataclass(frozen=True, slots=True)
class Speech:
    """A piece of synthesised speech."""

    samples: Samples
    rate: int
    """Hertz."""
    words: tuple[WordTiming, ...] = ()
    """Words that *start* in this piece; times count from the start of the clause, across its pieces."""


class TextToSpeech(Protocol):
    """A voice."""

    @property
    def name(self) -> str:
        """How people call it."""
        ...

    @property
    def voices(self) -> tuple[str, ...]:
        """Legal values of ``voice``, the default first."""
        ...

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Speak one clause, in pieces as they are ready. Closing the generator stops synthesis.

        Raises :class:`~pipelines.errors.TTSError` for an unknown voice or when the engine failed.
        """
        ...

    async def close(self) -> None:
        """End workers."""
        ...
