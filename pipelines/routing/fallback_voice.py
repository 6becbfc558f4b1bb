"""All voices of several engines as one, and another engine speaks when one fails."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from media.clock import Clock
from pipelines.errors import PipelineError, SpeakError, guarded, listed
from pipelines.interfaces.tts import Speech, TextToSpeech, WordTiming
from pipelines.routing.backoff import REST_SECONDS, Ladder, OnFailure, successors

_CALLERS_FAULT = ("unknown_voice", "invalid_speed")
"""Codes of errors that no other engine would mend."""


class FallbackVoice:
    """Voices of ``engines`` in order of preference, a :class:`~pipelines.interfaces.tts.TextToSpeech` itself.

    A voice is spoken by the first engine that has it. If that fails, the next one speaks the clause with its default
    voice, or what is left of it after the words that have sounded, and the failed one rests (see :class:`Ladder`).
    Where the words that have sounded are not known, the failure is raised. A cache of phrases goes around each engine
    and not around this: it must not remember a stand-in's sound as the voice's own.
    """

    def __init__(
        self,
        engines: Sequence[TextToSpeech],
        on_failure: OnFailure,
        clock: Clock | None = None,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self._ladder = Ladder([engine.name for engine in engines], on_failure, clock, rest_seconds)
        self.engines = tuple(engines)
        self.forwarded = self._ladder.forwarded
        """How often a clause was handed on, by the names of who failed or rests and who was next."""

    @property
    def name(self) -> str:
        """Of the preferred one."""
        return self.engines[0].name

    @property
    def voices(self) -> tuple[str, ...]:
        """All of theirs, the default first."""
        return tuple(dict.fromkeys(voice for engine in self.engines for voice in engine.voices))

    def prefer(self, engine: TextToSpeech) -> None:
        """A better engine has come; clauses that begin from now on are spoken by it."""
        self.engines = (engine, *self.engines)
        self._ladder = self._ladder.with_first(engine.name)

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Speak one clause. Raises :class:`SpeakError` (``unknown_voice``), or what the last engine raised."""
        if voice is not None and voice not in self.voices:
            raise SpeakError("unknown_voice", f"voice: '{voice}' is not one of {listed(self.voices)}")
        first = next((n for n, engine in enumerate(self.engines) if voice in engine.voices), 0)
        engines, ladder = self.engines, self._ladder  # whatever happens to these meanwhile
        clause = _Clause(text)
        for place, successor in successors(ladder.order(first)):
            try:
                async with aclosing(_spoken(engines[place], clause.rest(), voice, speed)) as pieces:
                    async for piece in pieces:
                        yield clause.take(piece)
            except PipelineError as error:
                if error.code in _CALLERS_FAULT:
                    raise
                if clause.is_in_the_dark:
                    successor = None
                ladder.failed(place, error, successor)
                if successor is None:
                    raise
            else:
                ladder.worked(place)
                return

    @property
    def current(self) -> str:
        """The name of the engine that is asked next: the first that does not rest."""
        return self._ladder.current

    @property
    def serving(self) -> str:
        """The name of the engine that does the work at present."""
        return self._ladder.serving

    async def close(self) -> None:
        """Close every engine."""
        for engine in self.engines:
            await engine.close()


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


def _spoken(engine: TextToSpeech, text: str, voice: str | None, speed: float) -> AsyncGenerator[Speech, None]:
    """The clause by ``engine``, in its default voice if it does not have ``voice``."""
    name = voice if voice in engine.voices else None
    return guarded(lambda: engine.synthesize(text, name, speed), SpeakError, "tts_failed", engine.name)
