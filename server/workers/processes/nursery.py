"""Starts worker processes: forked from a zygote where that is possible, each by itself elsewhere."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from pipelines.runtime.child_process import CHILDREN, ChildProcess, read_end, write_end
from server.workers.messages import LONGEST_LINE
from server.workers.processes.zygote import is_possible

log = logging.getLogger(__name__)

READY_SECONDS = 180.0
"""For the zygote to load what workers need."""
FORK_SECONDS = 5.0
STATUS_SECONDS = 1.0
"""Within which the zygote tells how a worker ended."""
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""NumPy would begin others when it is imported, and nothing could be forked."""
UNKNOWN_STATUS = 255
"""Of a worker whose zygote has ended, too."""


class Child(Protocol):
    """A worker's process."""

    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    def signal(self, number: int) -> None:
        """Send it a signal; one that has ended gets none."""
        ...

    def kill(self) -> None:
        """End it by force."""
        ...

    async def wait(self) -> int:
        """Wait for its end; returns its exit status, or minus the signal."""
        ...


class Nursery(Protocol):
    """Where processes come from."""

    async def start(self) -> Child:
        """Another one. Raises :class:`OSError`."""
        ...

    async def close(self) -> None:
        """No more are wanted. Idempotent."""
        ...


class Spawning:
    """Starts each by itself. Implements :class:`Nursery`."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command

    async def start(self) -> Child:
        """Another one. Raises :class:`OSError`."""
        return await ChildProcess.start(self._command, longest_line=LONGEST_LINE)

    async def close(self) -> None:
        """Nothing is kept."""


class Forking:
    """Forks them from a zygote, which is started when the first is wanted, and again when it has ended. Where nothing
    can be forked ``other`` starts them. Implements :class:`Nursery`."""

    def __init__(self, command: Sequence[str], other: Nursery) -> None:
        self._command = command
        self._other = other
        self._zygote: _Zygote | None = None
        self._possible = is_possible()
        self._one = asyncio.Lock()

    async def start(self) -> Child:
        """Another one. Raises :class:`OSError`."""
        async with self._one:
            if self._possible:
                try:
                    return await self._forked()
                except (OSError, TimeoutError, ValueError) as error:
                    log.warning("workers cannot be forked (%s): this one loads everything by itself", error)
                    await self._let_go()
        return await self._other.start()

    async def close(self) -> None:
        """End the zygote. Idempotent."""
        await self._let_go()

    async def _forked(self) -> Child:
        if self._zygote is None or not self._zygote.alive:
            await self._let_go()
            self._zygote = await _Zygote.start(self._command)
            if (count := await self._zygote.ready()) > 1:
                self._possible = False
                raise ValueError(f"the process to be forked has {count} threads")
        return await self._zygote.fork()

    async def _let_go(self) -> None:
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            await zygote.close()


class _Zygote:
    """The zygote as the front has it."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        control: socket.socket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._control = control
        self._writer = writer
        self._forks: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._children: dict[int, ForkedChild] = {}
        self._reading = asyncio.create_task(self._read(reader), name="zygote")
        CHILDREN.add(process)

    @classmethod
    async def start(cls, command: Sequence[str]) -> _Zygote:
        """Start the process. Raises :class:`OSError`."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with its:
            try:
                process = _popen(command, its)
            except OSError:
                ours.close()
                raise
        sending = ours.dup()
        return cls(process, sending, *await asyncio.open_connection(sock=ours))

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._reading.done() and self._process.poll() is None

    async def ready(self) -> int:
        """Wait until it has loaded everything; returns how many threads it has."""
        async with asyncio.timeout(READY_SECONDS):
            return await asyncio.shield(self._ready)

    async def fork(self) -> ForkedChild:
        """Another worker. Raises :class:`OSError`, :class:`TimeoutError`."""
        inner_in, outer_in = os.pipe()
        try:
            outer_out, inner_out = os.pipe()
        except OSError:
            os.close(inner_in)
            os.close(outer_in)
            raise
        try:
            socket.send_fds(self._control, [b"fork"], [inner_in, inner_out])
        except OSError:
            os.close(outer_in)
            os.close(outer_out)
            raise
        finally:
            os.close(inner_in)
            os.close(inner_out)
        try:
            async with asyncio.timeout(FORK_SECONDS):
                told = await self._forks.get()
            if "pid" not in told:
                raise OSError(told.get("problem", "it has ended"))
        except BaseException:
            os.close(outer_in)
            os.close(outer_out)
            raise
        child = self._children[told["pid"]] = await ForkedChild.of(told["pid"], outer_in, outer_out)
        return child

    async def close(self) -> None:
        """End it; its children go on. Idempotent."""
        self._control.close()
        self._writer.close()
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        CHILDREN.discard(self._process)
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while text := await reader.readline():
                told = json.loads(text)
                if "ready" in told:
                    self._ready.set_result(told["threads"])
                elif "status" in told:
                    if (child := self._children.pop(told["pid"], None)) is not None:
                        child.ended_with(told["status"])
                else:
                    self._forks.put_nowait(told)
        finally:
            self._forks.put_nowait({"problem": "it has ended"})
            if not self._ready.done():
                self._ready.set_exception(OSError("it has ended"))
                self._ready.exception()


def _popen(command: Sequence[str], control: socket.socket) -> subprocess.Popen[bytes]:
    """By vfork(2), as in :mod:`pipelines.runtime.child_process`."""
    return subprocess.Popen(command, stdin=control.fileno(), stdout=subprocess.DEVNULL, env=_ONE_THREAD | os.environ)


class ForkedChild:
    """A worker that is no child of this process. Implements :class:`Child`."""

    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader

    def __init__(self, pid: int, handle: int) -> None:
        self._pid = pid
        self._handle = handle
        self._gone = asyncio.Event()
        self._told = asyncio.Event()
        self._status = UNKNOWN_STATUS
        asyncio.get_running_loop().add_reader(handle, self._has_ended)

    @classmethod
    async def of(cls, pid: int, stdin: int, stdout: int) -> ForkedChild:
        """The process of that number, with our ends of its pipes. Raises :class:`OSError` for one that is gone."""
        try:
            self = cls(pid, os.pidfd_open(pid))
        except OSError:
            os.close(stdin)
            os.close(stdout)
            raise
        CHILDREN.add(self)
        self.stdin = await write_end(os.fdopen(stdin, "wb", buffering=0))
        self.stdout = await read_end(os.fdopen(stdout, "rb", buffering=0), LONGEST_LINE)
        return self

    @property
    def pid(self) -> int:
        """Its number."""
        return self._pid

    def signal(self, number: int) -> None:
        """Send it a signal; one that has ended gets none, nor does another that has its number now."""
        if not self._gone.is_set():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """End it by force."""
        self.signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for its end; returns its exit status."""
        await self._gone.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(STATUS_SECONDS):
                await self._told.wait()
        return self._status

    def ended_with(self, status: int) -> None:
        """What its parent says of its end."""
        self._status = status
        self._told.set()

    def _has_ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        self._gone.set()
        self.stdin.close()
        CHILDREN.discard(self)


def nursery() -> Nursery:
    """The best of this system, for real workers."""
    zygote = (sys.executable, "-m", "server.workers.processes.zygote")
    return Forking(zygote, Spawning((sys.executable, "-m", "server.workers.main")))
