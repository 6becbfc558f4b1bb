"""Keeps MediaPipe from reporting to its maker.

The 1.x wheels post usage metrics to Google whenever a detector is closed; there is no option against it, and whoever
runs the server would have to ask all users for consent (see the privacy notice in the wheel's metadata, and
google-ai-edge/mediapipe#6291). visavis promises that nothing leaves the machine, so the address that the library posts
to is overwritten in this process's memory with one that no transport serves: the attempt then ends before a socket is
opened or a name looked up. It also keeps closing a detector from waiting for a network that drops packets.
"""

from __future__ import annotations

import mmap
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import IO, TypeVar

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


_ADDRESS = b"https://play.googleapis.com/log"
_NOWHERE = b"off://".ljust(len(_ADDRESS), b"-")  # as long as the original: the length is compiled in
_PROCESS = Path("/proc/self")
REPORTS = (
    "MediaPipe reports to its maker how it is used whenever a detector is closed: it could not be disconnected on this "
    "system; block play.googleapis.com, or switch vision off (VISAVIS_VISION=false)"
)
"""What to tell where that fails."""


def stop_reports() -> bool:
    """Disconnect the library (loading it, if need be); whether that worked. It does on Linux with the wheels of 1.2.

    Raises ``OSError`` when the library cannot be loaded.
    """
    from mediapipe.tasks.python.core import mediapipe_c_bindings

    mediapipe_c_bindings.load_raw_library()
    library = Path(str(resources.files("mediapipe.tasks.c") / "libmediapipe.so"))
    try:
        places = _places(library)
        with (_PROCESS / "mem").open("r+b", buffering=0) as memory:  # reaches read-only pages, in this process only
            for place in places:
                memory.seek(place)
                memory.write(_NOWHERE)
    except OSError:  # not Linux, or one that is locked down
        return False
    return bool(places)


def _places(library: Path) -> list[int]:
    """Where in memory the loaded library keeps the address."""
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        offsets = []
        found = content.find(_ADDRESS)
        while found >= 0:
            offsets.append(found)
            found = content.find(_ADDRESS, found + 1)
    places = []
    for line in (_PROCESS / "maps").read_text().splitlines():
        span, access, start, _, _, *path = line.split(maxsplit=5)
        if path == [str(library.resolve())] and access.startswith("r-"):
            first, last = (int(edge, 16) for edge in span.split("-"))
            shift = first - int(start, 16)
            places += [shift + offset for offset in offsets if first <= shift + offset < last]
    return places
