"""What a process does with its memory: once everything is loaded, and about what its sessions leave behind.

Objects of a call refer to each other in circles (transports and their connection, tasks and the error that ended them),
so that Python frees them only when it looks for such circles. By itself it does so after minutes: by then there are a
hundred thousand objects with codecs and TLS contexts behind them, and everybody's sound stands still for more than
100 ms. Looked for after a few calls each time it is some tens of milliseconds at most.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Sized
from typing import Protocol

from media.clock import Clock
from pipelines.models.memory import trim_heap

TIDY_SECONDS = 10.0
"""Between looks at how many sessions have ended."""
LEFT_BEHIND = 4
"""Sessions whose objects are freed together while others go on."""


def settle_memory() -> None:
    """Give back what loading has left behind, and look no more at what stays; before anybody talks to the process.

    Models are read, unpacked and converted; the C library keeps what that took for itself: some 240 MB of 740 with the
    engines that come by themselves. Collections that look at everything would hold up everybody's audio.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # the next one is due when a quarter more has come than this one leaves: not counting what is frozen
    trim_heap()


class Sessions(Sized, Protocol):
    """Those of a process: how many there are now, and :attr:`begun` since its start."""

    begun: int


async def keep_tidy(
    sessions: Sessions,
    clock: Clock,
    give_back: Callable[[], Awaitable[object]],
    collect: Callable[[], object] = gc.collect,
) -> None:
    """Until cancelled: ``collect`` what some sessions have left behind, and once the last one has ended, ``give_back``
    to the system what was freed.

    glibc keeps it otherwise: tens of megabytes after hundreds of calls with cameras. With nobody here it costs nobody
    a moment.
    """
    collected = tidied = 0
    while True:
        await clock.sleep(TIDY_SECONDS)
        ended, empty = sessions.begun - len(sessions), not len(sessions)
        if ended - collected >= (1 if empty else LEFT_BEHIND):
            collected = ended
            collect()
        if empty and sessions.begun != tidied:
            tidied = sessions.begun
            await give_back()
