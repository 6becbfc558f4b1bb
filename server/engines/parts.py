"""What every stage is composed from, and where it notes what was chosen."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from media.clock import Clock, MonotonicClock
from pipelines.errors import ModelError, PipelineError
from pipelines.models.fetches import Fetch, Fetches
from pipelines.models.memory import MIB
from pipelines.models.plans import Limits, ModelEvent
from pipelines.models.residency import Residency
from pipelines.models.sources_folder import refuse_pointers
from pipelines.models.store import ModelFiles
from pipelines.routing.definition import Definition, Stage, StageType
from pipelines.runtime.hardware import Devices, choose_device, survey
from pipelines.runtime.worker import Worker, post
from server.engines.places import Places
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

STAGE_OF_TASK = {"speech-to-text": "listen", "chat": "think", "text-to-speech": "speak", "turn-detection": "turn"}
"""Task of a model → the stage it serves; all others are looked with."""

BENCH_REASON = "benchmark stub (profile bench): for measuring, answers nothing real"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which engine serves a stage, and why."""

    stage: str
    engine: str
    device: str
    reason: str
    ok: bool = True
    """Whether it is what was asked for, or the best of what is here."""
    wanted: str = ""
    """In whose place it stands, if it is a stand-in; empty otherwise."""
    fetching: tuple[Fetch, ...] = ()
    """Models for the stage that are being brought, or could not be."""


class Ladder(Protocol):
    """Engines of which another takes over when one fails."""

    @property
    def name(self) -> str:
        """Of the preferred one."""
        ...

    @property
    def serving(self) -> str:
        """The name of the engine that does the work at present."""
        ...


class Choices:
    """The choice for each stage, and what has become of it since."""

    def __init__(self, fetches: Fetches | None = None, stage_of: Callable[[str], str] = lambda model: "") -> None:
        self._fetches = fetches or Fetches()
        self._stage_of = stage_of
        self._rows: list[Choice] = []
        self._ladders: dict[str, Ladder] = {}
        self._failures: dict[str, str] = {}
        self._listeners: list[Callable[[], object]] = []
        self._told: list[Choice] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def note(
        self, stage: str, engine: str, reason: str, *, device: str = "cpu", ok: bool = True, wanted: str = ""
    ) -> None:
        """``engine`` serves ``stage`` (``none`` if nothing does), in the place of ``wanted`` if that is given."""
        device = device if engine != "none" else "-"
        self._rows.append(Choice(stage, engine, device, reason, ok and not wanted, wanted))

    def replace(self, stage: str, engine: str, reason: str, *, device: str = "cpu", ok: bool = True) -> None:
        """A better engine serves ``stage`` from now on."""
        self._rows = [Choice(stage, engine, device, reason, ok) if row.stage == stage else row for row in self._rows]
        self._failures.pop(stage, None)
        for fetch in self._fetching(stage):
            if fetch.state == "arrived":
                self._fetches.forget(fetch.model)
        self._tell()

    def watch(self, stage: str, ladder: Ladder) -> None:
        """From now on the status tells who of ``ladder`` serves the stage at the moment."""
        self._ladders[stage] = ladder

    def failure_of(self, stage: str) -> Callable[[str, PipelineError | None], None]:
        """What to call when an engine of the stage fails, and why; or with ``None`` when it works again."""

        def changed(engine: str, error: PipelineError | None) -> None:
            if error is None:
                log.warning("%s (%s) works again", engine, stage)
            else:
                log.warning("%s (%s) failed: %s", engine, stage, error)
                self._failures[stage] = f"{engine} failed: {error.message}"
            asyncio.get_running_loop().call_soon(self._tell)  # once whoever calls has drawn the consequences

        return changed

    def failed(self, stage: str, reason: str) -> None:
        """A stage's only engine does not do its work at present."""
        self._rows = [replace(row, reason=reason, ok=False) if row.stage == stage else row for row in self._rows]

    def learned(self, stage: str, words: str) -> None:
        """Something has become known of the stage's engine that belongs to the reason for choosing it."""
        self._rows = [
            replace(row, reason=f"{row.reason}; {words}") if row.stage == stage else row for row in self._rows
        ]
        self._tell()

    def on_change(self, tell: Callable[[], object]) -> Callable[[], None]:
        """Call ``tell`` on the event loop, which is running, whenever the status is another; returns what ends that."""
        self._loop = asyncio.get_running_loop()
        self._listeners.append(tell)
        self._told = self.status()
        return lambda: self._listeners.remove(tell)

    def tell_soon(self) -> None:
        """Something has changed that the status shows. From any thread."""
        if self._loop is not None:
            post(self._loop, self._tell)

    def _tell(self) -> None:
        now = self.status()
        if now != self._told:
            self._told = now
            for tell in self._listeners:
                tell()

    def status(self) -> list[Choice]:
        """One row for each stage, in order; a stage whose first engine rests names the one that stands in."""
        return [self._now(row) for row in self._rows]

    def _now(self, row: Choice) -> Choice:
        fetching = self._fetching(row.stage)
        ladder, failure = self._ladders.get(row.stage), self._failures.get(row.stage)
        if ladder is None or failure is None or ladder.serving == ladder.name:
            return replace(row, fetching=fetching)
        reason = f"{failure}; stands in for {ladder.name}"
        return Choice(row.stage, ladder.serving, "cpu", reason, ok=False, wanted=ladder.name, fetching=fetching)

    def _fetching(self, stage: str) -> tuple[Fetch, ...]:
        return tuple(fetch for fetch in self._fetches.all() if self._stage_of(fetch.model) == stage)


class Parts:
    """Shared by the composition of all stages."""

    def __init__(
        self,
        settings: Settings,
        definition: Definition,
        say: Callable[[str], object],
        report: Callable[[Fetch], object] = lambda fetch: None,
    ) -> None:
        self.settings = settings
        self.definition = definition
        self.pipeline = definition.pipelines[0]
        self.say = say
        self._report = report
        self.fetches = Fetches(self._expected, self._fetch_changed)
        """Models that are being brought; ``report`` is told of each change, from any thread."""
        self.choices = Choices(self.fetches, self._stage_of)
        self._places = Places(AT_ONCE)
        self.clock: Clock = MonotonicClock()
        self.store = model_store(settings)
        idle = settings.unload_minutes * 60.0 or None
        budgets = {} if settings.memory_mb is None else {"cpu": settings.memory_mb * MIB}
        self.residency = Residency(Limits(budgets, idle), on_event=_log_event, clock=self.clock)
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.workers: list[CountingWorker] = []
        """Whose queues and batches are counted."""
        self.unusable: dict[str, str] = {}
        """Models that are here and cannot be used → why."""
        self.later: list[Callable[[], Awaitable[None]]] = []
        """What fetches better engines than those that were here, once the server runs."""
        self.missing: list[str] = []
        """Models that would be fetched, if that were allowed."""
        self.upkeep: list[Upkeep] = []
        """What goes on as long as the server runs."""
        self._devices: Devices | None = None

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
        return Wishes(self.settings, self.pipeline, self.store)

    def stage(self, kind: StageType) -> Stage:
        """The pipeline's stage. Raises :class:`DefinitionError` when there is none."""
        return self.wishes.stage(kind)

    def check(self) -> None:
        """Refuse what is asked for and cannot be done, as far as that shows before anything is loaded."""
        self.wishes.check(self._look)

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

    def obtain(self, wish: Wish) -> tuple[str, Path, str]:
        """Name, folder and origin of the model that ``wish`` requires, fetched if need be. Blocking.

        Raises :class:`ModelError` naming the wish: nothing else may serve instead.
        """
        try:
            files = self.ensure(wish.models[0] if wish.word == "auto" else wish.word)
        except PipelineError as error:
            raise ModelError(error.code, f"{wish.asked}: {error.message}") from error
        return files.id, files.path, f"from {files.origin}"

    def models_for(self, task: str) -> tuple[str, ...]:
        """Ids of the catalogue's models for a task, the preferred first."""
        return tuple(model.id for model in self.store.catalogue.models if model.task == task)

    def present(self, model_id: str) -> ModelFiles | None:
        """A model that is here, in the store or in the user's folder; ``None`` when it is not. Asks no network."""
        try:
            return self.store.here(model_id)
        except ModelError as error:
            self.say(f"{model_id}: {error.message}")
            self.unusable[model_id] = error.message
            return None

    def folder_of(self, wish: Wish) -> tuple[str, Path, str] | None:
        """Name, folder (or file) and origin of the model that is wished for; of several the preferred that is here."""
        if (file := wish.file) is not None:
            return file.stem, file, f"the file {file}"
        if (path := wish.folder) is not None:
            try:
                refuse_pointers(file for file in path.iterdir() if file.is_file())
            except ModelError as error:
                raise ModelError(error.code, f"{wish.asked}: {error.message}") from error
            return path.name, path, f"the folder {path}"
        for model_id in wish.models if wish.word == "auto" else (wish.word,):
            if files := self.present(model_id):
                return model_id, files.path, f"from {files.origin}"
        return None

    def device_for(self, library: str) -> tuple[str, str]:
        """Where engines on ``library`` run, and why. Raises :class:`ModelError` naming the legal devices."""
        found = self._look().library(library)
        device, reason = choose_device(self.settings.device, found)
        return device, f"on the CPU, {found.reason}" if device == "cpu" and found.reason else reason

    def _look(self) -> Devices:
        if self._devices is None:
            self._devices = survey()
        return self._devices

    def _expected(self, model_id: str) -> int:
        """Bytes to fetch, by the catalogue; 0 if unknown."""
        try:
            return (self.store.catalogue.get(model_id).download or 0) * 1_000_000
        except ModelError:
            return 0

    def _stage_of(self, model_id: str) -> str:
        try:
            task = self.store.catalogue.get(model_id).task
        except ModelError:
            return ""
        return STAGE_OF_TASK.get(task.partition(".")[0], "watch")

    def _fetch_changed(self, fetch: Fetch) -> None:
        self._report(fetch)
        self.choices.tell_soon()

    def estimate(self, model_id: str, precision: str) -> int:
        """Bytes that a model takes in memory, by the catalogue; 0 if unknown."""
        try:
            memory = self.store.catalogue.get(model_id).memory
        except ModelError:
            return 0
        return memory.get(precision, max(memory.values(), default=0)) * MIB


def _log_event(event: ModelEvent) -> None:
    log.info(
        "model %s: %s%s%s",
        event.model,
        event.transition.replace("_", " "),
        f" in {event.seconds:.1f} s" if event.seconds else "",
        f", {event.message}" if event.message else "",
    )


def why(wish: Wish, reason: str) -> str:
    """``reason``, and that the engine was asked for if it was."""
    if wish.word == "auto":
        return reason
    return f"{'the pipeline names it' if wish.asked.startswith('pipeline') else 'asked for'}; {reason}"
