"""The terminal, file or pipe that a server's log goes to, written by a thread: nobody else waits for it, or notes that
it cannot be written.

A terminal is stopped (Ctrl-S), the reader of a pipe hangs, a disk is full: where the event loop writes by itself, the
first two stop every call, and the last one raises in the midst of whatever had something to tell.
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, TextIO, cast

from rich.console import Console

MOST_BYTES = 1 << 18
"""That may wait to be written; what comes then is lost, and counted."""
END_SECONDS = 1.0
"""At the end, for what still waits."""
_LOOK_SECONDS = 1.0


class Output(io.TextIOBase):
    """Takes text at once and writes it to the descriptor of ``file``, until :meth:`finish`. Any thread may write."""

    def __init__(self, file: TextIO) -> None:
        file.flush()
        self._descriptor = file.fileno()
        self._encoding = getattr(file, "encoding", None) or "utf-8"
        self._terminal = file.isatty()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        """Pieces of text that were not written, since the last that waits or was."""
        self._ending = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute
        """Of the file."""
        return self._encoding

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._terminal

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str, /) -> int:
        """Have ``text`` written, unless too much waits."""
        data = text.encode(self._encoding, "backslashreplace")
        with self._changed:
            if self._bytes + len(data) > MOST_BYTES or self._ending:
                self._lost += 1
            elif data:
                if self._lost:
                    data = f"({self._lost} pieces of the log are lost before this)\n".encode() + data
                    self._lost = 0
                self._waiting.append(data)
                self._bytes += len(data)
                self._changed.notify_all()
        return len(text)

    def finish(self, seconds: float = END_SECONDS) -> None:
        """Write what waits, for so long at most, and nothing from then on. Idempotent."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ending:
                    self._changed.wait()
                if not self._waiting:
                    return
                data = self._waiting[0]
            written = self._put(data)
            with self._changed:
                self._bytes -= len(self._waiting.popleft())
                self._lost += not written

    def _put(self, data: bytes) -> bool:
        """Whether it could be written."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody who shares the terminal has made it so
                select.select([], [self._descriptor], [], _LOOK_SECONDS)
            except BrokenPipeError:  # who read it has left: what else writes there by itself has nobody either
                with suppress(OSError):
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nowhere, self._descriptor)
                    os.close(nowhere)
                return False
            except OSError:
                return False
        return True


@contextmanager
def written_aside(console: Console) -> Iterator[None]:
    """What ``console`` prints is written by a thread of its own, where it has a descriptor to be written to."""
    file: Any = console.file
    try:
        file.fileno()
    except (OSError, AttributeError):  # in memory
        yield
        return
    if sys.platform == "win32":  # whose terminals are written to in other ways
        yield
        return
    output = Output(file)
    console.file = cast(IO[str], output)
    try:
        yield
    finally:
        console.file = file
        output.finish()
