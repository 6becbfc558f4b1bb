"""What every stage is composed from, and where it notes what was chosen."""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from media.clock import Clock, MonotonicClock
from pipelines.engines.registry import Asked, Found, stage_of
from pipelines.errors import ModelError, PipelineError
from pipelines.models.catalogue import Model
from pipelines.models.fetches import Fetch, Fetches
from pipelines.models.memory import MIB
from pipelines.models.plans import Limits, ModelEvent
from pipelines.models.residency import Residency
from pipelines.models.sources_folder import refuse_pointers
from pipelines.models.store import ModelFiles
from pipelines.models.weights.adapters import Adapters, of_settings
from pipelines.models.weights.placement import DeviceMap
from pipelines.routing.definition import SHIPPED, Definition, Stage, load
from pipelines.routing.policy import Need
from pipelines.routing.stage_types import StageType
from pipelines.runtime.hardware import Devices, Library, choose_device, survey
from pipelines.runtime.scaling import Pool
from pipelines.runtime.temperature import Sensors, Temperatures
from pipelines.runtime.worker import Worker
from server.engines.choices import Choices
from server.engines.remote.ray import RayEngines
from server.engines.wishes import Wish, Wishes, not_here
from server.observability.model_metrics import CountingWorker
from server.settings import Settings
from server.stores import model_store

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

Upkeep = Callable[[], Coroutine[Any, Any, None]]
"""What goes on while the server runs; whoever then serves a stage is told by :meth:`Choices.replace`."""

AT_ONCE = 3
"""Models that are fetched at a time while the server serves: one alone rarely fills a line."""

BENCH_REASON = "benchmark stub (profile bench): for measuring, answers nothing real"


class Places:
    """Who may fetch now: ``count`` at a time, of those who wait the smallest first. On one event loop."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = 0

    @asynccontextmanager
    async def place(self, size: int) -> AsyncIterator[None]:
        """Wait for a place for something of ``size``, and keep it while the context lasts."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._arrivals += 1
        heapq.heappush(self._waiting, (size, self._arrivals, turn))
        loop.call_soon(self._give)  # not at once: others may be about to ask
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # given in the same moment
                self._give_back()
            raise
        try:
            yield
        finally:
            self._give_back()

    def _give_back(self) -> None:
        self._free += 1
        self._give()

    def _give(self) -> None:
        while self._free and self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._free -= 1
                turn.set_result(None)


def own_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Share:
    """What of the machine is this process's, where it is one of several workers."""

    cores: int
    llama_host: Path | None = None
    """Socket of who lends llama.cpp to all of them."""


class Parts:
    """Shared by the composition of all stages. ``share``: without one the machine is this process's alone."""

    def __init__(
        self,
        settings: Settings,
        definition: Definition,
        say: Callable[[str], object],
        report: Callable[[Fetch], object] = lambda fetch: None,
        share: Share | None = None,
    ) -> None:
        self.settings = settings
        self._share = share or Share(own_cores())
        self.definition = definition
        self.pipeline = definition.pipelines[0]
        self.say = say
        self._report = report
        self.fetches = Fetches(self._expected, self._fetch_changed)
        """Models that are being brought; ``report`` is told of each change, from any thread."""
        self.choices = Choices(self.fetches, self._stage_of)
        self._places = Places(AT_ONCE)
        self.clock: Clock = MonotonicClock()
        self.temperature: Temperatures = Sensors(clock=self.clock)
        self.store = model_store(settings)
        idle = settings.unload_minutes * 60.0 or None
        budgets = {} if settings.memory_mb is None else {"cpu": settings.memory_mb * MIB}
        self.residency = Residency(Limits(budgets, idle), on_event=_log_event, clock=self.clock)
        self.cores = self._share.cores
        self.workers: list[CountingWorker] = []
        """Whose queues and batches are counted."""
        self.pools: list[Pool] = []
        """What grows and shrinks with the work."""
        self.unusable: dict[str, str] = {}
        """Models that are here and cannot be used → why."""
        self.later: list[Callable[[], Awaitable[None]]] = []
        """What fetches better engines than those that were here, once the server runs."""
        self.missing: list[str] = []
        """Models that would be fetched, if that were allowed."""
        self.upkeep: list[Upkeep] = []
        """What goes on as long as the server runs."""
        self.ray = RayEngines.of(settings)
        """Engines of other machines; ``None`` where none are named."""
        self._devices: Devices | None = None

    @cached_property
    def asked(self) -> Asked:
        """What the settings say of how engines run."""
        settings = self.settings
        ordinary = load(SHIPPED / "voice-assistant.yaml").pipelines[0].stage("text_generation")
        return Asked(
            settings.device,
            settings.language,
            settings.stt_task == "translate",
            settings.chat_quantization,
            settings.stt_processes,
            settings.bench_tone_seconds,
            str(ordinary.options.get("instructions", "")) if ordinary is not None else "",
            settings.chat_device_map and DeviceMap(settings.chat_device_map, settings.chat_max_memory),
            self._share.llama_host,
        )

    @cached_property
    def adapters(self) -> Adapters:
        """Those of the settings, and what clients load later. Blocking at first. Raises :class:`ModelError`."""
        return of_settings(self.settings.chat_adapters)

    @property
    def bench(self) -> bool:
        """Whether only the server around the engines is to be measured."""
        return self.settings.profile == "bench"

    @property
    def embedded_only(self) -> bool:
        """Whether only what needs no model file of its own may be used."""
        return self.settings.profile == "embedded"

    @property
    def may_download(self) -> bool:
        """Whether better models may be fetched by themselves."""
        return self.settings.download and not self.embedded_only and not self.bench

    def refuse(self, wish: Wish, name: str, error: PipelineError) -> None:
        """``name`` is here and cannot be used: raise that if nothing may serve in its place, or else remember it."""
        copied = self.store.taken_from(name) if name in wish.models else ""
        message = f"{error.message} (copied from {copied})" if copied else error.message
        self.unusable[name] = message
        if wish.required:
            raise ModelError(error.code, f"{wish.asked}: {name} cannot be used: {message}") from error
        if error.code == "device_unavailable" and self.settings.device != "auto":
            raise ModelError(error.code, message) from error

    def lacking(self, wish: Wish, what: str, fetched: Sequence[str] = ()) -> tuple[str, str]:
        """Why no model serves though any would do: the reason, and the name of one that is here and broken.

        ``fetched``: the models that are fetched by themselves, where these are not the first of the wish.
        """
        for name, problem in self.unusable.items():
            if name in (*wish.models, wish.word):
                return f"{name} cannot be used: {problem}", name
        best = (*fetched, *wish.models)[:1]
        self.missing += best if wish.word == "auto" and not self.settings.download else ()
        return (f"no {what} is here: visavis models pull {best[0]}", "") if best else ("", "")

    async def first(self, ids: Sequence[str], use: Callable[[ModelFiles], Awaitable[None]]) -> None:
        """Fetch the first of the models and ``use`` it; where either fails, the next one. Raises the last failure."""
        for place, model_id in enumerate(ids, 1):
            try:
                await use(await self.fetch(model_id))
            except PipelineError as error:
                self.fetches.fail(model_id, error.message)
                if place == len(ids):
                    raise
                self.say(f"{error.message}; trying {ids[place]}")
            else:
                self.fetches.forget(model_id)
                return

    async def fetch(self, model_id: str) -> ModelFiles:
        """A model of the catalogue, downloaded if need be, a few at a time. Raises :class:`ModelError`."""
        with self.fetches.bringing(model_id) as report:
            async with self._places.place(self._expected(model_id)):
                return await self.aside(self.store.ensure, model_id, self.say, report)

    async def aside(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what takes long on a thread of its own while the server serves: asyncio's threads are for codecs."""
        worker = Worker("models")
        try:
            return await worker.run(function, *args, **kwargs)
        finally:
            worker.close()

    @property
    def wishes(self) -> Wishes:
        """What is asked for."""
        return Wishes(self.settings, self.definition, self.store)

    def stage(self, kind: StageType) -> Stage:
        """The pipeline's stage. Raises :class:`DefinitionError` when there is none."""
        return self.wishes.stage(kind)

    def need(self, kind: StageType) -> Need:
        """What the pipeline's stage asks for; which model it is the settings may say, too."""
        return Need.of(self.stage(kind), latency_critical=self.pipeline.options.latency_critical)

    def check(self) -> None:
        """Refuse what is asked for and cannot be done, as far as that shows before anything is loaded."""
        self.wishes.check(self._look)
        self.wishes.adapters(self.adapters)

    def ensure(self, model_id: str) -> ModelFiles:
        """A model of the catalogue, fetched if need be and allowed. Blocking. Raises :class:`PipelineError`."""
        if self.settings.download:
            with self.fetches.bringing(model_id) as report:
                ensured = self.store.ensure(model_id, self.say, report)
            self.fetches.forget(model_id)
            return ensured
        if files := self.store.here(model_id):
            return files
        raise not_here(model_id)

    def obtain(self, wish: Wish) -> Found:
        """The model that ``wish`` requires, fetched if need be. Blocking.

        Raises :class:`ModelError` naming the wish: nothing else may serve instead.
        """
        try:
            return Found.of(self.ensure(wish.models[0] if wish.word == "auto" else wish.word))
        except PipelineError as error:
            raise ModelError(error.code, f"{wish.asked}: {error.message}") from error

    def model(self, model_id: str) -> Model | None:
        """What the catalogue knows of a model, or what its name on the hub tells."""
        try:
            return self.store.catalogue.get(model_id)
        except ModelError:
            return None

    def others(self, task: str, model_id: str) -> list[ModelFiles]:
        """The models for a task that are here beside ``model_id``, the preferred first. Blocking."""
        ids = (model.id for model in self.store.catalogue.models if model.task == task and model.id != model_id)
        return [files for other in ids if (files := self.present(other)) is not None]

    def present(self, model_id: str) -> ModelFiles | None:
        """A model that is here, in the store or in the user's folder; ``None`` when it is not. Asks no network."""
        try:
            return self.store.here(model_id)
        except ModelError as error:
            self.say(f"{model_id}: {error.message}")
            self.unusable[model_id] = error.message
            return None

    def folder_of(self, wish: Wish) -> Found | None:
        """The model that is wished for, if it is here; of several the preferred one."""
        if (file := wish.file) is not None:
            return Found(file.stem, file, f"the file {file}")
        if (path := wish.folder) is not None:
            try:
                refuse_pointers(file for file in path.iterdir() if file.is_file())
            except ModelError as error:
                raise ModelError(error.code, f"{wish.asked}: {error.message}") from error
            return Found(path.name, path, f"the folder {path}")
        for model_id in wish.models if wish.word == "auto" else (wish.word,):
            if files := self.present(model_id):
                return Found.of(files)
        return None

    def device_for(self, library: str) -> tuple[str, str]:
        """Where engines on ``library`` run, and why. Raises :class:`ModelError` naming the legal devices."""
        found = self._look().library(library)
        device, reason = choose_device(self.settings.device, found)
        return device, f"on the CPU, {found.reason}" if device == "cpu" and found.reason else reason

    def library(self, name: str) -> Library:
        """What is known of a library that runs models. Blocking."""
        return self._look().library(name)

    def _look(self) -> Devices:
        if self._devices is None:
            self._devices = survey()
        return self._devices

    def _expected(self, model_id: str) -> int:
        """Bytes to fetch, by the catalogue; 0 if unknown."""
        model = self.model(model_id)
        return (model.download or 0) * 1_000_000 if model is not None else 0

    def _stage_of(self, model_id: str) -> str:
        model = self.model(model_id)
        return stage_of(model.task) if model is not None else ""

    def _fetch_changed(self, fetch: Fetch) -> None:
        self._report(fetch)
        self.choices.tell_soon()

    def estimate(self, model_id: str, precision: str) -> int:
        """Bytes that a model takes in memory, by the catalogue; 0 if unknown."""
        model = self.model(model_id)
        memory = model.memory if model is not None else {}
        return memory.get(precision, max(memory.values(), default=0)) * MIB


def _log_event(event: ModelEvent) -> None:
    log.info(
        "model %s: %s%s%s",
        event.model,
        event.transition.replace("_", " "),
        f" in {event.seconds:.1f} s" if event.seconds else "",
        f", {event.message}" if event.message else "",
    )
