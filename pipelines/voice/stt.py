"""One utterance on its way through the recogniser, while it is still being spoken."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from media.channel import Channel, ChannelClosedError, Policy
from media.frames import Samples
from pipelines.errors import PipelineError, STTError, foreign_errors, only_logged
from pipelines.interfaces.stt import Recognition, SpeechToText, Transcript
from pipelines.interfaces.vad import VAD_RATE, VAD_WINDOW
from pipelines.runtime.worker import spoken_language

LONGEST_BACKLOG_SECONDS = 90.0
"""Audio that may wait for a decoder. It outlasts the longest turn, so nothing of a turn is ever dropped."""


LONGEST_HELD_SECONDS = 2.0
"""Of a pause, this much is kept to be recognised with what follows; the middle of a longer silence says nothing."""


class Utterance:
    """Feeds a recogniser with what arrives, and asks it for the transcript at each pause.

    Whatever has queued up while the recogniser was busy is given to it in one piece: it catches up by itself. After
    :meth:`settle` the audio is held back until :meth:`resume`, for a pause that ends the turn need not be recognised.
    """

    def __init__(self, engine: SpeechToText, on_partial: Callable[[str], None], language: str | None = None) -> None:
        self._engine = engine
        self._language = language
        self._on_partial = on_partial
        capacity = int(LONGEST_BACKLOG_SECONDS * VAD_RATE / VAD_WINDOW)
        self._audio: Channel[Samples | asyncio.Future[None]] = Channel(capacity, Policy.DROP_NEWEST)
        self._held: deque[Samples] = deque(maxlen=int(LONGEST_HELD_SECONDS * VAD_RATE / VAD_WINDOW))
        self._holding = False
        self._settled: Transcript | None = None
        self._task: asyncio.Task[Transcript | PipelineError] | None = None
        self.samples = 0
        """Samples taken so far (16 kHz)."""

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin recognising as a task of ``group``."""
        self._task = group.create_task(self._recognise(), name="utterance")

    def push(self, samples: Samples) -> None:
        """The next audio: 16 kHz, any length."""
        if self._holding:
            self._held.append(samples)
        else:
            self.samples += len(samples)
            self._audio.put(samples)

    async def settle(self) -> Transcript:
        """The transcript of what was said before this pause. Raises :class:`PipelineError`."""
        assert self._task is not None
        self._holding = True
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._audio.put(settled)
        waiting: set[asyncio.Future[Any]] = {settled, self._task}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            settled.cancel()  # nothing happens if it is done; else nobody waits for it any more
        if self._task.done():
            return _checked(self._task.result())
        assert self._settled is not None
        return self._settled

    def resume(self) -> None:
        """The pause was none: what was held back is recognised, too."""
        self._holding = False
        while self._held:
            self.push(self._held.popleft())

    async def finish(self) -> Transcript:
        """No more audio: the transcript of all of it. Raises :class:`PipelineError` when the recogniser failed."""
        assert self._task is not None
        self._audio.close()
        return _checked(await self._task)

    async def cancel(self) -> None:
        """Forget the utterance and give the decoder back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _recognise(self) -> Transcript | PipelineError:
        spoken_language.set(self._language)  # of this task and those that it starts
        # The error is the task's result: raised here it would end every other task of the session's group.
        try:
            with self._engine_errors():
                recognition = await self._engine.open()
            try:
                return await self._feed(recognition)
            finally:
                with only_logged(f"closing {self._engine.name}"):
                    await recognition.close()
        except PipelineError as error:
            return error

    async def _feed(self, recognition: Recognition) -> Transcript:
        shown = ""
        while True:
            try:
                waiting = await self._audio.get_all()
            except ChannelClosedError:
                break
            for piece in _joined(waiting):
                if isinstance(piece, asyncio.Future):
                    await self._settle(recognition, piece)
                    continue
                self._settled = None
                with self._engine_errors():
                    partial = await recognition.feed(piece)
                if partial != shown:
                    shown = partial
                    self._on_partial(partial)
        return self._settled or await _decided(await self._transcript(recognition))

    async def _settle(self, recognition: Recognition, asked: asyncio.Future[None]) -> None:
        """Get the transcript for whom it was ``asked``, unless nobody wants it any more: then go on listening."""
        if asked.done():
            return
        work = asyncio.ensure_future(self._transcript(recognition))
        try:
            waiting: set[asyncio.Future[Any]] = {work, asked}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                self._settled = work.result()
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)  # an engine that failed says so again
        if not asked.done():
            asked.set_result(None)

    async def _transcript(self, recognition: Recognition) -> Transcript:
        with self._engine_errors():
            return await recognition.transcript()

    def _engine_errors(self) -> AbstractContextManager[None]:
        return foreign_errors(STTError, "stt_failed", self._engine.name)


async def _decided(transcript: Transcript) -> Transcript:
    """What is to be believed of a transcript that comes after the end of its turn, where every moment counts."""
    if not transcript.lost or transcript.better is None:
        return transcript
    await asyncio.wait([transcript.better])
    better = None if transcript.better.cancelled() else transcript.better.result()
    return better or transcript


def _joined(items: list[Samples | asyncio.Future[None]]) -> list[Samples | asyncio.Future[None]]:
    """Neighbouring audio as one piece."""
    joined: list[Samples | asyncio.Future[None]] = []
    run: list[Samples] = []
    for item in items:
        if not isinstance(item, asyncio.Future):
            run.append(item)
            continue
        if run:
            joined.append(np.concatenate(run))
            run = []
        joined.append(item)
    return [*joined, np.concatenate(run)] if run else joined


def _checked(result: Transcript | PipelineError) -> Transcript:
    if isinstance(result, PipelineError):
        raise result
    return result
