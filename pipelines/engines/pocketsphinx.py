"""PocketSphinx: open-vocabulary English recognition that comes with its package. Streaming, on child processes.

Gets about 80 % of the words of clean read speech. See :mod:`pipelines.engines.pocketsphinx_process` for why processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from media.frames import Samples
from pipelines.engines.pocketsphinx_process import FEED, FINISH, HEADER, LENGTH, RESET
from pipelines.errors import ListenError
from pipelines.ports import Transcript

_END_SECONDS = 2.0
"""A child whose stdin has ended has nothing more to do; one that stays longer is killed."""


class _Child:
    """One decoder process. One request at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.sane = True
        """Whether the next request would get the answer to itself."""

    @classmethod
    async def start(cls) -> _Child:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pipelines.engines.pocketsphinx_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        child = cls(process)
        try:
            await child._read()
        except BaseException:
            await child.end()
            raise
        return child

    async def ask(self, kind: bytes, body: bytes = b"") -> dict[str, Any]:
        """Send a request and wait for its answer. Raises :class:`ListenError` when the child is gone."""
        assert self._process.stdin is not None
        self.sane = False  # until the answer is here: a cancelled caller leaves one on its way
        try:
            self._process.stdin.write(HEADER.pack(kind, len(body)) + body)
            await self._process.stdin.drain()
            answer = await self._read()
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise ListenError("stt_crashed", "the recogniser's process has ended unexpectedly") from error
        self.sane = True
        return answer

    async def end(self) -> None:
        """End the process and wait for it."""
        assert self._process.stdin is not None
        if not self.sane and self._process.returncode is None:
            self._process.kill()
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        (length,) = LENGTH.unpack(await self._process.stdout.readexactly(LENGTH.size))
        answer: dict[str, Any] = json.loads(await self._process.stdout.readexactly(length))
        return answer


class PocketSphinxRecognizer:
    """Implements :class:`~pipelines.ports.SpeechToText` with at most ``processes`` decoders at a time.

    Processes start when they are first needed (:meth:`warm` starts one) and are kept.
    """

    name = "pocketsphinx"

    def __init__(self, processes: int | None = None) -> None:
        self._places = asyncio.Semaphore(processes or max(1, min(4, os.cpu_count() or 1)))
        self._idle: list[_Child] = []
        self._closed = False

    async def warm(self) -> None:
        """Start a decoder now. Raises :class:`ListenError` when none can be started."""
        recognition = await self.open()
        await recognition.close()

    async def open(self) -> PocketSphinxRecognition:
        """Start an utterance; waits its turn when all decoders are in use. Raises :class:`ListenError`."""
        await self._places.acquire()
        try:
            child = self._idle.pop() if self._idle else await self._start()
        except BaseException:
            self._places.release()
            raise
        return PocketSphinxRecognition(self, child)

    async def close(self) -> None:
        """End all processes that are not in use; those in use end when they are given back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().end()

    async def give_back(self, child: _Child) -> None:
        """A decoder is free again; one that is in the middle of something is replaced."""
        try:
            if child.sane and not self._closed:
                try:
                    await child.ask(RESET)
                except ListenError:
                    await child.end()
                else:
                    self._idle.append(child)
            else:
                await child.end()
        finally:
            self._places.release()

    @staticmethod
    async def _start() -> _Child:
        try:
            return await _Child.start()
        except (OSError, asyncio.IncompleteReadError) as error:
            raise ListenError(
                "stt_missing", "the PocketSphinx process cannot be started (package pocketsphinx)"
            ) from error


class PocketSphinxRecognition:
    """One utterance."""

    def __init__(self, engine: PocketSphinxRecognizer, child: _Child) -> None:
        self._engine = engine
        self._child: _Child | None = child

    async def feed(self, samples: Samples) -> str:
        """The text so far."""
        return str((await self._ask(FEED, samples.tobytes()))["text"])

    async def transcript(self) -> Transcript:
        """All that was said; the engine's confidence is not calibrated and left out."""
        return Transcript(str((await self._ask(FINISH))["text"]))

    async def close(self) -> None:
        """Give the decoder back."""
        child, self._child = self._child, None
        if child is not None:
            await asyncio.shield(self._engine.give_back(child))

    async def _ask(self, kind: bytes, body: bytes = b"") -> dict[str, Any]:
        if self._child is None:
            raise ListenError("stt_closed", "this recognition has been closed")
        return await self._child.ask(kind, body)
