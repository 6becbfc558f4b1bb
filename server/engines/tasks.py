"""Settings → the tasks that are served."""

from __future__ import annotations

from pipelines.models.residency import Residency
from pipelines.models.store import ModelStore
from pipelines.tasks.ensemble import read_ensembles
from pipelines.tasks.registry import TASKS
from pipelines.tasks.service import TaskOptions, TaskService
from server.settings import Settings


def task_service(settings: Settings, store: ModelStore, residency: Residency) -> TaskService:
    """The tasks on the models of ``store`` and of the folder of the settings.

    Raises :class:`~pipelines.errors.DefinitionError` for a file of ensembles that cannot be read.
    """
    ensembles = read_ensembles(settings.ensembles, list(TASKS)) if settings.ensembles is not None else ()
    options = TaskOptions(settings.device, settings.task_models, ensembles=ensembles)
    return TaskService(store, residency, options=options)
