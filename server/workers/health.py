"""Whether a worker is well: it tells of itself four times a second, and its memory can be looked at. Pure apart from
that."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from server.workers.board import Seat

QUIET_SECONDS = 3.0
"""A worker that has told nothing for so long hangs: its sessions hear nothing, and are asked to go on elsewhere."""
DEAD_SECONDS = 10.0
"""And then it is ended by force."""
STARTING_SECONDS = 120.0
"""And one that does not serve yet: it tells twice a second that it still starts, unless what it imports keeps the
interpreter to itself."""
ASLEEP_SECONDS = 1.0
"""Whoever looks so much too late was asleep itself, and cannot tell."""
MEMORY_SECONDS = 5.0
"""Between looks at the memory."""
YOUNG_SECONDS = 60.0
"""A worker is not replaced sooner for its memory: a limit that is too low would replace one after another."""

Finding = Literal["well", "quiet", "dead", "large"]


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen of a worker."""

    quiet: float
    """Seconds since it told something."""
    age: float
    """Seconds since it serves."""
    memory_mib: int | None = None
    """Of its own; ``None``: not known, or not looked at."""


def judge(seat: Seat, looked: Looked, most_mib: int | None) -> Finding:
    """What is to be done about a worker. ``most_mib``: what one may take."""
    if seat.state == "starting" and looked.quiet >= STARTING_SECONDS:
        return "dead"
    if seat.state in ("ready", "leaving", "quiet"):
        if looked.quiet >= DEAD_SECONDS:
            return "dead"
        if looked.quiet >= QUIET_SECONDS:
            return "quiet"
    large = most_mib is not None and looked.memory_mib is not None and looked.memory_mib > most_mib
    if seat.state == "ready" and large and looked.age >= YOUNG_SECONDS:
        return "large"
    return "well"


def memory_of(pid: int, root: Path = Path("/proc")) -> int | None:
    """MiB that a process does not share with files or others' mappings; ``None`` where the system does not tell."""
    try:
        pages = (root / str(pid) / "statm").read_text().split()
        return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") >> 20
    except (OSError, ValueError, IndexError):
        return None
