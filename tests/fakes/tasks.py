"""Tasks that do as told, at the seam of :mod:`pipelines.interfaces.task`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, TaskError

Result = Any | PipelineError | Callable[[Mapping[str, Any]], Any]


@dataclass
class FakeRunner:
    """Gives ``result``, or what it makes of the inputs; an error is raised."""

    result: Result
    asked: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        self.asked.append((dict(inputs), dict(parameters or {})))
        if isinstance(self.result, PipelineError):
            raise self.result
        return Done(self.result(inputs) if callable(self.result) else self.result)

    async def stream(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Any, None]:
        yield await self.run(inputs, parameters)


class FakeTasks:
    """``FakeTasks(ocr={"text": "EXIT"})``; of other tasks it says that their model is not here."""

    def __init__(self, **results: Result) -> None:
        self.looked: list[str] = []
        self.runners = {name.replace("_", "-"): FakeRunner(result) for name, result in results.items()}

    def models(self, task: str) -> Sequence[str]:
        return (f"fake-{task}",) if task in self.runners else ()

    async def look(self, task: str) -> None:
        self.looked.append(task)

    def why_not(self, task: str) -> str:
        return "" if task in self.runners else f"no model for {task} is here"

    def runner(self, task: str, model: str = "auto") -> FakeRunner:
        if task not in self.runners:
            raise TaskError("model_not_here", self.why_not(task))
        return self.runners[task]
