"""Where workers are forked from (``-m server.workers.processes.zygote``): it has loaded the code of all and no model.

What Python and the libraries make of their modules is some 130 MB, which the workers share until they write to it; and
a worker that takes the place of another need not load it again while the sessions of the others go on.

Only a process of one thread may be forked: locks that another thread held would stay locked for ever. So nothing is
loaded here that starts threads (onnxruntime, gRPC, models), and if there is a second one all the same, that is said and
nothing is forked. Linux only. Source: fork(2), and :pep:`703` on what CPython does not promise beside threads.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from pipelines.models.memory import few_heaps

MODULES = ("server.workers.main", "faster_whisper", "mediapipe.tasks.python.vision", "onnx")
"""What workers load by themselves and what starts no threads."""
LONGEST = 4096
"""Bytes of a message."""
Main = Callable[[], None]


def preload(names: Iterable[str]) -> list[str]:
    """Load modules; returns those that are not here or cannot be loaded: workers will say why, if they want them."""
    missing = []
    for name in names:
        try:
            if find_spec(name.partition(".")[0]) is None:
                missing.append(name)
            else:
                importlib.import_module(name)
        except Exception:  # noqa: BLE001 - whatever a library does at its import is not ours to judge here
            missing.append(name)
    return missing


def threads() -> int:
    """Of this process, those of C libraries included."""
    return len(os.listdir("/proc/self/task"))


class Zygote:
    """Forks a worker for every request that comes with its two pipes, and tells how each ended. ``main`` is what a
    worker does; it does not return."""

    def __init__(self, control: socket.socket, main: Main) -> None:
        self._control = control
        self._main = main

    def serve(self) -> None:
        """Until nobody asks any more."""
        signal.signal(signal.SIGCHLD, lambda number, frame: self._reap())
        self._tell(ready=True, threads=threads())
        while True:
            message, pipes, _, _ = socket.recv_fds(self._control, LONGEST, 2)
            if not message:
                return
            if len(pipes) == 2:
                self._fork(pipes)
            for pipe in pipes:
                os.close(pipe)

    def _fork(self, pipes: Sequence[int]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # first who it is, then that it has ended
        try:
            pid = os.fork()
            if pid == 0:
                self._become_worker(pipes)
            self._tell(pid=pid)
        except OSError as error:
            self._tell(problem=str(error))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _become_worker(self, pipes: Sequence[int]) -> None:
        status = 1
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            self._control.close()
            os.dup2(pipes[0], 0)
            os.dup2(pipes[1], 1)
            for pipe in pipes:
                os.close(pipe)
            _shuffle()
            self._main()
            status = 0
        except BaseException:  # noqa: BLE001 - it must not unwind into the loop of the zygote
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)  # never back into the loop of the zygote

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._tell(pid=pid, status=os.waitstatus_to_exitcode(status))

    def _tell(self, **fields: object) -> None:
        with suppress(OSError):
            self._control.sendall(json.dumps(fields).encode() + b"\n")


def _shuffle() -> None:
    """What forked processes would draw alike. Python's own generator sees to that by itself."""
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()
    if (torch := sys.modules.get("torch")) is not None:
        torch.seed()


def run(modules: Sequence[str], name: str) -> None:
    """Load ``modules`` and fork workers that call ``main`` of the module ``name``."""
    for number in (signal.SIGINT, signal.SIGHUP):  # meant for the front
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=os.dup(0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    os.close(nowhere)
    few_heaps()  # which workers inherit
    preload(modules)
    gc.collect()
    gc.freeze()  # a collection would write to every object, and nothing would be shared any more
    Zygote(control, importlib.import_module(name).main).serve()


def is_possible() -> bool:
    """Whether workers can be forked here."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open") and Path("/proc/self/task").is_dir()


if __name__ == "__main__":
    run(MODULES, sys.argv[1] if len(sys.argv) > 1 else "server.workers.main")
