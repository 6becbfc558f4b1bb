"""How many workers a machine has room for. Pure but for what it reads of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MIB = 1 << 20
WORKER_MIB = 550
"""Memory of one worker with the engines of ``auto`` on a processor (Whisper base, Moonshine, Piper, vision): PSS on
Linux x86-64, rounded up; llama.cpp and code are shared and not among them."""
SPARE_MIB = 1536
"""Left to the system, the front, the code that workers share and llama.cpp."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many, and why."""

    workers: int
    reason: str


def count_for(wanted: int | Literal["auto"], cores: int, free_mib: int | None) -> Count:
    """``wanted`` as it is, or as many as processors and memory allow. ``free_mib``: ``None`` where it is not known."""
    if wanted != "auto":
        return Count(wanted, "as asked")
    by_memory = cores if free_mib is None else max(1, (free_mib - SPARE_MIB) // WORKER_MIB)
    if by_memory < cores:
        return Count(by_memory, f"{free_mib} MiB of memory are free, {WORKER_MIB} for each")
    return Count(max(1, cores), f"one for each of {cores} processors")
