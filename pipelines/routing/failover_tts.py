"""All voices of several engines as one, and another engine speaks on when one fails."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from pipelines.errors import TTSError, guarded, listed
from pipelines.interfaces.tts import Speech, TextToSpeech, WordTiming
from pipelines.routing.failover import Failover


class FallbackVoice(Failover[TextToSpeech]):
    """Voices of ``engines`` in order of preference, a :class:`~pipelines.interfaces.tts.TextToSpeech` itself.

    A voice is spoken by the first engine that has it. If that fails, the next one speaks the clause with its default
    voice, or what is left of it after the words that have sounded. Where the words that have sounded are not known, the
    failure is raised. A cache of phrases goes around each engine and not around this: it must not remember a stand-in's
    sound as the voice's own.
    """

    errors = (TTSError, "tts_failed")
    callers_fault = frozenset(("unknown_voice", "invalid_speed"))

    @property
    def voices(self) -> tuple[str, ...]:
        """All of theirs, the default first."""
        return tuple(dict.fromkeys(voice for engine in self.engines for voice in engine.voices))

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Speak one clause. Raises :class:`TTSError` (``unknown_voice``), or what the last engine raised."""
        if voice is not None and voice not in self.voices:
            raise TTSError("unknown_voice", f"voice: '{voice}' is not one of {listed(self.voices)}")
        clause = _Clause(text)
        for attempt in self.attempts(next((engine for engine in self.engines if voice in engine.voices), None)):
            with attempt:
                async with aclosing(self._spoken(attempt.engine, clause.rest(), voice, speed)) as pieces:
                    async for piece in pieces:
                        taken = clause.take(piece)
                        attempt.commit(clause.is_in_the_dark)
                        yield taken
                return

    def _spoken(self, engine: TextToSpeech, text: str, voice: str | None, speed: float) -> AsyncGenerator[Speech, None]:
        """The clause by ``engine``, in its default voice if it does not have ``voice``."""
        name = voice if voice in engine.voices else None
        return guarded(lambda: engine.synthesize(text, name, speed), *self.errors, engine.name)


class _Clause:
    """What of a clause has sounded, and what is left of it for another engine."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = 0
        self._seconds = 0.0
        self._before = 0.0

    @property
    def is_in_the_dark(self) -> bool:
        """Whether there was sound, and nobody knows of which words."""
        return self._seconds > 0 and not self._words

    def rest(self) -> str:
        """What has not been said; whoever says it begins at the present end."""
        self._before = self._seconds
        return " ".join(self._text.split()[self._words :]) if self._words else self._text

    def take(self, piece: Speech) -> Speech:
        """The next piece, with its words at their place in the whole clause."""
        self._words += len(piece.words)
        self._seconds += len(piece.samples) / piece.rate
        if not self._before:
            return piece
        moved = (WordTiming(word.text, word.start + self._before, word.end + self._before) for word in piece.words)
        return replace(piece, words=tuple(moved))
