"""Every task, once: its name → where its :class:`~pipelines.interfaces.task.TaskSpec` is.

To add a task: one file with a ``SPEC``, one row. The module is imported when the task is first asked for; it imports
what computes (torch, transformers) inside its functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from pipelines.interfaces.task import TaskError, TaskSpec
from pipelines.text import unknown

TASKS: dict[str, str] = {
    # text
    # pictures
    # sound
    # video
}


def spec_of(task: str, registry: Mapping[str, str] = TASKS) -> TaskSpec[Any, Any, Any]:
    """The task called ``task``. Raises :class:`TaskError` (``unknown_task``) naming those there are."""
    if task not in registry:
        raise TaskError("unknown_task", unknown("task", task[:200], sorted(registry)))
    return _imported(registry[task])


@cache
def _imported(place: str) -> TaskSpec[Any, Any, Any]:
    module, _, name = place.partition(":")
    found = getattr(import_module(module), name)
    assert isinstance(found, TaskSpec), place
    return found
