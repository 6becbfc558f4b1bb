"""When a recogniser or a voice fails and the next one takes over.

A recogniser hears the utterance from its beginning; a voice speaks what is left of the clause.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from itertools import chain
from typing import ClassVar

import numpy as np

from media.frames import Samples
from pipelines.errors import PipelineError, STTError, TTSError, foreign_errors, guarded, listed, only_logged
from pipelines.interfaces.stt import (
    Hearing,
    Recognition,
    SpeechToText,
    Transcript,
    can_hear,
    hearing,
    languages_of,
    streams_partials,
)
from pipelines.interfaces.tts import Speech, TextToSpeech, WordTiming
from pipelines.interfaces.vad import VAD_RATE
from pipelines.routing import run
from pipelines.routing.policy import hedge_after, is_sure
from pipelines.routing.routes.attempts import Attempt, UnsureError
from pipelines.routing.routes.breaker import RestPolicy
from pipelines.routing.routes.racing import pumped
from pipelines.routing.routes.route import Route


class FallbackVoice(Route[TextToSpeech]):
    """Voices as the policy orders them, a :class:`~pipelines.interfaces.tts.TextToSpeech` itself.

    A voice is spoken by the first engine that has it. If that fails, the next one speaks the clause with its default
    voice, or what is left of it after the words that have sounded. Where the words that have sounded are not known, the
    failure is raised. A cache of phrases goes around each engine and not around this: it must not remember a stand-in's
    sound as the voice's own. Usable is a voice from its first samples on.
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
        attempts = self.attempts(next((engine for engine in self.engines if voice in engine.voices), None))

        async def begun(attempt: Attempt[TextToSpeech]) -> _Spoken:
            stream = self._spoken(attempt.engine, clause.rest(), voice, speed)
            if hedge_after(self.need, run.wishes.get()) is not None:
                stream = pumped(stream)
            try:
                return _Spoken(await anext(stream, None), stream)
            except BaseException:
                await stream.aclose()
                raise

        while True:
            attempt, spoken = await self.obtain(attempts, begun, _Spoken.aclose)
            async with aclosing(spoken):
                with attempt:
                    piece = spoken.first
                    while piece is not None:
                        taken = clause.take(piece)
                        attempt.commit(clause.is_in_the_dark)
                        yield taken
                        piece = await anext(spoken.rest, None)
                    return

    def _spoken(self, engine: TextToSpeech, text: str, voice: str | None, speed: float) -> AsyncGenerator[Speech, None]:
        """The clause by ``engine``, in its default voice if it does not have ``voice``."""
        name = voice if voice in engine.voices else None
        return guarded(lambda: engine.synthesize(text, name, speed), *self.errors, engine.name)


class _Spoken:
    """A clause that has begun to be spoken; ``first`` is ``None`` for one without sound."""

    def __init__(self, first: Speech | None, rest: AsyncGenerator[Speech, None]) -> None:
        self.first = first
        self.rest = rest

    async def aclose(self) -> None:
        """End it. Idempotent."""
        await self.rest.aclose()


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


FARTHER_SECONDS = 0.5
"""Of sound behind the point of an engine's failure that it hears without one, after which another one is a new one."""
KEPT_SECONDS = 60.0
"""How much of an utterance is kept for another recogniser (2 MB); of a longer one the beginning is lost to it."""


class FallbackRecognizer(Route[SpeechToText]):
    """Recognisers as the policy orders them, a :class:`~pipelines.interfaces.stt.SpeechToText` itself.

    An engine that fails within an utterance hears it once more from the beginning, for what was lost may be only one of
    its processes (that holds for each failure, if it has come farther since the last); then, or when it cannot begin,
    the next one takes over and the failed one rests. Where there is none, a process that was lost is waited for. What
    had been understood may then be revised, as partials may anyway.

    Usable is a transcript. One that is late is waited for together with the next engine's. With ``waits``, one that the
    policy finds not sure enough is heard again by the next engine before anything is told, and the surest is taken; in
    a conversation, where that would delay the end of every turn, :mod:`~pipelines.routing.second_opinion` does it.
    """

    errors = (STTError, "stt_failed")
    hopeless = frozenset(("stt_busy", "stt_closed", "stt_timeout", "engine_stuck"))
    passing = frozenset(("stt_crashed",))
    usual = RestPolicy(retries=1, last_chances=5)
    waits: ClassVar[bool] = False

    @property
    def languages(self) -> tuple[str, ...]:
        """Of the preferred one."""
        return languages_of(self.next)

    @property
    def streams_partials(self) -> bool:
        """Whether every one of them knows words while they are spoken."""
        return all(streams_partials(engine) for engine in self.engines)

    def can_hear(self, asked: Hearing) -> bool:
        """Whether any of them can."""
        return any(can_hear(engine, asked) for engine in self.engines)

    async def open(self) -> Recognition:
        """Start an utterance with the first engine that can. Raises what the last one raised.

        Only those that can do what is asked beside (:data:`~pipelines.interfaces.stt.hearing`) are tried, if any can.
        """
        recognition = _Recognition(self)
        try:
            await recognition.begin()
        except BaseException:
            await recognition.close()
            raise
        return recognition


class PatientRecognizer(FallbackRecognizer):
    """The same where no conversation waits for the end of a turn: the surest transcript is waited for."""

    waits = True


class _Heard:
    """What one engine has heard of an utterance."""

    def __init__(self, engine: str, recognition: Recognition, transcript: Transcript) -> None:
        self.recognition = recognition
        self.transcript = transcript
        self._engine = engine

    async def aclose(self) -> None:
        """It is not wanted any more."""
        with only_logged(f"closing {self._engine}"):
            await self.recognition.close()


class _Recognition:
    """One utterance: the engine that hears it, and its sound in case that one fails."""

    def __init__(self, route: FallbackRecognizer) -> None:
        self._route = route
        self._errors = route.errors
        asked = hearing.get()
        self._attempts = route.attempts(able=lambda engine: can_hear(engine, asked))
        self._attempt: Attempt[SpeechToText] | None = None
        """``None`` once every engine has failed."""
        self._current: Recognition | None = None
        self._heard: deque[Samples] = deque()
        self._kept = 0
        """Samples in ``_heard``."""
        self._taken = 0
        """Samples of the utterance so far."""
        self._failed_at: int | None = None
        """How many these were when the engine failed."""

    async def begin(self) -> str:
        """Let the next engine hear the utterance from its beginning; its text so far. Raises what the last raised."""
        for attempt in self._attempts:
            self._attempt = attempt
            try:
                await attempt.ready()
                with foreign_errors(*self._errors, attempt.engine.name):
                    self._current = await attempt.engine.open()
                    return await self._current.feed(np.concatenate(self._heard)) if self._heard else ""
            except PipelineError as error:
                await self._gone(attempt, error)
        raise STTError("stt_ended", "every recogniser failed")

    async def feed(self, samples: Samples) -> str:
        self._heard.append(samples)
        self._kept += len(samples)
        self._taken += len(samples)
        while self._kept > KEPT_SECONDS * VAD_RATE and len(self._heard) > 1:
            self._kept -= len(self._heard.popleft())
        attempt, recognition = self._opened()
        try:
            with foreign_errors(*self._errors, attempt.engine.name):
                text = await recognition.feed(samples)
        except PipelineError as error:
            self._failed_at = self._taken
            await self._gone(attempt, error)
            return await self.begin()
        if self._failed_at is not None and self._taken - self._failed_at >= FARTHER_SECONDS * VAD_RATE:
            self._failed_at = None
            attempt.goes_on()
        return text

    async def transcript(self) -> Transcript:
        attempt, _ = self._opened()
        try:
            attempt, heard = await self._route.obtain(chain((attempt,), self._attempts), self._told, _Heard.aclose)
        except PipelineError:
            await self._end(attempt)
            self._attempt = None
            raise
        if heard.recognition is not self._current:
            await self._end(attempt)
            self._attempt, self._current = attempt, heard.recognition
        attempt.worked()
        attempt.goes_on()
        self._failed_at = None
        return heard.transcript

    async def close(self) -> None:
        self._heard.clear()
        if self._attempt is not None:
            self._attempt.released()
            await self._end(self._attempt)

    async def _told(self, attempt: Attempt[SpeechToText]) -> _Heard:
        """The transcript of an engine: of the one that has heard the utterance so far, or of another one."""
        recognition = self._current if attempt is self._attempt else None
        if recognition is not None:
            self._current = None  # if it fails, whoever is next hears it from the beginning
        engine = attempt.engine
        try:
            with foreign_errors(*self._errors, engine.name):
                if recognition is None:
                    recognition = await self._again(attempt)
                transcript = await recognition.transcript()
        except asyncio.CancelledError:
            if attempt is self._attempt or not self._races:  # nobody wants a transcript now; the utterance may go on
                self._attempt, self._current = attempt, recognition
            else:
                await self._closed(attempt, recognition)
            raise
        except BaseException:
            await self._closed(attempt, recognition)
            raise
        attempt.confidence = transcript.confidence
        heard = _Heard(engine.name, recognition, transcript)
        if not self._route.waits:
            return heard
        need, confidence = self._route.need, transcript.confidence if transcript.text else 0.0
        if is_sure(need.policy, run.wishes.get(), confidence):
            return heard
        raise UnsureError(heard, confidence or 0.0, f"{engine.name} is not sure of it")

    async def _again(self, attempt: Attempt[SpeechToText]) -> Recognition:
        """The utterance, heard by the attempt's engine from its beginning."""
        try:
            recognition = await attempt.engine.open()
        except Exception:
            attempt.once()  # it did not lose an utterance
            raise
        if self._heard:
            try:
                await recognition.feed(np.concatenate(self._heard))
            except BaseException:
                await self._closed(attempt, recognition)
                raise
        return recognition

    def _opened(self) -> tuple[Attempt[SpeechToText], Recognition]:
        if self._attempt is None or self._current is None:
            raise STTError("stt_ended", "this utterance has ended: it was closed, or every recogniser failed")
        return self._attempt, self._current

    async def _gone(self, attempt: Attempt[SpeechToText], error: PipelineError) -> None:
        """The engine has failed. Raises ``error`` when it was the last."""
        if self._current is None:
            attempt.once()
        another = attempt.failed(error)
        await self._end(attempt)
        if not another:
            self._attempt = None
            raise error

    async def _end(self, attempt: Attempt[SpeechToText]) -> None:
        recognition, self._current = self._current, None
        await self._closed(attempt, recognition)

    async def _closed(self, attempt: Attempt[SpeechToText], recognition: Recognition | None) -> None:
        if recognition is not None:
            with only_logged(f"closing {attempt.engine.name}"):
                await recognition.close()

    @property
    def _races(self) -> bool:
        """Whether several engines may be asked for a transcript at a time."""
        return hedge_after(self._route.need, run.wishes.get()) is not None
