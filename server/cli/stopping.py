"""Signals that end the server: politely when it serves, at once while it still loads.

What loads or downloads runs on threads, in C libraries and in child processes; none of them can be asked to stop. So
the children are ended by force, and the process ends without waiting for its threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from typing import Any, NoReturn, TypeVar

from pipelines.runtime.child_process import CHILDREN
from server.cli.at_once import NUMBERS

T = TypeVar("T")

_IMPATIENT_SECONDS = 0.5
"""A second signal this long after the first asks for an end at once; sooner it may be the same one, sent twice (to the
process and to its group, as timeout(1) does)."""
_UNWIND_SECONDS = 0.5
"""What has been begun gets so long to give back what it holds."""


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set. A SIGHUP that the process was told to ignore (nohup) stays so."""
    loop = asyncio.get_running_loop()
    stop, told = asyncio.Event(), list[float]()
    numbers = [number for number in NUMBERS if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP]

    def ask() -> None:
        if told and loop.time() - told[0] >= _IMPATIENT_SECONDS:
            leave(1)
        told.append(loop.time())
        stop.set()

    for number in numbers:
        loop.add_signal_handler(number, ask)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What ``work`` returns or raises; ``None`` when ``stop`` came first, and what ``work`` had begun goes on."""
    task = asyncio.create_task(work, name="loading")
    stopped = asyncio.create_task(stop.wait(), name="stopped")
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            return task.result()
        task.cancel()
        await asyncio.wait({task}, timeout=_UNWIND_SECONDS)
        return None
    finally:
        stopped.cancel()


def end_on_signals() -> None:
    """From now on SIGTERM and SIGHUP end the process and its children as Ctrl-C does: with what Python does at its end.

    By itself Python dies of them at once and leaves the children to themselves.
    """

    def end(number: int, frame: object) -> NoReturn:
        CHILDREN.end()
        raise SystemExit(128 + number)

    for number in NUMBERS:
        if signal.getsignal(number) == signal.SIG_DFL:  # neither ignored (nohup) nor SIGINT, which Python handles
            signal.signal(number, end)


def leave(status: int) -> NoReturn:
    """End the process now, with its children and whatever its threads are at."""
    CHILDREN.end()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
