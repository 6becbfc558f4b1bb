"""The modules of LiteRT's models as a pool that grows and shrinks: how many of one model there may be."""

from __future__ import annotations

from pipelines.engines.litert.modules import LiteRtLoader
from pipelines.runtime.crew import Work
from pipelines.runtime.scaling import Bounds
from pipelines.runtime.worker import Worker


class LiteRtPool:
    """Implements :class:`pipelines.runtime.scaling.Pool`: begins with the most that the settings allow."""

    name = "litert"
    waiting = 0
    """Whatever waits is told with the work: requests of one batch that were computed after others."""
    cost = 60 << 20

    def __init__(self, loader: LiteRtLoader) -> None:
        self.bounds = Bounds(1, loader.options.modules)
        self._loader = loader

    @property
    def size(self) -> int:
        """Modules of one model."""
        return self._loader.waves.most

    def work(self) -> Work:
        """Of all models."""
        return self._loader.waves.work()

    async def resize(self, size: int) -> None:
        """Others start when they are needed; those that are too many end now."""
        self._loader.waves.most = size
        worker = Worker("litert-pool")
        try:
            await worker.run(self._loader.trim)
        finally:
            worker.close()
