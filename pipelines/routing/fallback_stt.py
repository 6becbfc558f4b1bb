"""When a recogniser fails in the middle of an utterance, the next one hears it from its beginning."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np

from media.clock import Clock
from media.frames import Samples
from pipelines.errors import ListenError, PipelineError, foreign_errors, only_logged
from pipelines.interfaces.stt import Recognition, SpeechToText, Transcript, languages_of, streams_partials
from pipelines.interfaces.vad import VAD_RATE
from pipelines.routing.backoff import REST_SECONDS, Ladder, OnFailure

KEPT_SECONDS = 60.0
"""How much of an utterance is kept for another recogniser (2 MB); of a longer one the beginning is lost to it."""


_NO_USE = ("stt_busy", "stt_closed", "engine_stuck")
"""Codes of errors after which there is no use in asking the same engine again at once."""


class FallbackRecognizer:
    """Recognisers in order of preference, a :class:`~pipelines.interfaces.stt.SpeechToText` itself.

    An engine that fails within an utterance hears it once more from the beginning, for what was lost may be only one of
    its processes; then, or when it cannot begin, the next one takes over and the failed one rests (see
    :class:`Ladder`). What had been understood may then be revised, as partials may anyway.
    """

    def __init__(
        self,
        engines: Sequence[SpeechToText],
        on_failure: OnFailure,
        clock: Clock | None = None,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self._ladder = Ladder([engine.name for engine in engines], on_failure, clock, rest_seconds)
        self.engines = tuple(engines)
        self.forwarded = self._ladder.forwarded
        """How often an utterance was handed on, by the names of who failed or rests and who was next."""

    @property
    def name(self) -> str:
        """Of the preferred one."""
        return self.engines[0].name

    @property
    def languages(self) -> tuple[str, ...]:
        """Of the preferred one."""
        return languages_of(self.engines[0])

    @property
    def streams_partials(self) -> bool:
        """Whether every one of them knows words while they are spoken."""
        return all(streams_partials(engine) for engine in self.engines)

    def prefer(self, engine: SpeechToText) -> None:
        """A better engine has come; utterances that begin from now on are heard by it."""
        self.engines = (engine, *self.engines)
        self._ladder = self._ladder.with_first(engine.name)

    async def open(self) -> Recognition:
        """Start an utterance with the first engine that can. Raises what the last one raised."""
        recognition = _Recognition(self.engines, self._ladder)
        await recognition.begin()
        return recognition

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


class _Recognition:
    """One utterance: the engine that hears it, and its sound in case that one fails."""

    def __init__(self, engines: Sequence[SpeechToText], ladder: Ladder) -> None:
        self._engines = engines
        self._ladder = ladder
        self._waiting = deque(ladder.order())
        """Places of the engines that have not been tried."""
        self._forgiven: set[int] = set()
        """Places of those that have failed within this utterance and were given a second chance."""
        self._place = 0
        self._current: Recognition | None = None
        self._heard: deque[Samples] = deque()
        self._kept = 0
        """Samples in ``_heard``."""

    async def begin(self) -> None:
        while self._current is None:
            self._place = self._waiting.popleft()
            try:
                with self._engine_errors():
                    self._current = await self._engines[self._place].open()
            except PipelineError as error:
                self._report(error)
                if not self._waiting:
                    raise

    async def feed(self, samples: Samples) -> str:
        self._heard.append(samples)
        self._kept += len(samples)
        while self._kept > KEPT_SECONDS * VAD_RATE and len(self._heard) > 1:
            self._kept -= len(self._heard.popleft())
        try:
            with self._engine_errors():
                return await self._opened().feed(samples)
        except PipelineError as error:
            return await self._from_the_beginning(error)

    async def transcript(self) -> Transcript:
        while True:
            try:
                with self._engine_errors():
                    transcript = await self._opened().transcript()
            except PipelineError as error:
                await self._from_the_beginning(error)
            else:
                self._ladder.worked(self._place)
                return transcript

    async def close(self) -> None:
        current, self._current = self._current, None
        self._heard.clear()
        if current is not None:
            with only_logged(f"closing {self._name}"):
                await current.close()

    async def _from_the_beginning(self, error: PipelineError) -> str:
        """Let the same engine hear the whole utterance, or else the next; its text so far. Raises if none is left."""
        while True:
            if self._current is not None and self._place not in self._forgiven and error.code not in _NO_USE:
                self._forgiven.add(self._place)
                self._waiting.appendleft(self._place)
                self._ladder.stumbled(self._place, error)
            else:
                self._report(error)
            if not self._waiting:
                raise error
            broken, self._current = self._current, None
            if broken is not None:
                with only_logged(f"closing {self._name}"):
                    await broken.close()
            await self.begin()
            if not self._heard:
                return ""
            try:
                with self._engine_errors():
                    return await self._opened().feed(np.concatenate(self._heard))
            except PipelineError as next_error:
                error = next_error

    @property
    def _name(self) -> str:
        return self._engines[self._place].name

    def _engine_errors(self) -> AbstractContextManager[None]:
        return foreign_errors(ListenError, "stt_failed", self._name)

    def _opened(self) -> Recognition:
        if self._current is None:
            raise ListenError("stt_ended", "this utterance has ended: it was closed, or every recogniser failed")
        return self._current

    def _report(self, error: PipelineError) -> None:
        self._ladder.failed(self._place, error, self._waiting[0] if self._waiting else None)
