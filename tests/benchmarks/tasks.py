"""How long tasks take: one by one, and many at once, with what their model takes of memory.

``python -m tests.benchmarks.tasks feature-extraction [--model ID] [--items 64] [--text …]``. Any registered task can be
named; its item is the text, or JSON given with ``--inputs``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from typing import Any

from rich.console import Console

from pipelines.models.memory import MIB
from pipelines.models.residency import Residency
from pipelines.tasks.runner import ModelRunner
from pipelines.tasks.service import TaskOptions, TaskService
from server.settings import load_settings
from server.stores import model_store

TEXT = "A cat sits on the mat and looks at the rain outside."


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="+", metavar="TASK")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--models", help="a folder with models")
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--text", default=TEXT)
    parser.add_argument("--inputs", type=json.loads, help="the item as a JSON object, instead of a text")
    parser.add_argument("--parameters", type=json.loads, default={})
    return parser.parse_args()


async def measured(runner: ModelRunner, item: dict[str, Any], given: argparse.Namespace) -> dict[str, float]:
    """Milliseconds and items per second; the first item, which loads the model, is apart."""
    runner = runner.afresh()
    begun = time.perf_counter()
    await runner.run(item, given.parameters)
    first = time.perf_counter() - begun
    alone = []
    for _ in range(given.items):
        begun = time.perf_counter()
        await runner.run(item, given.parameters)
        alone.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    await asyncio.gather(*(runner.run(item, given.parameters) for _ in range(given.items)))
    together = time.perf_counter() - begun
    return {
        "first ms": first * 1000,
        "median ms": statistics.median(alone) * 1000,
        "p95 ms": sorted(alone)[int(0.95 * (len(alone) - 1))] * 1000,
        "one by one /s": given.items / sum(alone),
        "batched /s": given.items / together,
    }


async def main() -> None:
    """Print a line for each task."""
    given, console = arguments(), Console()
    settings = load_settings({"models": given.models} if given.models else {})
    residency = Residency()
    tasks = TaskService(model_store(settings), residency, options=TaskOptions(settings.device))
    for task in given.tasks:
        if why := tasks.why_not(task):
            console.print(f"{task}: {why}")
            continue
        await tasks.look(task)
        runner = tasks.runner(task, given.model)
        item = given.inputs or {next(iter(tasks.spec(task).inputs.model_fields)): given.text}
        figures = await measured(runner, item, given)
        size = max((status.size for status in residency.status() if status.state == "ready"), default=0)
        told = ", ".join(f"{name} {value:.1f}" for name, value in figures.items())
        console.print(f"{task} by {runner.models[0].id}: {told}, memory {size // MIB} MiB")
    tasks.close()


if __name__ == "__main__":
    asyncio.run(main())
