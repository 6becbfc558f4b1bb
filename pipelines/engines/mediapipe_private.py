"""Keeps MediaPipe from reporting to its maker.

The 1.x wheels post usage metrics to Google whenever a detector is closed; there is no option against it, and whoever
runs the server would have to ask all users for consent (see the privacy notice in the wheel's metadata, and
google-ai-edge/mediapipe#6291). visavis promises that nothing leaves the machine, so the address that the library posts
to is overwritten in this process's memory with one that no transport serves: the attempt then ends before a socket is
opened or a name looked up. It also keeps closing a detector from waiting for a network that drops packets.
"""

from __future__ import annotations

import mmap
from importlib import resources
from pathlib import Path

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
