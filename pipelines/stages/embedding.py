"""``embedding``: the vector of each unit of text (task ``feature-extraction``)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from pipelines.execution.work import Work
from pipelines.interfaces.task import TaskRunner
from pipelines.routing.items import Data, Flow
from pipelines.routing.stage_types import Embedding
from pipelines.stages.units import units

TASK = "feature-extraction"


async def embed(work: Work) -> Flow:
    """Run the stage."""
    options = work.options(Embedding)
    parameters = {name: value for name, value in options.model_dump().items() if value is not None}
    runner = work.engines.task(work.pipeline, work.stage, TASK)
    async with aclosing(units(work)) as texts:
        async for text in texts:
            vector = await _first(work, text.text, partial(_vector, runner, text.text, parameters))
            value: dict[str, Any] = {"text": text.text, "embedding": vector, "dimensions": len(vector)}
            if text.start is not None:
                value["start"] = text.start
            yield Data(value)


async def _first(work: Work, text: str, make: Any) -> list[float]:
    async with aclosing(work.replayed(text, make)) as vectors:
        return await anext(vectors)


async def _vector(runner: TaskRunner, text: str, parameters: dict[str, Any]) -> AsyncGenerator[list[float]]:
    done = await runner.run({"text": text}, parameters)
    vector = done.output
    while len(vector) and isinstance(vector[0], list | tuple):  # of one text, in a list of texts
        vector = vector[0]
    yield [float(value) for value in vector]
