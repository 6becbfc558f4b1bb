"""Threads of a library that give way to those that listen and speak."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
NICENESS = 10
"""Added to the process's own: a tenth of what its other threads get while all processors are busy, and all of it while
they are not (``nice(1)``)."""
_NICEST = 19


def giving_way(start: Callable[[], T]) -> T:
    """Run ``start`` so that the threads it starts get processor time only where others leave some. Blocks.

    On Linux a thread has a niceness of its own, which those it starts inherit. One may not take it back, so ``start``
    runs on a thread that ends with it. Elsewhere ``start`` is just called. Never do this to threads that run Python:
    one that is put off while it holds the interpreter's lock holds up everybody.
    """
    if sys.platform != "linux":
        return start()
    done: Future[T] = Future()

    def run() -> None:
        with suppress(OSError):
            niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) + NICENESS
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(niceness, _NICEST))
        try:
            done.set_result(start())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            done.set_exception(error)

    thread = threading.Thread(target=run, name="giving-way")
    thread.start()
    thread.join()
    return done.result()
