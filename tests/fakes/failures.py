"""Notes what a failover tells."""

from __future__ import annotations

from pipelines.errors import PipelineError


class Failures(list[tuple[str, str]]):
    """What was reported: name of the engine, code."""

    def __init__(self) -> None:
        super().__init__()
        self.mended: list[str] = []
        """Names of engines that were told to work again."""

    def __call__(self, name: str, error: PipelineError | None) -> None:
        if error is None:
            self.mended.append(name)
        else:
            self.append((name, error.code))
