"""The models of this server: which there are, where each is, and how it comes into memory and out of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from media.channel import Channel, ChannelClosedError
from pipelines.errors import ModelError
from pipelines.interfaces.task import TaskError
from pipelines.models.fetches import Fetch, Fetches
from pipelines.models.mirror import Mirror
from pipelines.models.plans import ModelStatus
from pipelines.models.residency import Residency, is_of
from pipelines.models.sources_hub import OURS, HubFile
from pipelines.models.store import ModelStore
from pipelines.runtime.worker import Worker, post
from pipelines.tasks.service import TaskService
from pipelines.text import unknown
from server.http.errors import HttpError

State = Literal["not_here", "here", "loading", "loaded"]
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One model."""

    id: str
    tasks: tuple[str, ...]
    state: State
    memory: int
    """Bytes, roughly until it has been loaded; 0 if unknown."""
    licence: str
    users: int
    """Who computes with it now."""


class Inventory:
    """``fetches``: whether what is not here may be fetched. Has threads of its own until :meth:`close`."""

    def __init__(self, tasks: TaskService, residency: Residency, store: ModelStore, *, fetches: bool) -> None:
        self.tasks = tasks
        self._residency = residency
        self._store = store
        self._fetches = fetches
        self._worker = Worker("model-moves", threads=2, inbox=64)
        self._brings: Worker = Worker("model-fetches", threads=2, inbox=32)

    def close(self) -> None:
        """End the threads. Idempotent."""
        self._worker.close()
        self._brings.close()

    async def rows(self, task: str = "") -> list[Row]:
        """All models, or those for one task. Raises :class:`TaskError` (``unknown_task``)."""
        if task:
            self.tasks.spec(task)
        uses = await self._uses()
        here = await self._worker.run(self._here)
        statuses = self._residency.status()
        catalogue = {model.id: model for model in self._store.catalogue.models}
        served = self._of_catalogue()
        loaded = [status.name.partition(" (")[0] for status in statuses]
        rows = []
        for model_id in dict.fromkeys((*catalogue, *uses, *loaded)):
            known = catalogue.get(model_id)
            tasks = dict.fromkeys((*uses.get(model_id, ()), *(served.get(known.task, (known.task,)) if known else ())))
            own = [status for status in statuses if is_of(status.name, model_id)]
            there = model_id in here or known is None
            estimate = max(known.memory.values(), default=0) * _MEBIBYTE if known else 0
            rows.append(
                Row(
                    model_id,
                    tuple(tasks),
                    _state(own, there=there),
                    max((status.size for status in own), default=0) or estimate,
                    known.licence if known else "",
                    sum(status.leases for status in own),
                )
            )
        return [row for row in rows if not task or task in row.tasks]

    async def load(self, model: str, task: str = "") -> None:
        """Bring it into memory. Raises :class:`~pipelines.errors.PipelineError`."""
        if not task:
            task = next(iter((await self._uses()).get(model, ())), "")
        if task:
            await self._worker.run(await self.tasks.loader(task, model))
        elif not await self._worker.run(self._residency.load, model):
            known = [one.id for one in self._store.catalogue.models]
            if model in known and not await self._worker.run(self._is_here, model):
                raise ModelError("model_not_here", f"model: {model} is not here: visavis models pull {model}, or fetch")
            if model in known:
                raise ModelError("not_served", f"model: {model} is here, and no engine that serves now uses it")
            raise TaskError("unknown_model", f"model: {unknown('model', model[:200], sorted(known))}")

    async def unload(self, model: str) -> bool:
        """Take it out of memory; whether it was there and is not any more."""
        return await self._worker.run(self._residency.unload, model)

    async def is_here(self, model: str) -> bool:
        """Whether a model of the catalogue is here; others are not fetched."""
        return model not in self._catalogue or await self._worker.run(self._is_here, model)

    async def fetched(self, model: str) -> AsyncGenerator[Fetch, None]:
        """Fetch a model of the catalogue; how far it has come. It goes on when nobody reads on.

        Raises :class:`~pipelines.errors.ModelError`, and :class:`HttpError` where nothing may be fetched.
        """
        if not self._fetches:
            raise HttpError(403, "model_not_allowed", "fetch: this server fetches nothing (download: false)", "fetch")
        loop, news = asyncio.get_running_loop(), Channel[Fetch](1)
        known = {one.id: one.download or 0 for one in self._store.catalogue.models}
        fetches = Fetches(lambda model: known.get(model, 0) * 1_000_000, lambda fetch: post(loop, news.put, fetch))

        def bring() -> None:
            with fetches.bringing(model) as report:
                self._store.ensure(model, report=report)

        bringing = asyncio.ensure_future(self._brings.run(bring))
        bringing.add_done_callback(lambda done: news.close())
        try:
            while True:
                try:
                    yield await news.get()
                except ChannelClosedError:
                    break
            await bringing
        finally:
            if not bringing.done():
                bringing.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def files(self, model: str) -> Mapping[str, HubFile]:
        """The files of a model of the catalogue that is here. Raises :class:`~pipelines.errors.ModelError`."""
        if model not in self._catalogue:
            raise TaskError("unknown_model", f"model: {unknown('model', model[:200], sorted(self._catalogue))}")
        if not await self._worker.run(self._is_here, model):
            raise ModelError("model_not_here", f"model: {model} is not here: visavis models pull {model}")
        mirror = Mirror(self._store, fetches=False)
        return (await self._worker.run(mirror.offer, f"{OURS}/{model}", "main")).repo.files

    # ------------------------------------------------------------------------------------------------ inside

    @property
    def _catalogue(self) -> set[str]:
        return {model.id for model in self._store.catalogue.models}

    async def _uses(self) -> dict[str, list[str]]:
        """Model → the tasks that it is here for."""
        found: dict[str, list[str]] = defaultdict(list)
        for task in self.tasks.tasks:
            if self.tasks.spec(task).needs_model:
                await self.tasks.look(task)
                for model in self.tasks.models(task):
                    found[model].append(task)
        return found

    def _of_catalogue(self) -> dict[str, list[str]]:
        """What the catalogue calls a task → the tasks that its models serve."""
        found: dict[str, list[str]] = defaultdict(list)
        for task in self.tasks.tasks:
            spec = self.tasks.spec(task)
            if spec.needs_model:
                found[spec.catalogue_task or spec.name].append(task)
        return found

    def _here(self) -> set[str]:
        return {model.id for model in self._store.catalogue.models if self._is_here(model.id)}

    def _is_here(self, model: str) -> bool:
        return self._store.find(model) is not None


def _state(statuses: Sequence[ModelStatus], *, there: bool) -> State:
    states = {status.state for status in statuses}
    if "ready" in states:
        return "loaded"
    return "loading" if "loading" in states else "here" if there or states else "not_here"
