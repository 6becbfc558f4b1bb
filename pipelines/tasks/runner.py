"""One task with one model, or with whichever can: the order in which models and devices are asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import replace
from typing import Any, Protocol

from pipelines.errors import ModelError, PipelineError, foreign_errors
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.runtime.result_cache import ResultCache
from pipelines.tasks.batching import ModelWorker
from pipelines.tasks.model_folders import TaskModel

Spec = TaskSpec[Any, Any, Any]

NO_ROOM = frozenset(("out_of_memory", "does_not_fit"))
"""Codes after which another device is asked."""
USELESS = frozenset((*NO_ROOM, "model_broken", "model_needs_remote_code", "load_failed", "device_unavailable"))
"""Codes after which another model is asked, when nobody has named one."""


class Backends(Protocol):
    """What a runner needs of the service."""

    cache: ResultCache[str, Done]

    async def checked(self, spec: Spec, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Job[Any, Any]:
        """The item as the task reads it."""
        ...

    def current(self, spec: Spec, model: TaskModel) -> TaskModel:
        """The model in the revision that is here now."""
        ...

    async def backends(self, spec: Spec, model: TaskModel) -> list[ModelWorker]:
        """Who can run the model, in order."""
        ...

    def deadline(self) -> float | None:
        """Until when the item must have begun."""
        ...


class ModelRunner:
    """See :class:`~pipelines.interfaces.task.TaskRunner`."""

    def __init__(self, service: Backends, spec: Spec, models: Sequence[TaskModel], *, any_model: bool) -> None:
        self.spec = spec
        self.models = models
        self._service = service
        self._any_model = any_model
        self._cached = True

    def afresh(self) -> ModelRunner:
        """The same, but what is kept will not do."""
        runner = ModelRunner(self._service, self.spec, self.models, any_model=self._any_model)
        runner._cached = False
        return runner

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        """The result of one item, with the model that did it."""
        parameters = parameters or {}
        job = await self._service.checked(self.spec, inputs, parameters)
        if not (self._cached and self.spec.cached(job)):
            return await self._computed(job)
        hurried = self._service.deadline() is not None
        return await self._service.cache.get(self._key(job), lambda: self._computed(job), alone=hurried)

    async def stream(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Any, None]:
        """Pieces, then :class:`Done`. Raises :class:`TaskError` (``cannot_stream``) for a task that gives no pieces."""
        if self.spec.stream is None:
            raise TaskError("unsupported_value", f"stream: {self.spec.name} gives its result in one piece")
        job = await self._service.checked(self.spec, inputs, parameters or {})
        problems: list[PipelineError] = []
        for known in self.models:
            with ExitStack() as held:
                model, workers = await self._workers(known, problems, held)
                for worker in workers:
                    begun = False
                    pieces = worker.stream(self.spec, job, self._service.deadline())
                    try:
                        async with aclosing(pieces):
                            while (piece := await _next(pieces, worker.name)) is not None:
                                begun = True
                                yield self._by(piece, model) if isinstance(piece, Done) else piece
                        return
                    except ModelError as error:
                        if begun or not self._goes_on(error):
                            raise
                        problems.append(error)
        raise problems[-1]

    async def _computed(self, job: Job[Any, Any]) -> Done:
        problems: list[PipelineError] = []
        for known in self.models:
            with ExitStack() as held:
                model, workers = await self._workers(known, problems, held)
                for worker in workers:
                    try:
                        with foreign_errors(TaskError, "task_failed", worker.name):
                            return self._by(await worker.run(self.spec, job, self._service.deadline()), model)
                    except ModelError as error:
                        if not self._goes_on(error):
                            raise
                        problems.append(error)
        raise problems[-1]

    async def _workers(
        self, model: TaskModel, problems: list[PipelineError], held: ExitStack
    ) -> tuple[TaskModel, Sequence[ModelWorker]]:
        """``model`` as it is here now and who can run it, in use until ``held`` ends; if nobody can and there are
        others, why not is added to ``problems``."""
        try:
            workers = await self._service.backends(self.spec, model)
        except ModelError as error:
            if not self._goes_on(error):
                raise
            problems.append(error)
            workers = []
        for worker in workers:  # the second is asked when the first has failed, which another revision may outrun
            held.enter_context(worker.in_use())
        return self._current(model), workers

    def _current(self, model: TaskModel) -> TaskModel:
        return self._service.current(self.spec, model)

    def _goes_on(self, error: ModelError) -> bool:
        return error.code in (USELESS if self._any_model else NO_ROOM)

    def _by(self, done: Done, model: TaskModel) -> Done:
        name = f"{model.id} ({done.manner})" if done.manner else model.id
        return replace(done, model=done.model or name, revision=done.revision or model.revision)

    def _key(self, job: Job[Any, Any]) -> str:
        """Changes with everything that the result depends on."""
        parts = [
            self.spec.name,
            [[model.id, model.revision, str(model.folder)] for model in map(self._current, self.models)],
            job.inputs.model_dump(mode="json"),
            job.parameters.model_dump(mode="json"),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


async def _next(pieces: AsyncGenerator[Any, None], name: str) -> Any:
    """The next piece; ``None`` at the end."""
    with foreign_errors(TaskError, "task_failed", name):
        return await anext(pieces, None)
