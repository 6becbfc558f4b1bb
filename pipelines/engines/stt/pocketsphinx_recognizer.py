"""The recogniser that needs no download: PocketSphinx with the English model of its wheel, in child processes.

PocketSphinx keeps the interpreter locked while it decodes, so each decoder lives in a process of its own (see
:mod:`pipelines.engines.stt.pocketsphinx_process`); an utterance leases one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import Any

from media.frames import Samples
from pipelines.engines.registry import Built, Found, Site
from pipelines.engines.stt.pocketsphinx_decoder import Decoder
from pipelines.engines.stt.pocketsphinx_process import FEED, RESET, TRANSCRIPT
from pipelines.errors import STTError
from pipelines.interfaces.stt import Transcript
from pipelines.interfaces.vad import VAD_RATE

_CHUNK = VAD_RATE
"""Samples of one request: a second, so that a backlog is decoded in steps that can be abandoned."""


class PocketSphinxRecognizer:
    """PocketSphinx as a :class:`~pipelines.interfaces.stt.SpeechToText`: at most ``processes`` utterances at a time.

    ``processes`` is the number of cores by default, at most four. A decoder starts when it is first needed (about half
    a second) and takes the memory given in the documentation. Raises :class:`~pipelines.errors.STTError`
    (``stt_missing``) when the package is not installed.
    """

    name = "pocketsphinx"

    def __init__(self, processes: int | None = None) -> None:
        if find_spec("pocketsphinx") is None:
            raise STTError("stt_missing", "the embedded recogniser needs the package pocketsphinx")
        self.processes = max(1, min(4, _cores())) if processes is None else processes
        self._slots = asyncio.Semaphore(self.processes)
        self._decoders: set[Decoder] = set()
        self._idle: list[Decoder] = []
        self._tasks: set[asyncio.Task[None]] = set()  # that watch processes, and end them
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Of the processes that are alive."""
        return [decoder.pid for decoder in self._decoders if not decoder.broken]

    async def warm(self) -> None:
        """Start the first decoder, so that the first utterance need not wait for it."""
        await (await self.open()).close()

    async def open(self) -> PocketSphinxRecognition:
        """Start an utterance; waits its turn when all decoders are in use.

        Raises :class:`~pipelines.errors.STTError` when no decoder can be started (``stt_broken``) or the engine has
        been closed (``stt_closed``).
        """
        await self._slots.acquire()
        try:
            decoder = await self._lease()
        except BaseException:
            self._slots.release()
            raise
        return PocketSphinxRecognition(decoder, self._give_back)

    async def _lease(self) -> Decoder:
        while self._idle and not self._closed:
            decoder = self._idle.pop()
            try:
                await decoder.ask(RESET)
            except STTError:  # it was lost while nobody used it
                self._part_with(decoder)
            except BaseException:
                self._take_back(decoder)
                raise
            else:
                return decoder
        return await self._start()

    async def _start(self) -> Decoder:
        decoder = await Decoder.spawn()
        self._decoders.add(decoder)
        self._keep(self._watch(decoder))
        try:
            if self._closed:
                raise STTError("stt_closed", "the recogniser has been closed")
            await decoder.ready()
        except BaseException:
            self._part_with(decoder)
            raise
        return decoder

    async def _watch(self, decoder: Decoder) -> None:
        """Have a process that ends leave the pool at once."""
        await decoder.gone()
        self._part_with(decoder)

    def _part_with(self, decoder: Decoder) -> None:
        """Nobody gets this decoder any more; its process is ended beside all else."""
        if decoder in self._idle:
            self._idle.remove(decoder)
        if decoder in self._decoders:
            self._decoders.remove(decoder)
            self._keep(decoder.end())

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=self.name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take_back(self, decoder: Decoder) -> None:
        if decoder.broken or self._closed:
            self._part_with(decoder)
        else:
            self._idle.append(decoder)

    def _give_back(self, decoder: Decoder) -> None:
        self._take_back(decoder)
        self._slots.release()

    async def close(self) -> None:
        """End all processes; an utterance in progress fails, as does :meth:`open` from now on. Idempotent."""
        if not self._closed:
            self._closed = True
            self._slots.release()  # wakes whoever waits in open(); each wakes the next
        for decoder in list(self._decoders):
            self._part_with(decoder)
        await asyncio.gather(*self._tasks)


class PocketSphinxRecognition:
    """One utterance on a leased decoder."""

    def __init__(self, decoder: Decoder, give_back: Callable[[Decoder], None]) -> None:
        self._decoder = decoder
        self._give_back: Callable[[Decoder], None] | None = give_back

    async def feed(self, samples: Samples) -> str:
        """Take int16 samples at 16 kHz, shape ``(n,)``, any length; return the best text so far.

        Raises :class:`~pipelines.errors.STTError`: ``stt_crashed``, ``stt_stuck``, ``stt_failed``.
        """
        self._check()
        text = ""
        for begin in range(0, max(1, len(samples)), _CHUNK):
            answer = await self._decoder.ask(FEED, samples[begin : begin + _CHUNK].astype("<i2").tobytes())
            text = str(answer["text"])
        return text

    async def transcript(self) -> Transcript:
        """The best transcript of all that was fed; errors as for :meth:`feed`.

        It ends the utterance inside the decoder. What is fed afterwards is decoded as another, and the texts are
        joined.
        """
        self._check()
        answer = await self._decoder.ask(TRANSCRIPT)
        return Transcript(str(answer["text"]), answer["confidence"])

    def _check(self) -> None:
        if self._give_back is None:
            raise STTError("stt_closed", "this recognition has been closed")

    async def close(self) -> None:
        """Give the decoder back. Idempotent; an answer still owed is dropped by whoever leases the decoder next."""
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back(self._decoder)


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def build(site: Site, found: Found) -> Built[PocketSphinxRecognizer]:
    """With a decoder that runs if it is needed now (see :data:`pipelines.engines.registry.Build`)."""
    engine = PocketSphinxRecognizer(processes=site.asked.processes)
    if found.now:
        await engine.warm()
    return Built(engine)
