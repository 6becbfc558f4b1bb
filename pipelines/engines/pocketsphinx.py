"""The recogniser that needs no download: PocketSphinx with the English model of its wheel, in child processes.

PocketSphinx keeps the interpreter locked while it decodes, so each decoder lives in a process of its own (see
:mod:`pipelines.engines.pocketsphinx_process`); an utterance leases one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from media.frames import Samples
from pipelines.engines import pocketsphinx_process
from pipelines.engines.pocketsphinx_process import FEED, HEADER, RESET, TRANSCRIPT
from pipelines.errors import ListenError
from pipelines.ports import VAD_RATE, Transcript

_CHUNK = VAD_RATE
"""Samples of one request: a second, so that a backlog is decoded in steps that can be abandoned."""
_PATIENCE = 30.0
"""Seconds after which a decoder that does not answer is given up."""
_FAREWELL = 2.0
"""Seconds a decoder gets to end by itself."""
_LONGEST_ANSWER = 1 << 20
"""Bytes."""


class PocketSphinxRecognizer:
    """PocketSphinx as a :class:`~pipelines.ports.SpeechToText`: at most ``processes`` utterances at a time.

    ``processes`` is the number of cores by default, at most four. A decoder starts when it is first needed (about half
    a second) and takes the memory given in the documentation. Raises :class:`~pipelines.errors.ListenError`
    (``stt_missing``) when the package is not installed.
    """

    name = "pocketsphinx"

    def __init__(self, processes: int | None = None) -> None:
        if find_spec("pocketsphinx") is None:
            raise ListenError("stt_missing", "the embedded recogniser needs the package pocketsphinx")
        self.processes = max(1, min(4, _cores())) if processes is None else processes
        self._slots = asyncio.Semaphore(self.processes)
        self._decoders: set[_Decoder] = set()  # all that have to be ended
        self._idle: list[_Decoder] = []
        self._closed = False

    async def warm(self) -> None:
        """Start the first decoder, so that the first utterance need not wait for it."""
        await (await self.open()).close()

    async def open(self) -> PocketSphinxRecognition:
        """Start an utterance; waits its turn when all decoders are in use.

        Raises :class:`~pipelines.errors.ListenError` when no decoder can be started (``stt_broken``) or the engine has
        been closed (``stt_closed``).
        """
        await self._slots.acquire()
        try:
            decoder = await self._lease()
        except BaseException:
            self._slots.release()
            raise
        return PocketSphinxRecognition(decoder, self._give_back)

    async def _lease(self) -> _Decoder:
        for broken in [decoder for decoder in self._decoders if decoder.broken]:
            await self._end(broken)
        while self._idle and not self._closed:
            decoder = self._idle.pop()
            try:
                await decoder.ask(RESET)
            except ListenError:  # it died while nobody used it
                await self._end(decoder)
            except BaseException:
                self._idle.append(decoder)
                raise
            else:
                return decoder
        return await self._start()

    async def _start(self) -> _Decoder:
        decoder = await _Decoder.spawn()
        self._decoders.add(decoder)
        try:
            if self._closed:
                raise ListenError("stt_closed", "the recogniser has been closed")
            await decoder.ready()
        except BaseException:
            await self._end(decoder)
            raise
        return decoder

    async def _end(self, decoder: _Decoder) -> None:
        await decoder.end()
        self._decoders.discard(decoder)

    def _give_back(self, decoder: _Decoder) -> None:
        if not decoder.broken:
            self._idle.append(decoder)
        self._slots.release()

    async def close(self) -> None:
        """End all processes; an utterance in progress fails, as does :meth:`open` from now on. Idempotent."""
        if not self._closed:
            self._closed = True
            self._slots.release()  # wakes whoever waits in open(); each wakes the next
        await asyncio.gather(*(self._end(decoder) for decoder in list(self._decoders)))


class PocketSphinxRecognition:
    """One utterance on a leased decoder."""

    def __init__(self, decoder: _Decoder, give_back: Callable[[_Decoder], None]) -> None:
        self._decoder = decoder
        self._give_back: Callable[[_Decoder], None] | None = give_back

    async def feed(self, samples: Samples) -> str:
        """Take int16 samples at 16 kHz, shape ``(n,)``, any length; return the best text so far.

        Raises :class:`~pipelines.errors.ListenError`: ``stt_crashed``, ``stt_stuck``, ``stt_failed``.
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
            raise ListenError("stt_closed", "this recognition has been closed")

    async def close(self) -> None:
        """Give the decoder back. Idempotent; an answer still owed is dropped by whoever leases the decoder next."""
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back(self._decoder)


class _Decoder:
    """A child process that answers requests in order."""

    def __init__(self, process: Process) -> None:
        assert process.stdin and process.stdout
        self._process = process
        self._requests = process.stdin
        self._answers = process.stdout
        self._turn = asyncio.Lock()
        self._owed = 1  # answers to come, those of abandoned requests included; the first says that the model is loaded
        self._failed = False

    @classmethod
    async def spawn(cls) -> _Decoder:
        # Run as a script: an import of our packages would cost time and memory in every child. "-P" keeps the folder of
        # the script, where this file hides the real pocketsphinx, off the child's path.
        command = (sys.executable, "-P", pocketsphinx_process.__file__)
        try:
            return cls(await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=_LONGEST_ANSWER))
        except OSError as error:
            raise ListenError("stt_broken", f"the recogniser's process cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def broken(self) -> bool:
        return self._failed or self._process.returncode is not None

    async def ready(self) -> None:
        """Wait until the model is loaded."""
        async with self._turn:
            await self._answer()

    async def ask(self, kind: bytes, payload: bytes = b"") -> dict[str, Any]:
        """Send a request and return its answer. May be cancelled at any point and asked again."""
        async with self._turn:
            self._requests.write(HEADER.pack(kind, len(payload)) + payload)
            self._owed += 1
            return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        """The last answer owed; those before it belong to requests that were abandoned."""
        line = b""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._requests.drain()
                while self._owed:
                    line = await self._answers.readline()
                    if not line.endswith(b"\n"):
                        raise ConnectionResetError
                    self._owed -= 1
        except ConnectionError:
            self._failed = True
            raise ListenError("stt_crashed", "the recogniser's process has ended unexpectedly") from None
        except TimeoutError:
            self._failed = True
            raise ListenError("stt_stuck", f"the recogniser has not answered for {_PATIENCE:g} s") from None
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self._failed = True
            raise ListenError("stt_failed", f"the recogniser failed: {answer['error']}")
        return answer

    async def end(self) -> None:
        """End the process, by force if need be, and wait until it has gone. Idempotent."""
        self._failed = True
        self._requests.close()
        try:
            async with asyncio.timeout(_FAREWELL):
                await self._process.wait()
        except BaseException as error:
            with suppress(ProcessLookupError):
                self._process.kill()
            if not isinstance(error, TimeoutError):
                raise
        await self._process.wait()
        async with self._turn:
            await self._answers.read()  # to the end, so that the loop closes the pipe
        with suppress(ConnectionError):
            await self._requests.wait_closed()


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
