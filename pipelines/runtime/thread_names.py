"""What the operating system calls the threads of workers, and whose a thread of that name is."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

NAME_BYTES = 15
"""For which it has room."""
OF_LIBRARIES = {"drishti": "mediapipe"}
"""Names that libraries give the threads that they start."""

_workers: dict[str, set[str]] = {}
"""Names that do not fit, by what is left of them."""


def name_thread(name: str) -> None:
    """Tell the operating system whose thread this is, as far as it has room: threads that libraries start from here
    inherit it, so that what an engine costs can be told from the time of threads."""
    short = name.encode()[:NAME_BYTES]
    if len(name.encode()) > NAME_BYTES:
        _workers.setdefault(short.decode(errors="replace"), set()).add(name)
    with suppress(OSError):
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_bytes(short)


def owner(thread: str) -> str:
    """The worker or library whose thread is called so; the thread's own name where that is nobody's, or several's."""
    names = _workers.get(thread, set()) | {OF_LIBRARIES.get(thread, thread)}
    longer = sorted(names - {thread})
    return longer[0] if len(longer) == 1 else thread
