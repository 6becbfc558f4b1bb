"""What the residency of models is told and tells, and which models it unloads. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar, get_args

from pipelines.models.memory import MIB

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

Key = tuple[str, str, str]
"""Name, precision and device."""
State = Literal["unloaded", "loading", "ready", "unloading"]
Transition = Literal["loading", "ready", "idle_unloaded", "evicted", "out_of_memory", "failed"]
TRANSITIONS: tuple[Transition, ...] = get_args(Transition)


@dataclass(frozen=True, slots=True)
class Loadable(Generic[T]):
    """How a model comes into memory. The functions block and are called on the thread that takes the lease."""

    name: str
    load: Callable[[], T]
    warm_up: Callable[[T], object] | None = None
    """A first computation: what is mapped from a file takes its memory only then, and no caller waits for it."""
    unload: Callable[[T], object] | None = None
    """For models that own threads or processes; dropping the last reference is enough for the others."""
    precision: str = ""
    device: str = "cpu"
    estimate: int = 0
    """Bytes that it will take, until that has been measured; 0 if unknown (then it is always tried)."""
    version: str = ""
    """Which of its versions this loads; another one takes the place of what is known by the key."""

    @property
    def key(self) -> Key:
        """Models that agree in it are the same."""
        return self.name, self.precision, self.device


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """A model has changed its state."""

    model: str
    transition: Transition
    precision: str = ""
    device: str = "cpu"
    seconds: float = 0.0
    """What loading and warming up took (``ready``)."""
    size: int = 0
    """Bytes that it takes (``ready``) or gave back (``idle_unloaded``, ``evicted``)."""
    message: str = ""
    """Why (``out_of_memory``, ``failed``)."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model as it is now."""

    name: str
    state: State
    precision: str
    device: str
    size: int
    """Bytes that it takes, or would take (measured once it has been loaded, before that the estimate)."""
    leases: int
    loads: int
    load_seconds: float
    """All loads together."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What residency may take."""

    budgets: Mapping[str, int] = field(default_factory=dict)
    """Device → bytes for all its models; a device that is not named has what the machine has."""
    idle_seconds: float | None = 600.0
    """A model that nobody has used for so long is unloaded; ``None``: never."""
    headroom: int = 128 * MIB
    """Bytes of the machine's memory to leave free: a process that takes the last of it is killed, not told."""


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
