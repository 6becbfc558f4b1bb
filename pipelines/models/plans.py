"""What the residency of models is told, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar, get_args

from pipelines.models.memory import MIB

T = TypeVar("T")

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
    """A model as the listing shows it."""

    name: str
    state: State
    precision: str
    device: str
    size: int
    """Bytes that it takes, or would take (measured once it has been loaded, before that the estimate)."""
    leases: int
    unused_seconds: float | None
    """Since its last use; ``None`` if it has not been used yet."""
    loads: int
    load_seconds: float
    """All loads together."""
    problem: str
    """Why the last attempt to load it failed; empty if it did not."""

    @property
    def mib(self) -> int:
        """``size`` for people, rounded up."""
        return -(-self.size // MIB)


@dataclass(frozen=True, slots=True)
class Limits:
    """What residency may take."""

    budgets: Mapping[str, int] = field(default_factory=dict)
    """Device → bytes for all its models; a device that is not named has what the machine has."""
    idle_seconds: float | None = 600.0
    """A model that nobody has used for so long is unloaded; ``None``: never."""
    headroom: int = 128 * MIB
    """Bytes of the machine's memory to leave free: a process that takes the last of it is killed, not told."""
