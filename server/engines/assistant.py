"""What the assistant does by tasks: which of its tools are there, and the model that reads, fetched if need be."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

from media.clock import Clock
from pipelines.interfaces.task import Done, TaskRunner, Tasks
from pipelines.models.store import ModelFiles
from pipelines.tools.assistant import TASKS_OF, AssistantTools
from server.engines.parts import Parts

log = logging.getLogger(__name__)

READER = "pp-ocrv6-small"
"""Fetched by itself where nothing reads: 30 MB, and people ask what something says."""
LOOK_SECONDS = 10.0
"""How often is looked whether models have come or gone."""


class LookingTasks(Tasks, Protocol):
    """Tasks that look for their models in folders: :class:`pipelines.tasks.service.TaskService`."""

    async def look(self, task: str) -> None:
        """Look for the models of ``task`` off the event loop; what asks right after this need not."""
        ...


class KnownTasks:
    """``tasks`` for those who ask on the event loop with every answer: folders are looked through beforehand."""

    def __init__(self, tasks: LookingTasks, names: Sequence[str]) -> None:
        self._tasks = tasks
        self._names = tuple(names)
        self._reasons: dict[str, str] = {}

    def models(self, task: str) -> Sequence[str]:
        """See :class:`Tasks`."""
        return self._tasks.models(task)

    def why_not(self, task: str) -> str:
        """See :class:`Tasks`; as it was when it was last looked."""
        return self._reasons.get(task, f"no model for {task} has been looked for yet")

    def runner(self, task: str, model: str = "auto") -> TaskRunner:
        """See :class:`Tasks`; that there is none is told when it is run."""
        return _Runner(self._tasks, task, model)

    async def look(self) -> None:
        """Find out what can be done now."""
        for task in self._names:
            await self._tasks.look(task)
            self._reasons[task] = self._tasks.why_not(task)

    async def keep(self, clock: Clock) -> None:
        """Find out again and again, until cancelled."""
        while True:
            await clock.sleep(LOOK_SECONDS)
            await self.look()


class _Runner:
    """A task with whichever model is there when it is run."""

    def __init__(self, tasks: LookingTasks, task: str, model: str) -> None:
        self._tasks = tasks
        self._task = task
        self._model = model

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        """See :class:`TaskRunner`."""
        await self._tasks.look(self._task)
        return await self._tasks.runner(self._task, self._model).run(inputs, parameters)

    async def stream(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Any, None]:
        """See :class:`TaskRunner`."""
        await self._tasks.look(self._task)
        async with aclosing(self._tasks.runner(self._task, self._model).stream(inputs, parameters)) as pieces:
            async for piece in pieces:
                yield piece


async def assistant_tools(parts: Parts, tasks: LookingTasks) -> AssistantTools:
    """The tools of all sessions. Those whose model comes later are there from then on."""
    names = parts.settings.assistant_tools
    if parts.bench or not names:
        return AssistantTools(names=())
    wanted = [task for name in names for task in TASKS_OF[name]]
    await parts.aside(lambda: [tasks.why_not(task) for task in wanted])  # the modules of tasks are imported here
    known = KnownTasks(tasks, wanted)
    await known.look()
    tools = AssistantTools(known, names)
    for name in names:
        log.info("assistant tool %s: %s", name, tools.why_not(name) or "ready")
    if "read_text" in names and tools.reader is None and parts.may_download:
        parts.later.append(partial(parts.first, [READER], _found_by_tasks))
    parts.upkeep.append(partial(known.keep, parts.clock))
    return tools


async def _found_by_tasks(files: ModelFiles) -> None:
    """Tasks look for their models by themselves."""
