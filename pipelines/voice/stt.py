"""One utterance on its way through the recogniser, while it is still being spoken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from media.channel import Channel, ChannelClosedError, Policy
from media.frames import Samples
from pipelines.errors import PipelineError
from pipelines.ports import VAD_RATE, Recognition, SpeechToText, Transcript

LONGEST_BACKLOG_SECONDS = 90.0
"""Audio that may wait for a decoder. It outlasts the longest turn, so nothing of a turn is ever dropped."""


class Utterance:
    """Feeds a recogniser with what arrives and asks it for the transcript at the end.

    Whatever has queued up while the recogniser was busy is given to it in one piece: it catches up by itself.
    """

    def __init__(self, engine: SpeechToText, on_partial: Callable[[str], None]) -> None:
        self._engine = engine
        self._on_partial = on_partial
        self._audio: Channel[Samples] = Channel(int(LONGEST_BACKLOG_SECONDS * VAD_RATE / 512), Policy.DROP_NEWEST)
        self._task: asyncio.Task[Transcript | PipelineError] | None = None
        self.samples = 0
        """Samples taken so far (16 kHz)."""

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin recognising as a task of ``group``."""
        self._task = group.create_task(self._recognise(), name="utterance")

    def push(self, samples: Samples) -> None:
        """The next audio: 16 kHz, any length."""
        self.samples += len(samples)
        self._audio.put(samples)

    async def finish(self) -> Transcript:
        """No more audio: the transcript of all of it. Raises :class:`PipelineError` when the recogniser failed."""
        assert self._task is not None
        self._audio.close()
        result = await self._task
        if isinstance(result, PipelineError):
            raise result
        return result

    async def cancel(self) -> None:
        """Forget the utterance and give the decoder back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _recognise(self) -> Transcript | PipelineError:
        # The error is the task's result: raised here it would end every other task of the session's group.
        try:
            recognition = await self._engine.open()
            try:
                return await self._feed(recognition)
            finally:
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
            partial = await recognition.feed(np.concatenate(waiting))
            if partial != shown:
                shown = partial
                self._on_partial(partial)
        return await recognition.transcript()
