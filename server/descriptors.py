"""The file descriptors of this process: as many as the system gives, and some kept for calls that are under way.

A process without descriptors accepts and drops every connection, and opens no socket for a call that was let in.
"""

from __future__ import annotations

import os
import sys

_MOST = 65_536
"""More are never needed, and some systems name no number."""
_LEAST_RESERVE = 32


class Descriptors:
    """How near the limit is. Numbers are given out from the lowest free one, so a high number tells of many in use."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._reserve = max(_LEAST_RESERVE, min(limit // 8, 256))

    def short(self, descriptor: int) -> bool:
        """Whether a descriptor that was just given out comes from the reserve."""
        return descriptor >= self._limit - self._reserve

    @property
    def all_taken(self) -> bool:
        """Whether the next one would come from the reserve."""
        try:
            descriptor = os.dup(2)
        except OSError:
            return True
        os.close(descriptor)
        return self.short(descriptor)


def own_descriptors() -> Descriptors:
    """Those of this process, with the limit raised as far as it may raise it itself."""
    if sys.platform == "win32":
        return Descriptors(_MOST)
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS has a lower limit than it says
            wanted = soft
    elif soft != resource.RLIM_INFINITY:
        wanted = soft
    return Descriptors(wanted)
