"""Which models have to go: pure decisions over what is in memory. Times and sizes are passed in."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Usage(Generic[K]):
    """A model in memory."""

    key: K
    size: int
    """Bytes."""
    last_used: float
    """Monotonic seconds."""
    leases: int = 0
    """Computations that use it now; while there are any it stays."""


@dataclass(frozen=True, slots=True)
class Room:
    """What there is on one device. Bytes; ``None`` means unknown or unlimited."""

    budget: int | None = None
    """For all models together."""
    free: int | None = None
    """Of the machine's memory, beside what the models have."""


def idle(models: Iterable[Usage[K]], now: float, seconds: float) -> list[K]:
    """Those that nobody has used for so long."""
    return [model.key for model in models if not model.leases and now - model.last_used >= seconds]


def victims(models: Iterable[Usage[K]], need: int, room: Room) -> list[K] | None:
    """Whom to unload so that ``need`` more bytes fit: the least recently used, no more than it takes.

    ``None`` when it would not do to unload all that is not in use.
    """
    models = list(models)
    missing = 0
    if room.budget is not None:
        missing = sum(model.size for model in models) + need - room.budget
    if room.free is not None:
        missing = max(missing, need - room.free)
    chosen = []
    for model in sorted((m for m in models if not m.leases), key=lambda m: m.last_used):
        if missing <= 0:
            break
        chosen.append(model.key)
        missing -= model.size
    return chosen if missing <= 0 else None
