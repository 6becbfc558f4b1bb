"""All tasks of :mod:`pipelines.tasks.registry` with the models that are here, as the :class:`Tasks` protocol has it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from media.clock import Clock, MonotonicClock
from pipelines.errors import ModelError
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.models.plans import Loadable
from pipelines.models.residency import Residency
from pipelines.models.store import ModelStore
from pipelines.runtime.hardware import LIBRARIES, Devices, choose_device, survey
from pipelines.runtime.result_cache import ResultCache
from pipelines.runtime.scaling import Pool
from pipelines.runtime.worker import Worker
from pipelines.tasks.batching import ModelWorker
from pipelines.tasks.ensemble import Ensemble, EnsembleRunner, insist_aligned
from pipelines.tasks.model_folders import TaskModel, TaskModels, folder_at
from pipelines.tasks.registry import TASKS, spec_of
from pipelines.tasks.runner import ModelRunner
from pipelines.tasks.torchvision_guard import hide_broken_torchvision
from pipelines.text import unknown

log = logging.getLogger(__name__)

Spec = TaskSpec[Any, Any, Any]

KEPT_SECONDS = 5.0
"""For how long it is believed which models are here."""
CACHE_BYTES, CACHE_SECONDS = 16 << 20, 600.0
"""Of results that come out the same again."""

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""Monotonic seconds by which what the running task asks for must have begun; ``None``: whenever."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How tasks are served."""

    device: str = "auto"
    """Where models run."""
    allowed: tuple[str, ...] = ("*",)
    """Ids of models, or patterns of these, that may be asked for; ``auto`` takes among these, too."""
    folders: tuple[Path, ...] = ()
    """Folders with models beside that of the store."""
    ensembles: tuple[Ensemble, ...] = ()
    """Models that are made of others."""
    devices: Mapping[str, str] = field(default_factory=dict)
    """Library → where its models run, for those that do not go by ``device``."""
    loads: Mapping[str, Callable[[Path, str, str], Any]] = field(default_factory=dict)
    """Task → what loads its models, where settings have a say in that."""
    pools: tuple[Pool, ...] = ()
    """What grows and shrinks with the work."""


class TaskService:
    """The tasks. ``devices`` looks around on this machine, once; it may block."""

    def __init__(
        self,
        store: ModelStore | None,
        residency: Residency,
        devices: Callable[[], Devices] = survey,
        options: TaskOptions | None = None,
        registry: Mapping[str, str] = TASKS,
        clock: Clock | None = None,
    ) -> None:
        self._residency = residency
        self._survey = devices
        self._options = options or TaskOptions()
        self._registry = registry
        self._clock = clock or MonotonicClock()
        self._models = TaskModels(store, self._options.folders)
        self._reader = Worker("task-items", inbox=4096)
        self._workers: dict[_Place, ModelWorker] = {}
        self._replaced: list[ModelWorker] = []
        """Of older versions: what has begun on them is finished, then each ends by itself."""
        self._found: dict[str, tuple[float, list[TaskModel]]] = {}
        self._current: dict[_Origin, tuple[int, TaskModel]] = {}
        """Where each model lies, and since which look that is known."""
        self._looks = 0
        self._devices: Devices | None = None
        self.cache: ResultCache[str, Done] = ResultCache(CACHE_BYTES, CACHE_SECONDS, weigh=_weight, clock=self._clock)

    @property
    def pools(self) -> tuple[Pool, ...]:
        """What grows and shrinks with the work."""
        return self._options.pools

    # ------------------------------------------------------------------------------------------------ the protocol

    def models(self, task: str) -> Sequence[str]:
        """See :class:`~pipelines.interfaces.task.Tasks`."""
        spec = spec_of(task, self._registry)
        if not spec.needs_model:
            return [spec.name]
        together = [one.id for one in self._options.ensembles if one.task == task and self._may(one.id)]
        return [*(model.id for model in self._usable(spec) if model.fits), *together]

    def why_not(self, task: str) -> str:
        """See :class:`~pipelines.interfaces.task.Tasks`."""
        spec = spec_of(task, self._registry)
        if lacking := [name for name in spec.packages if find_spec(name) is None]:
            return f"{task} needs the package {' and '.join(lacking)}"
        if not spec.needs_model or self.models(task):
            return ""
        known = [model.id for model in self._models.of_catalogue(spec) if self._may(model.id)]
        pull = f"visavis models pull {known[0]}, or " if known else ""
        what = f"a file {spec.files}" if spec.files else "a folder with one"
        return f"no model for {task} is here: {pull}put {what} into that of --models"

    def runner(self, task: str, model: str = "auto") -> ModelRunner | EnsembleRunner:
        """See :class:`~pipelines.interfaces.task.Tasks`. Also raises ``model_not_allowed``, ``labels_differ``."""
        for ensemble in self._options.ensembles:
            if ensemble.id == model and ensemble.task == task and self._may(model):
                insist_aligned(model, self._labels(ensemble))
                spec = spec_of(task, self._registry)
                return EnsembleRunner(ensemble, spec, partial(self.runner, task), partial(self._afresh, task))
        spec = self.spec(task)
        if lacking := [name for name in spec.packages if find_spec(name) is None]:
            raise TaskError("model_not_here", f"{task} needs the package {' and '.join(lacking)}")
        chosen = self._chosen(spec, model)
        return ModelRunner(self, spec, chosen, any_model=model == "auto")

    # ------------------------------------------------------------------------------------------------ beside it

    @property
    def tasks(self) -> Sequence[str]:
        """Names of all tasks."""
        return list(self._registry)

    def spec(self, task: str) -> Spec:
        """What a task is. Raises :class:`TaskError` (``unknown_task``)."""
        spec, load = spec_of(task, self._registry), self._options.loads.get(task)
        return spec if load is None else replace(spec, load=load)

    async def tell(self, task: str, model: str) -> Mapping[str, Any]:
        """What can be told of a model without loading it. Raises as :meth:`runner`, and :class:`TaskError`
        (``unsupported_value``) for a task whose models tell nothing."""
        spec = self.spec(task)
        if spec.tell is None:
            raise TaskError("unsupported_value", f"model: models of {task} tell nothing before they are loaded")
        await self.look(task)
        return await self._reader.run(spec.tell, self._chosen(spec, model)[0].folder)

    async def look(self, task: str) -> None:
        """Look for the models of ``task`` off the event loop; what asks right after this need not."""
        spec = spec_of(task, self._registry)
        if spec.needs_model and self._known(spec) is None:
            look = self._next_look()
            self._know(spec, look, await self._reader.run(partial(self._models.here, spec, take=True)))

    async def checked(self, spec: Spec, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Job[Any, Any]:
        """The item as the task reads it. Raises :class:`TaskError` (``invalid_value``), beginning with the field."""
        return await self._reader.run(_job, spec, inputs, parameters)

    async def backends(self, spec: Spec, model: TaskModel) -> list[ModelWorker]:
        """Who can run the model, the preferred one first. Raises :class:`ModelError` (``device_unavailable``)."""
        library = model.library or spec.library
        if not spec.needs_model or library not in LIBRARIES:
            return [self._worker(spec, model, "cpu")]
        if self._devices is None:
            self._devices = await self._reader.run(self._survey)
        wanted = self._options.devices.get(library, self._options.device)
        device, _ = choose_device(wanted, self._devices.library(library))
        return [self._worker(spec, model, one) for one in dict.fromkeys((device, "cpu"))]

    async def loader(self, task: str, model: str = "auto") -> Callable[[], None]:
        """What brings the model for ``task`` into memory; it blocks. Raises as :meth:`runner` does, and
        :class:`TaskError` (``unsupported_value``) where several models or none would have to be loaded."""
        await self.look(task)
        runner = self.runner(task, model)
        if not isinstance(runner, ModelRunner) or not runner.spec.needs_model:
            raise TaskError("unsupported_value", f"model: {task} has no model of its own to be loaded")
        return (await self.backends(runner.spec, runner.models[0]))[0].load

    def current(self, spec: Spec, model: TaskModel) -> TaskModel:
        """``model`` in the revision that the newest look at the disk has found, whichever task looked: who asks for
        one that was found earlier must not bring it back."""
        _, newest = self._current.get(_Origin(spec.files, model.origin, model.id), (0, model))
        return replace(model, folder=newest.folder, revision=newest.revision)

    def deadline(self) -> float | None:
        """Until when the running task's item must have begun."""
        return deadline.get()

    def workers(self) -> Sequence[ModelWorker]:
        """Those that have been asked so far."""
        return list(self._workers.values())

    def close(self) -> None:
        """End all threads. Idempotent."""
        for worker in (*self._workers.values(), *self._replaced):
            worker.close()
        self._reader.close()

    # ------------------------------------------------------------------------------------------------ inside

    def _afresh(self, task: str, model: str) -> ModelRunner | EnsembleRunner:
        return self.runner(task, model).afresh()

    def _labels(self, ensemble: Ensemble) -> dict[str, Sequence[str]]:
        """What the members that are here can find; nothing is told of those whose labels the caller gives."""
        if ensemble.task.startswith("zero-shot") or not ensemble.task.endswith("classification"):
            return {}
        names = [member.model for member in ensemble.members]
        known: dict[str, Sequence[str]] = {}
        for model in self._usable(spec_of(ensemble.task, self._registry)):
            if model.id in names:
                named = folder_at(model.folder).config.get("id2label")
                known[model.id] = list(map(str, named.values())) if isinstance(named, dict) else ()
        return known

    def _may(self, model_id: str) -> bool:
        return any(fnmatchcase(model_id, pattern) for pattern in self._options.allowed)

    def _known(self, spec: Spec) -> list[TaskModel] | None:
        looked, models = self._found.get(spec.name, (0.0, None))
        return models if models is not None and self._clock.now() - looked < KEPT_SECONDS else None

    def _usable(self, spec: Spec) -> list[TaskModel]:
        """Models that are here and may be asked for, the preferred first."""
        if (found := self._known(spec)) is None:
            found = self._know(spec, self._next_look(), self._models.here(spec, take=False))
        return [model for model in found if self._may(model.id)]

    def _next_look(self) -> int:
        self._looks += 1
        return self._looks

    def _know(self, spec: Spec, look: int, found: list[TaskModel]) -> list[TaskModel]:
        """``found`` is here; of two looks at a time the one that began later counts."""
        self._found[spec.name] = (self._clock.now(), found)
        for model in found:
            key = _Origin(spec.files, model.origin, model.id)
            if look >= self._current.get(key, (0, model))[0]:
                self._current[key] = (look, model)
        return found

    def _chosen(self, spec: Spec, asked: str) -> list[TaskModel]:
        """The models that may do it, in order."""
        if not spec.needs_model:
            if asked not in ("auto", spec.name):
                raise TaskError("unknown_model", f"model: {spec.name} is done without a model, leave it out")
            return [TaskModel(spec.name, Path(), "")]
        usable = self._usable(spec)
        if asked == "auto":
            if spec.files and len(usable) > 1:
                legal = ", ".join(model.id for model in usable)
                raise TaskError("invalid_value", f"model: has to be named, legal values are {legal}")
            if found := [model for model in usable if model.fits]:
                return found
            raise TaskError("model_not_here", self.why_not(spec.name) or f"no model for {spec.name} is here")
        if found := [model for model in usable if model.id == asked]:
            return found
        if not self._may(asked):
            raise TaskError("model_not_allowed", f"model: {asked[:200]!r} is none of those that may be asked for")
        known = [model.id for model in self._models.of_catalogue(spec)]
        if asked in known:
            raise TaskError("model_not_here", f"model: {asked} is not here: visavis models pull {asked}")
        raise TaskError("unknown_model", f"model: {unknown('model', asked[:200], [one.id for one in usable])}")

    def _worker(self, spec: Spec, model: TaskModel, device: str) -> ModelWorker:
        model = self.current(spec, model)
        key = _Place(spec.load, spec.run, model.origin, model.folder, model.revision, device)
        if key not in self._workers:
            name = (
                f"{model.id} ({spec.load.__module__.removeprefix('pipelines.tasks.')})" if model.origin else spec.name
            )
            dtype = "float32" if device == "cpu" else "bfloat16"
            plan = Loadable(
                name,
                partial(_load, spec, model.folder, device, dtype),
                precision=dtype if model.origin else "",
                device=device,
                estimate=model.estimate if model.origin else 0,
                unload=spec.unload,
                version=self._replacing(name, key),
            )
            self._workers[key] = ModelWorker(spec, self._residency.add(plan), device)
        return self._workers[key]

    def _replacing(self, name: str, place: _Place) -> str:
        """The version of the model that is to be loaded from ``place``.

        What lies elsewhere under the same name is no other revision: all who ask for the name share what was loaded
        first. When another revision comes to where one of them lies, none of their workers gets more work.
        """
        same = [key for key, worker in self._workers.items() if worker.name == name and key.device == place.device]
        here = (place.folder, place.revision)
        if any(key.origin == place.origin and (key.folder, key.revision) != here for key in same):
            self._replaced = [worker for worker in self._replaced if not worker.closed]
            for key in same:
                self._replaced.append(worker := self._workers.pop(key))
                worker.retire()
            same = []
        version = same[0] if same else place
        return f"{version.folder} {version.revision}"


class _Origin(NamedTuple):
    """What revisions of one model have in common. The same id means a folder to one task and a file to another."""

    files: str
    origin: str
    model: str


class _Place(NamedTuple):
    """What one worker serves."""

    load: Any
    run: Any
    origin: str
    folder: Path
    revision: str
    device: str


def _load(spec: Spec, folder: Path, device: str, dtype: str) -> Any:
    if "transformers" in spec.packages:
        hide_broken_torchvision()
    try:
        return spec.load(folder, device, dtype)
    except ModelError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        from pipelines.models.memory import is_out_of_memory

        if is_out_of_memory(error):
            raise
        log.exception("%s cannot be loaded for %s", folder.name, spec.name)
        raise ModelError("model_broken", f"{folder.name} cannot be loaded for {spec.name}") from error


def _job(spec: Spec, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Job[Any, Any]:
    from pipelines.tasks.checking import checked

    return Job(checked(spec.inputs, inputs, ""), checked(spec.parameters, parameters, "parameters."))


_LOOKED_AT = 64
"""Values of a list whose size is looked at."""


def _weight(done: Done) -> int:
    """Bytes of a result, roughly."""
    return 200 + _characters(done.output)


def _characters(value: Any) -> int:
    """About as many as ``value`` has in words; of long lists a few neighbours stand for all, for a million take long
    to look at."""
    if isinstance(value, str | bytes):
        return len(value)
    if not isinstance(value, dict | list | tuple):
        return 20
    every = max(1, len(value) // _LOOKED_AT)
    seen = list(islice(value.values() if isinstance(value, dict) else value, 0, None, every))
    return sum(map(_characters, seen)) * len(value) // max(1, len(seen)) + 10 * len(value)
