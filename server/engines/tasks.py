"""Settings → the tasks that are served."""

from __future__ import annotations

from pipelines.models.residency import Residency
from pipelines.models.store import ModelStore
from pipelines.tasks.service import TaskOptions, TaskService
from server.settings import Settings


def task_service(settings: Settings, store: ModelStore, residency: Residency) -> TaskService:
    """The tasks on the models of ``store`` and of the folder of the settings."""
    return TaskService(store, residency, options=TaskOptions(settings.device, settings.task_models))
