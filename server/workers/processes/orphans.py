"""A worker whose front has been killed ends, even if its event loop hangs or is still loading."""

from __future__ import annotations

import os
import select
import threading
import time

from pipelines.runtime.child_process import CHILDREN

_LOOK_SECONDS = 0.5


def end_with_front(descriptor: int, seconds: float) -> None:
    """End this process so long after the other end of this pipe was closed: by itself it ends sooner.

    A thread of its own sees to it, which needs the interpreter for an instant only.
    """
    threading.Thread(target=_watch, args=(descriptor, seconds), name="orphan", daemon=True).start()


def _watch(descriptor: int, seconds: float) -> None:
    poll = select.poll()
    poll.register(descriptor, 0)  # nothing but POLLHUP and POLLERR, which are always told
    while not poll.poll():
        time.sleep(_LOOK_SECONDS)
    time.sleep(seconds)
    CHILDREN.end()
    os._exit(1)
