"""Memory that models take for as long as somebody refers to them."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from pipelines.models.memory import MIB


class Weights:
    """A model of a certain size."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.unloaded = False
        """Whether somebody was told to unload it."""


class Heap:
    """Implements :class:`pipelines.models.memory.Memory`; sizes in MiB. What nobody refers to is free at once."""

    def __init__(self, total: int = 1000, used: int = 100) -> None:
        self._total = total * MIB
        self._other = used * MIB
        self._live: weakref.WeakSet[Weights] = weakref.WeakSet()
        self.trims = 0

    def used(self, device: str) -> int:
        return self._other + sum(weights.size for weights in self._live)

    def free(self, device: str) -> int:
        return self._total - self.used(device)

    def trim(self) -> None:
        self.trims += 1

    def allocate(self, mib: int) -> Weights:
        """Raises what torch raises when there is not so much."""
        if mib * MIB > self.free("cpu"):
            raise RuntimeError(f"DefaultCPUAllocator: can't allocate memory: you tried to allocate {mib * MIB} bytes")
        weights = Weights(mib * MIB)
        self._live.add(weights)
        return weights

    def loader(self, mib: int) -> Callable[[], Weights]:
        """A function that loads a model of that size."""
        return lambda: self.allocate(mib)
