"""Tasks and detectors behind a policy."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from pipelines.errors import foreign_errors, guarded
from pipelines.interfaces.task import CALLERS_FAULT, Done, TaskError, TaskRunner, Tasks
from pipelines.routing import run
from pipelines.routing.policy import hedge_after
from pipelines.routing.routes.attempts import Attempt
from pipelines.routing.routes.racing import pumped
from pipelines.routing.routes.route import Route


class TaskEngine:
    """A task with one model, as a route asks it."""

    def __init__(self, name: str, runner: TaskRunner) -> None:
        self.name = name
        self.runner = runner

    async def close(self) -> None:
        """The model is its owner's to close."""


class CurrentRunner:
    """A task with a model as it is here when it is run: a runner that is kept would keep the revision of its day.

    A :class:`~pipelines.interfaces.task.TaskRunner`; it also raises what :meth:`Tasks.runner` does.
    """

    def __init__(self, tasks: Tasks, task: str, model: str) -> None:
        self._tasks = tasks
        self._task = task
        self._model = model

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        """The result of one item."""
        return await self._tasks.runner(self._task, self._model).run(inputs, parameters)

    async def stream(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Any, None]:
        """Pieces of the result, then the whole."""
        async with aclosing(self._tasks.runner(self._task, self._model).stream(inputs, parameters)) as pieces:
            async for piece in pieces:
                yield piece


class RoutedTask(Route[TaskEngine]):
    """A task as the policy orders who does it, a :class:`~pipelines.interfaces.task.TaskRunner` itself.

    Usable is a result, of a stream its first piece; how sure it is no task tells.
    """

    errors = (TaskError, "task_failed")
    callers_fault = CALLERS_FAULT

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        """The result of the first that has one. Raises what the last one raised."""

        async def begun(attempt: Attempt[TaskEngine]) -> Done:
            with foreign_errors(*self.errors, attempt.engine.name):
                return await attempt.engine.runner.run(inputs, parameters)

        attempt, done = await self.obtain(self.attempts(), begun, _nothing)
        attempt.worked()
        return done

    async def stream(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Any, None]:
        """Pieces of the first that gives one; after that nobody else is asked. Raises what the last one raised."""

        async def begun(attempt: Attempt[TaskEngine]) -> tuple[list[Any], AsyncGenerator[Any, None]]:
            engine = attempt.engine
            stream = guarded(lambda: engine.runner.stream(inputs, parameters), *self.errors, engine.name)
            if hedge_after(self.need, run.wishes.get()) is not None:
                stream = pumped(stream)
            try:
                async for piece in stream:
                    return [piece], stream
            except BaseException:
                await stream.aclose()
                raise
            return [], stream

        async def end(value: tuple[list[Any], AsyncGenerator[Any, None]]) -> None:
            await value[1].aclose()

        attempt, (first, rest) = await self.obtain(self.attempts(), begun, end)
        async with aclosing(rest):
            with attempt:
                attempt.commit()
                for piece in first:
                    yield piece
                async for piece in rest:
                    yield piece


async def _nothing(value: object) -> None:
    pass
