"""Clauses → the voice, with a script of what is said when, so that an interruption knows the words heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol, TypeVar

from media.frames import Samples
from pipelines.errors import TTSError, guarded
from pipelines.interfaces.tts import Speech, TextToSpeech, WordTiming
from pipelines.voice.spoken_text.languages import Tongue
from pipelines.voice.spoken_text.normalize import speakable
from pipelines.voice.spoken_text.word_times import ClauseWords


class Playout(Protocol):
    """One reply being played; what this stage needs of :class:`media.playout.Playout`."""

    @property
    def started(self) -> asyncio.Event:
        """Set when the first sample has been sent."""
        ...

    @property
    def ended(self) -> asyncio.Event:
        """Set when the last sample has been sent, or the rest was silenced."""
        ...

    @property
    def heard_seconds(self) -> float:
        """Seconds of the reply that have been sent."""
        ...

    async def write(self, samples: Samples, rate: int) -> None:
        """Queue speech; waits while too much is queued."""
        ...

    def finish(self) -> None:
        """All has been written."""
        ...

    def flush(self) -> float:
        """Silence the rest; returns the seconds heard."""
        ...


P = TypeVar("P", bound=Playout)


class VoiceOut(Protocol[P]):
    """Where replies are played; what the conversation needs of :class:`media.playout.Mixer`."""

    def prepare(self) -> P | None:
        """A response that can be written to but does not sound yet; ``None`` while nobody would hear it."""
        ...

    def play(self, playout: P) -> None:
        """Let it sound from its beginning; what is left of the last one is silenced."""
        ...

    def duck(self, decibels: float) -> None:
        """Lower the voice; 0 restores it."""
        ...


class Script:
    """The words of one reply and when each of them sounds. Pure: it outlives the response, in the history."""

    def __init__(self) -> None:
        self._words: list[WordTiming] = []
        self._new: list[WordTiming] = []
        self._estimated = False
        self.seconds = 0.0
        """Length of the speech so far."""

    def add_words(self, words: tuple[WordTiming, ...], estimated: bool = False, *, offset: float) -> None:
        """Words of a clause that starts ``offset`` seconds into the reply."""
        moved = [WordTiming(word.text, word.start + offset, word.end + offset) for word in words]
        self._words += moved
        self._new += moved
        self._estimated = self._estimated or estimated

    def news(self) -> tuple[tuple[WordTiming, ...], bool]:
        """The words that have been added since the last time, and whether the times of any are estimated."""
        new, estimated, self._new, self._estimated = tuple(self._new), self._estimated, [], False
        return new, estimated

    def heard(self, seconds: float) -> str:
        """The words of which at least half had sounded after ``seconds`` of the reply."""
        return " ".join(word.text for word in self._words if (word.start + word.end) / 2 <= seconds)


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """How the assistant sounds."""

    voice: str | None = None
    """One of the engine's voices; ``None`` is its default."""
    speed: float = 1.0
    """1 is the voice's natural rate."""
    language: str | None = None
    """Code of what the user speaks, if that is known: what is said in it is said by a voice of that language."""


async def speak(
    clauses: AsyncGenerator[str, None],
    engine: TextToSpeech,
    settings: VoiceSettings,
    playout: Playout,
    script: Script,
    tell: Callable[[Script], object],
) -> AsyncGenerator[str, None]:
    """Synthesise each clause as it comes and play it; yields each clause once its first sound has been queued.

    ``tell`` is called where words may have been added to ``script``.
    """
    tongue = Tongue(settings.language, settings.voice, engine.voices)
    async with aclosing(clauses):
        async for clause in clauses:
            offset, told = script.seconds, False
            voice = tongue.voice_of(clause)
            words = ClauseWords(clause, speakable(clause, english=voice[1]))
            async with aclosing(said(clause, engine, voice, settings.speed)) as pieces:
                async for piece in pieces:
                    script.add_words(words.take(piece.words), offset=offset)
                    script.seconds += len(piece.samples) / piece.rate
                    await playout.write(piece.samples, piece.rate)
                    if not told:
                        yield clause
                    told = True
                    tell(script)
            if not told:  # nothing in it makes a sound
                yield clause
            script.add_words(*words.rest(script.seconds - offset), offset=offset)
            tell(script)
    playout.finish()


def sound_of(clause: str, engine: TextToSpeech, tongue: Tongue, speed: float) -> AsyncGenerator[Speech, None]:
    """The next clause as it is said, in pieces: numbers and signs in words, by the voice of its language."""
    return said(clause, engine, tongue.voice_of(clause), speed)


def said(
    clause: str, engine: TextToSpeech, voice: tuple[str | None, bool], speed: float
) -> AsyncGenerator[Speech, None]:
    """The same by a voice, as :meth:`Tongue.voice_of` tells it."""
    name, english = voice
    text = speakable(clause, english=english)
    return guarded(lambda: engine.synthesize(text, name, speed), TTSError, "tts_failed", engine.name)
