"""The engines of a stage that work on this machine: what is here is loaded, and what is better is fetched later.

One way for all stages: the best that is present serves, a better one takes over once it has come, and the engine that
always is there stands by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pipelines.definitions.mapping import LOCAL
from pipelines.engines.registry import Built, EngineSpec, Found, Stage, called, named, reader, standby, stub
from pipelines.errors import PipelineError
from pipelines.models.store import ModelFiles
from pipelines.routing.policy import Condition
from pipelines.routing.routes.rung import Rung as Candidate
from server.engines.parts import BENCH_REASON, Parts
from server.engines.wishes import Wish, why

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Rung(Generic[E]):
    """An engine, its device, and why it."""

    engine: E
    device: str
    """``-``: another computer."""
    reason: str
    model: str = ""
    """What it is asked for by, of what is here; empty: the engine's name."""
    backend: str = ""
    """Id of the server, of one that is elsewhere."""
    named: bool = False
    """Whether the settings name the server."""
    standby: bool = False
    warm: Callable[[], Awaitable[object]] | None = None


class Local(Generic[E]):
    """The engines of one stage as far as they are here; ``best`` names models that each get an engine.

    ``finish`` makes of what was built what serves.
    """

    def __init__(
        self,
        parts: Parts,
        stage: Stage,
        wish: Wish,
        best: Sequence[str] = (),
        finish: Callable[[Built[E]], E] = lambda built: built.engine,
    ) -> None:
        self.parts = parts
        self.stage: Stage = stage
        self.wish = wish
        self.best = tuple(best)
        self.standby = standby(stage)
        self.rungs: dict[str, Rung[E]] = {}
        """By the name of the model, or of the engine."""
        self._finish = finish
        self._loading = asyncio.Lock()

    async def take_what_is_here(self, what: str, fetched: Sequence[str] = ()) -> tuple[str, str]:
        """Load the best that are here, or else the first that will do; or why there is none (:meth:`Parts.lacking`).

        Raises :class:`PipelineError` when what is asked for cannot be had.
        """
        parts, wish = self.parts, self.wish
        if wish.word != "auto" or wish.required:
            await self._try(await asyncio.to_thread(self._asked_for))
        else:
            for model_id in dict.fromkeys((*self.best, *wish.models)):
                if self.rungs and model_id not in self.best:
                    break
                if (files := await asyncio.to_thread(parts.present, model_id)) is not None:
                    await self._try(Found.of(files))
        return ("", "") if self.rungs else parts.lacking(wish, what, fetched)

    async def fetch(self, ids: Sequence[str], take_over: Callable[[str], object]) -> None:
        """Fetch the first of the models that can be had and tell ``take_over`` its name.

        Raises :class:`PipelineError` when none can be had.
        """

        async def use(files: ModelFiles) -> None:
            async with self._loading:
                if files.id not in self.rungs:
                    await self._load(Found.of(files), warm=True)
                    take_over(files.id)

        await self.parts.first(ids, use)

    async def stand_by(self, *, now: bool) -> Rung[E]:
        """The engine that always is there, loaded ``now`` or when it is first used."""
        return await self._built(self.standby, Found(self.standby.name, now=now))

    async def _built(self, spec: EngineSpec, found: Found) -> Rung[E]:
        built: Built[E] = await spec.builder()(self.parts, found)
        self.parts.workers += built.workers
        self.parts.pools += built.pools
        reason = built.reason if found.path is not None else why(self.wish, built.reason or spec.about)
        told = "; ".join(filter(None, (found.origin, reason)))
        return Rung(self._finish(built), built.device, told, found.name, standby=spec.stands_by, warm=built.warm)

    async def _load(self, found: Found, *, warm: bool = False) -> None:
        """Build the engine that reads ``found``. Raises :class:`PipelineError`."""
        spec = await self.parts.aside(self._spec_for, found)
        rung = await self._built(spec, replace(found, required=self.wish.required))
        if warm and rung.warm is not None:
            await rung.warm()
        self.rungs[found.name] = rung

    def _spec_for(self, found: Found) -> EngineSpec:
        return called(self.stage, found.name) if found.path is None else reader(self.stage, found.path)

    def _asked_for(self) -> Found:
        if self.wish.word in named(self.stage):
            return Found(self.wish.word)
        return self.parts.folder_of(self.wish) or self.parts.obtain(self.wish)

    async def _try(self, found: Found) -> None:
        try:
            await self._load(found)
        except PipelineError as error:
            self.parts.refuse(self.wish, found.name, error)


def candidate(parts: Parts, rung: Rung[Any]) -> Candidate[Any]:
    """The engine of ``rung`` as a route asks it."""
    engine: Any = rung.engine
    model = rung.model or engine.name
    hardware: Any = "remote" if rung.backend else rung.device if rung.device in LOCAL else "cpu"
    facts = Condition(
        rung.backend or hardware,
        hardware,
        model,
        also=tuple(dict.fromkeys((engine.name, *(rung.backend and (engine.name.partition(" ")[2],))))),
        size=float(parts.estimate(model, "")),
        standby=rung.standby,
        named=rung.named,
    )
    return Candidate(engine, facts, temperature=lambda: parts.temperature(hardware))


async def stubbed(parts: Parts, stage: Stage) -> Any:
    """What serves the stage where only the server around it is measured."""
    built = await stub(stage).builder()(parts, Found("bench"))
    parts.choices.note(stage, built.engine.name, BENCH_REASON)
    return built.engine
