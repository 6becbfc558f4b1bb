"""Keeps known noise of C++ libraries off the terminal.

MediaPipe writes a dozen lines to file descriptor 2 whenever a detector is opened, and heeds neither
``GLOG_minloglevel`` nor ``TF_CPP_MIN_LOG_LEVEL`` (1.2.2), so the descriptor itself is held back for that moment.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_STDERR = 2

_lock = threading.Lock()
_holders = 0
_held: IO[bytes] | None = None
_terminal = -1


@contextmanager
def without_noise(noise: re.Pattern[bytes]) -> Iterator[None]:
    """Drop the lines on stderr that match ``noise``; all others, from whichever thread, appear when the block ends.

    Blocks may overlap in several threads. A process started meanwhile loses its stderr, so keep blocks short.
    """
    _hold()
    try:
        yield
    finally:
        _release(noise)


def _hold() -> None:
    global _holders, _held, _terminal
    with _lock:
        _holders += 1
        if _holders == 1:
            try:
                _terminal = os.dup(_STDERR)
            except OSError:  # a daemon without stderr has nothing to keep quiet
                return
            _held = tempfile.TemporaryFile()  # noqa: SIM115 - it lasts until the last holder is done
            os.dup2(_held.fileno(), _STDERR)


def _release(noise: re.Pattern[bytes]) -> None:
    global _holders, _held
    with _lock:
        _holders -= 1
        if _holders or _held is None:
            return
        os.dup2(_terminal, _STDERR)
        os.close(_terminal)
        _held.seek(0)
        kept = [line for line in _held if not noise.search(line)]
        _held.close()
        _held = None
    if kept:
        os.write(_STDERR, b"".join(kept))
