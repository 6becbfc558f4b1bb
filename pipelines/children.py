"""The child processes of this one, so that whoever ends it can end them with it.

A child that is asked over a pipe ends when the pipe does; one that downloads or starts a library would go on for
minutes after a server that was told to stop.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol


class Child(Protocol):
    """A process of :mod:`subprocess` or :mod:`pipelines.child_process`."""

    def kill(self) -> None:
        """End it by force."""
        ...


class Children:
    """Those that are running. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Child] = set()
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

    def add(self, child: Child) -> None:
        """``child`` has been started; one that starts too late ends at once."""
        with self._lock:
            if not self._ended:
                self._running.add(child)
                return
        _kill(child)

    def discard(self, child: Child) -> None:
        """``child`` has ended, or is being ended by its owner."""
        with self._lock:
            self._running.discard(child)

    def end(self) -> None:
        """End all of them, and those that start from now on. Does not wait."""
        with self._lock:
            self._ended = True
            running, self._running = self._running, set()
        for child in running:
            _kill(child)


def _kill(child: Child) -> None:
    with suppress(ProcessLookupError):
        child.kill()


CHILDREN = Children()
"""Of this process."""
