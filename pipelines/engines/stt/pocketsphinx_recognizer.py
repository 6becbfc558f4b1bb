"""The recogniser that needs no download: PocketSphinx with the English model of its wheel, in child processes.

PocketSphinx keeps the interpreter locked while it decodes, so each decoder lives in a process of its own (see
:mod:`pipelines.engines.stt.pocketsphinx_process`); an utterance leases one.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from media.frames import Samples
from pipelines.engines.registry import Built, Found, Site
from pipelines.engines.stt import pocketsphinx_process
from pipelines.engines.stt.pocketsphinx_process import FEED, HEADER, RESET, TRANSCRIPT
from pipelines.errors import STTError, only_logged
from pipelines.interfaces.stt import Transcript
from pipelines.interfaces.vad import VAD_RATE
from pipelines.runtime.child_process import CHILDREN, ChildProcess
from pipelines.runtime.crew import Work
from pipelines.runtime.scaling import Bounds
from pipelines.runtime.slots import Slots

STALL_SECONDS = 2.0
"""A decoder that owes an answer and has done no work for so long is stopped or hangs."""
LONGEST_SECONDS = 30.0
"""A decoder that works on one answer for longer never comes to an end."""
LONGEST_LOAD_SECONDS = 60.0
"""The same for loading the model, on a machine that starts many things at once."""
_FAREWELL = 2.0
"""Seconds a decoder gets to end by itself."""
_LONGEST_ANSWER = 1 << 20
"""Bytes."""


class Decoder:
    """A child process that answers requests in order. Once :attr:`broken` it answers no more and has to be ended."""

    def __init__(self, process: ChildProcess) -> None:
        self._process = process
        self._requests = process.stdin
        self._answers = process.stdout
        self._turn = asyncio.Lock()
        self._owed = 1  # answers to come, those of abandoned requests included; the first says that the model is loaded
        self._failed = False
        self.served = False
        """Whether it has answered anything but that it is there."""

    @classmethod
    async def spawn(cls) -> Decoder:
        """Start a process. Raises :class:`~pipelines.errors.STTError` (``stt_broken``)."""
        # Run as a script: an import of our packages would cost time and memory in every child. "-P" keeps the folder of
        # the script, where this file hides the real pocketsphinx, off the child's path.
        command = (sys.executable, "-P", pocketsphinx_process.__file__)
        try:
            process = await ChildProcess.start(command, longest_line=_LONGEST_ANSWER)
        except OSError as error:
            raise STTError("stt_broken", f"the recogniser's process cannot be started: {error}") from error
        CHILDREN.add(process, PocketSphinxRecognizer.name)
        return cls(process)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def broken(self) -> bool:
        """Whether it has ended, hangs, or has said what nobody understands."""
        return self._failed or self._process.returncode is not None

    async def gone(self) -> None:
        """Wait for the end of the process."""
        await self._process.wait()
        CHILDREN.discard(self._process)

    async def ready(self) -> None:
        """Wait until the model is loaded."""
        async with self._turn:
            await self._answer(LONGEST_LOAD_SECONDS)

    async def ask(self, kind: bytes, payload: bytes = b"") -> dict[str, Any]:
        """Send a request and return its answer. May be cancelled at any point and asked again.

        Raises :class:`~pipelines.errors.STTError`: ``stt_crashed``, ``stt_stuck``, ``stt_failed``.
        """
        async with self._turn:
            if self.broken:
                raise _crashed()
            with self._losses():
                self._requests.write(HEADER.pack(kind, len(payload)) + payload)
                self._owed += 1
            answer = await self._answer(LONGEST_SECONDS)
            self.served = True
            return answer

    async def _answer(self, longest: float) -> dict[str, Any]:
        """The last answer owed; those before it belong to requests that were abandoned."""
        line = b""
        with self._losses():
            while self._owed:
                line = await self._line(longest)
                if not line.endswith(b"\n"):
                    raise ConnectionResetError
                self._owed -= 1
            answer: dict[str, Any] = json.loads(line)
            if "error" in answer:
                raise STTError("stt_failed", f"the recogniser failed: {answer['error']}")
        return answer

    async def _line(self, longest: float) -> bytes:
        """The next line of its output; :class:`TimeoutError` when it does nothing, or goes on for too long."""
        done, waited = _work(self.pid), 0.0
        while True:
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self._requests.drain()
                    return await self._answers.readline()
            except TimeoutError:
                before, done = done, _work(self.pid)
                waited += STALL_SECONDS
                if waited >= longest or (done is not None and done == before):
                    raise

    @contextmanager
    def _losses(self) -> Iterator[None]:
        """What goes wrong with a process becomes a :class:`~pipelines.errors.STTError`; it is then broken."""
        try:
            yield
        except STTError:
            self._failed = True
            raise
        except TimeoutError:
            self._failed = True
            raise STTError("stt_stuck", "the recogniser's process does not answer") from None
        except (OSError, RuntimeError):  # uvloop raises RuntimeError for a pipe that it has closed
            self._failed = True
            raise _crashed() from None
        except ValueError as error:  # not JSON, or a line without end
            self._failed = True
            raise STTError("stt_failed", "the recogniser's process answers nonsense") from error

    async def end(self) -> None:
        """End the process, at once if it is broken and by force if need be, and wait until it has gone. Idempotent."""
        kindly, self._failed = not self.broken, True
        with only_logged("closing the recogniser's pipe"):
            self._requests.close()
        try:
            if kindly:
                async with asyncio.timeout(_FAREWELL):
                    await self.gone()
        except TimeoutError:
            pass
        finally:
            self._process.kill()
        await self.gone()
        async with self._turn:
            with suppress(OSError, RuntimeError):
                await self._answers.read()  # to the end, so that the loop closes the pipe
        with suppress(OSError, RuntimeError):
            await self._requests.wait_closed()


def _crashed() -> STTError:
    return STTError("stt_crashed", "the recogniser's process has ended unexpectedly")


def _work(pid: int) -> int | None:
    """Processor time that a process and its copies have had, in ticks; ``None`` where the system does not tell
    (proc(5))."""
    try:
        copies = [int(copy) for copy in Path(f"/proc/{pid}/task/{pid}/children").read_bytes().split()]
    except OSError:
        copies = []
    times = [_ticks(one) for one in (pid, *copies)]
    return None if times[0] is None else sum(one or 0 for one in times)


def _ticks(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[11]) + int(fields[12])  # user and system
    except (OSError, ValueError, IndexError):
        return None


_CHUNK = VAD_RATE
"""Samples of one request: a second, so that a backlog is decoded in steps that can be abandoned."""


_EVERYBODY = 1 << 30
"""Places, when nobody is to wait any more."""


class PocketSphinxRecognizer:
    """PocketSphinx as a :class:`~pipelines.interfaces.stt.SpeechToText`: at most ``processes`` utterances at a time.

    A decoder starts when it is first needed (about half a second) and takes the memory given in the documentation.
    Raises :class:`~pipelines.errors.STTError` (``stt_missing``) when the package is not installed.
    """

    name = "pocketsphinx"

    def __init__(self, processes: int) -> None:
        if find_spec("pocketsphinx") is None:
            raise STTError("stt_missing", "the embedded recogniser needs the package pocketsphinx")
        self.slots = Slots(processes)
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
        await self.slots.acquire()
        try:
            decoder = await self._lease()
        except BaseException:
            self.slots.release()
            raise
        return PocketSphinxRecognition(decoder, self._give_back)

    async def _lease(self) -> Decoder:
        while self._idle and not self._closed:
            decoder = self._idle.pop()
            try:
                await decoder.ask(RESET)
            except STTError as error:  # it was lost while nobody used it
                self._part_with(decoder)
                if error.code == "stt_stuck":  # the others likely are, too, and to find that out takes seconds for each
                    break
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
        """Have a process that ends leave the pool at once. For the last that was idle another one starts, so that the
        next utterance need not wait for it; not for one that ends before it has served anybody."""
        await decoder.gone()
        lost = decoder in self._idle
        self._part_with(decoder)
        if lost and decoder.served and not self._idle and not self._closed:
            with suppress(STTError):  # the next utterance will tell
                self._take_back(await self._start())

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
        if decoder.broken or self._closed or len(self._decoders) > self.slots.size:
            self._part_with(decoder)
        else:
            self._idle.append(decoder)

    def _give_back(self, decoder: Decoder) -> None:
        self._take_back(decoder)
        self.slots.release()

    def trim(self, processes: int) -> None:
        """Keep no more idle decoders than make so many with those at work."""
        while self._idle and len(self._decoders) > processes:
            self._part_with(self._idle[0])

    async def close(self) -> None:
        """End all processes; an utterance in progress fails, as does :meth:`open` from now on. Idempotent."""
        if not self._closed:
            self._closed = True
            self.slots.resize(_EVERYBODY)  # wakes whoever waits in open()
        for decoder in list(self._decoders):
            self._part_with(decoder)
        await asyncio.gather(*self._tasks)


class DecoderPool:
    """The decoders as a :class:`~pipelines.runtime.scaling.Pool`: begins with ``processes``, the most there may be."""

    name = PocketSphinxRecognizer.name
    cost = 60 << 20

    def __init__(self, recognizer: PocketSphinxRecognizer, processes: int) -> None:
        self.bounds = Bounds(1, processes)
        self._recognizer = recognizer

    @property
    def size(self) -> int:
        """Utterances at a time."""
        return self._recognizer.slots.size

    @property
    def waiting(self) -> int:
        """Utterances that wait for a decoder."""
        return self._recognizer.slots.waiting

    def work(self) -> Work:
        """What the decoders have done."""
        return self._recognizer.slots.work()

    async def resize(self, size: int) -> None:
        """One that is idle and too many ends; others when they are given back and fewer are asked for."""
        self._recognizer.slots.resize(size)
        self._recognizer.trim(size)


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


async def build(site: Site, found: Found) -> Built[PocketSphinxRecognizer]:
    """With a decoder that runs if it is needed now (see :data:`pipelines.engines.registry.Build`)."""
    engine = PocketSphinxRecognizer(processes=site.asked.processes)
    if found.now:
        await engine.warm()
    return Built(engine, pools=(DecoderPool(engine, site.asked.processes),))
