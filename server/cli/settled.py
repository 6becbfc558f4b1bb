"""What a process does with its memory once everything is loaded, and before anybody talks to it."""

from __future__ import annotations

import gc

from pipelines.models.memory import trim_heap


def settle_memory() -> None:
    """Give back what loading has left behind, and look no more at what stays.

    Models are read, unpacked and converted; the C library keeps what that took for itself: some 240 MB of 740 with the
    engines that come by themselves. Collections that look at everything would hold up everybody's audio.
    """
    gc.collect()
    gc.freeze()
    gc.collect()
    trim_heap()
