"""A child process whose pipes belong to the event loop, started without running fork handlers in this process.

``asyncio.create_subprocess_exec`` starts children by fork(2) on uvloop, which runs the handlers that libraries have
registered with pthread_atfork(3) first. The one of OpenBLAS joins its threads, which never ends while another thread
is multiplying matrices: the event loop would stand still for ever. :class:`subprocess.Popen` uses vfork(2), which runs
none, and copies no page tables either.
"""

from __future__ import annotations

import asyncio
import errno
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol


class Child(Protocol):
    """A process of :mod:`subprocess` or :mod:`pipelines.runtime.child_process`."""

    @property
    def pid(self) -> int:
        """Its number in the operating system."""
        ...

    def kill(self) -> None:
        """End it by force."""
        ...


class Children:
    """Those that are running. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Child, str] = {}
        self._ended = False

    def run(
        self, command: Sequence[str], seconds: float, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """As :func:`subprocess.run` with captured text. Raises :class:`OSError`, :class:`subprocess.TimeoutExpired`."""
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
            self.add(process)
            try:
                output, errors = process.communicate(timeout=seconds)
            except BaseException:
                process.kill()
                raise
            finally:
                self.discard(process)
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def add(self, child: Child, engine: str = "") -> None:
        """``child`` has been started, for ``engine``; one that starts too late ends at once."""
        with self._lock:
            if not self._ended:
                self._running[child] = engine
                return
        _kill(child)

    def discard(self, child: Child) -> None:
        """``child`` has ended, or is being ended by its owner."""
        with self._lock:
            self._running.pop(child, None)

    def serving(self) -> dict[int, str]:
        """The number in the operating system of each that runs, and its engine; not of those that serve none."""
        with self._lock:
            return {child.pid: engine for child, engine in self._running.items() if engine}

    def end(self) -> None:
        """End all of them, and those that start from now on. Does not wait."""
        with self._lock:
            self._ended = True
            running, self._running = self._running, {}
        for child in running:
            _kill(child)


def _kill(child: Child) -> None:
    with suppress(ProcessLookupError):
        child.kill()


CHILDREN = Children()
"""Of this process."""


_LONGEST_LINE = 1 << 16
"""Bytes."""


class ChildProcess:
    """What :class:`asyncio.subprocess.Process` is. Implements :class:`pipelines.runtime.child_process.Child`."""

    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader | None = None

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._connected = False
        self._ended = asyncio.Event()

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        longest_line: int = _LONGEST_LINE,
        errors: bool = False,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> ChildProcess:
        """Start ``command`` with pipes for its input and output, and for its ``errors`` if they are wanted.

        It runs in ``folder`` with the variables of ``env``; without them, in ours with ours.

        Raises :class:`OSError`. Whoever fails or is cancelled here leaves no process behind.
        """
        self = cls(_popen(command, errors, env, folder))
        try:
            threading.Thread(target=self._watch, name=f"child {self.pid}", daemon=True).start()
        except RuntimeError as error:  # the system has no thread to spare, and nobody would see the end of the process
            with self._process:  # closes the pipes, and waits
                self.kill()
            raise OSError(errno.EAGAIN, f"no thread for a child process: {error}") from error
        connecting = asyncio.create_task(self._connect(longest_line), name="child-pipes")
        try:
            await asyncio.shield(connecting)
        except BaseException:
            self.kill()  # nobody else would end a process that nobody knows
            await asyncio.wait([connecting])
            await self.wait()
            raise
        return self

    @property
    def pid(self) -> int:
        """Its number in the operating system."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, or minus the signal that ended it; ``None`` while it runs."""
        return self._process.returncode

    def kill(self) -> None:
        """End it by force. Does nothing when it has ended."""
        self._process.kill()

    def signal(self, number: int) -> None:
        """Send it a signal. Does nothing when it has ended."""
        self._process.send_signal(number)

    async def wait(self) -> int:
        """Wait for its end; return :attr:`returncode`."""
        await self._ended.wait()
        return self._process.returncode

    async def _connect(self, longest_line: int) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        self.stdin = await write_end(process.stdin)
        self.stdout = await read_end(process.stdout, longest_line)
        if process.stderr is not None:
            self.stderr = await read_end(process.stderr, longest_line)
        self._connected = True
        if self._ended.is_set():
            self.stdin.close()

    def _watch(self) -> None:
        self._process.wait()
        with suppress(RuntimeError):  # the event loop has been closed
            self._loop.call_soon_threadsafe(self._on_end)

    def _on_end(self) -> None:
        self._ended.set()
        if self._connected:
            self.stdin.close()


async def write_end(pipe: IO[bytes]) -> asyncio.StreamWriter:
    """Our end of a pipe that a process reads."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), pipe
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


async def read_end(pipe: IO[bytes], longest_line: int) -> asyncio.StreamReader:
    """Our end of a pipe that a process writes; it is closed when that has."""
    reader = asyncio.StreamReader(limit=longest_line)
    await asyncio.get_running_loop().connect_read_pipe(lambda: _ReadingProtocol(reader), pipe)
    return reader


class _ReadingProtocol(asyncio.StreamReaderProtocol):
    """Lets the pipe close at its end."""

    def eof_received(self) -> bool:
        super().eof_received()
        return False


def _popen(
    command: Sequence[str], errors: bool, env: Mapping[str, str] | None, folder: Path | None
) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    errors_to = pipe if errors else None
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors_to, bufsize=0, env=env, cwd=folder)
