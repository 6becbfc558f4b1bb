"""Settings → the tasks that are served."""

from __future__ import annotations

from importlib.util import find_spec

from pipelines.engines.litert.modules import LiteRtLoader, LiteRtOptions
from pipelines.engines.litert.pool import LiteRtPool
from pipelines.errors import ModelError
from pipelines.models.residency import Residency
from pipelines.models.store import ModelStore
from pipelines.runtime.hardware import choose_device
from pipelines.tasks.ensemble import read_ensembles
from pipelines.tasks.registry import TASKS
from pipelines.tasks.service import TaskOptions, TaskService
from server.engines.parts import Parts
from server.settings import Settings


def task_service(settings: Settings, store: ModelStore, residency: Residency) -> TaskService:
    """The tasks on the models of ``store`` and of the folder of the settings.

    Raises :class:`~pipelines.errors.DefinitionError` for a file of ensembles that cannot be read.
    """
    ensembles = read_ensembles(settings.ensembles, list(TASKS)) if settings.ensembles is not None else ()
    loader = LiteRtLoader(litert_options(settings))
    options = TaskOptions(
        settings.device,
        settings.task_models,
        ensembles=ensembles,
        devices={"litert": settings.litert_device},
        loads={"tflite": loader.load},
        pools=(LiteRtPool(loader),) if settings.litert_modules > 1 else (),
    )
    return TaskService(store, residency, options=options)


def litert_options(settings: Settings) -> LiteRtOptions:
    """How ``.tflite`` models are run."""
    cache = settings.cache.expanduser() / "litert" if settings.litert_weight_cache else None
    return LiteRtOptions(settings.litert_threads, settings.litert_modules, cache)


def note_litert(parts: Parts) -> None:
    """Tell where ``.tflite`` models run, if LiteRT is installed. Blocking: it may look at devices."""
    if find_spec("ai_edge_litert") is None or parts.bench:
        return
    try:
        device, reason = choose_device(parts.settings.litert_device, parts.library("litert"))
    except ModelError as error:
        parts.choices.note("tflite", "none", f"litert_{error.message}", ok=False)
    else:
        parts.choices.note("tflite", "litert", f"runs .tflite models: {reason}", device=device)
