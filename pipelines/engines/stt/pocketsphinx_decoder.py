"""A PocketSphinx decoder in a child process, seen from the server: asked in order, and given up when it is lost."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipelines.engines.stt import pocketsphinx_process
from pipelines.engines.stt.pocketsphinx_process import HEADER
from pipelines.errors import STTError, only_logged
from pipelines.runtime.child_process import CHILDREN, ChildProcess

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
        CHILDREN.add(process)
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
            return await self._answer(LONGEST_SECONDS)

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
