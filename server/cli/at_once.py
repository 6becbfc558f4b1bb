"""Signals that end the process where it is, while it has begun nothing that it would have to give back.

Imports next to nothing: whoever wants to be ended quietly while Python imports cannot wait for imports first.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that ask a process to end."""


@contextmanager
def ended_at_once() -> Iterator[None]:
    """In this block SIGINT, SIGTERM and SIGHUP end the process with 128 + their number and not a word.

    An exception in the middle of an import would be told with a traceback, or be lost where none can be raised. What
    the process was told to ignore stays ignored. For the main thread.
    """

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(128 + number)

    numbers = [number for number in NUMBERS if signal.getsignal(number) != signal.SIG_IGN]
    before = [(number, signal.signal(number, end)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
