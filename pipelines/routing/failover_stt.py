"""When a recogniser fails in the middle of an utterance, the next one hears it from its beginning."""

from __future__ import annotations

from collections import deque

import numpy as np

from media.frames import Samples
from pipelines.errors import PipelineError, STTError, foreign_errors, only_logged
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
from pipelines.interfaces.vad import VAD_RATE
from pipelines.routing.failover import Attempt, Failover, Policy

KEPT_SECONDS = 60.0
"""How much of an utterance is kept for another recogniser (2 MB); of a longer one the beginning is lost to it."""


class FallbackRecognizer(Failover[SpeechToText]):
    """Recognisers in order of preference, a :class:`~pipelines.interfaces.stt.SpeechToText` itself.

    An engine that fails within an utterance hears it once more from the beginning, for what was lost may be only one of
    its processes; then, or when it cannot begin, the next one takes over and the failed one rests. What had been
    understood may then be revised, as partials may anyway.
    """

    errors = (STTError, "stt_failed")
    hopeless = frozenset(("stt_busy", "stt_closed", "engine_stuck"))
    usual = Policy(retries=1)

    @property
    def languages(self) -> tuple[str, ...]:
        """Of the preferred one."""
        return languages_of(self.engines[0])

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


class _Recognition:
    """One utterance: the engine that hears it, and its sound in case that one fails."""

    def __init__(self, failover: FallbackRecognizer) -> None:
        self._errors = failover.errors
        asked = hearing.get()
        self._attempts = failover.attempts(able=lambda engine: can_hear(engine, asked))
        self._attempt: Attempt[SpeechToText] | None = None
        """``None`` once every engine has failed."""
        self._current: Recognition | None = None
        self._heard: deque[Samples] = deque()
        self._kept = 0
        """Samples in ``_heard``."""

    async def begin(self) -> str:
        """Let the next engine hear the utterance from its beginning; its text so far. Raises what the last raised."""
        for attempt in self._attempts:
            self._attempt = attempt
            try:
                with foreign_errors(*self._errors, attempt.engine.name):
                    self._current = await attempt.engine.open()
                    return await self._current.feed(np.concatenate(self._heard)) if self._heard else ""
            except PipelineError as error:
                await self._gone(attempt, error)
        raise STTError("stt_ended", "every recogniser failed")

    async def feed(self, samples: Samples) -> str:
        self._heard.append(samples)
        self._kept += len(samples)
        while self._kept > KEPT_SECONDS * VAD_RATE and len(self._heard) > 1:
            self._kept -= len(self._heard.popleft())
        attempt, recognition = self._opened()
        try:
            with foreign_errors(*self._errors, attempt.engine.name):
                return await recognition.feed(samples)
        except PipelineError as error:
            await self._gone(attempt, error)
            return await self.begin()

    async def transcript(self) -> Transcript:
        while True:
            attempt, recognition = self._opened()
            try:
                with foreign_errors(*self._errors, attempt.engine.name):
                    transcript = await recognition.transcript()
            except PipelineError as error:
                await self._gone(attempt, error)
                await self.begin()
            else:
                attempt.worked()
                return transcript

    async def close(self) -> None:
        self._heard.clear()
        if self._attempt is not None:
            self._attempt.released()
            await self._end(self._attempt)

    def _opened(self) -> tuple[Attempt[SpeechToText], Recognition]:
        if self._attempt is None or self._current is None:
            raise STTError("stt_ended", "this utterance has ended: it was closed, or every recogniser failed")
        return self._attempt, self._current

    async def _gone(self, attempt: Attempt[SpeechToText], error: PipelineError) -> None:
        """The engine has failed. Raises ``error`` when it was the last."""
        another = attempt.failed(error, retry=self._current is not None)
        await self._end(attempt)
        if not another:
            self._attempt = None
            raise error

    async def _end(self, attempt: Attempt[SpeechToText]) -> None:
        recognition, self._current = self._current, None
        if recognition is not None:
            with only_logged(f"closing {attempt.engine.name}"):
                await recognition.close()
