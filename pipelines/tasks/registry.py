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
    "text-generation": "pipelines.tasks.text.generation:SPEC",
    "code-completion": "pipelines.tasks.text.code:SPEC",
    "feature-extraction": "pipelines.tasks.text.embedding:SPEC",
    "sentence-similarity": "pipelines.tasks.text.similarity:SPEC",
    "text-ranking": "pipelines.tasks.text.ranking:SPEC",
    "text-classification": "pipelines.tasks.text.classification:SPEC",
    "zero-shot-classification": "pipelines.tasks.text.zero_shot:SPEC",
    "translation": "pipelines.tasks.text.translation:SPEC",
    "summarization": "pipelines.tasks.text.summarization:SUMMARIZATION",
    "text2text-generation": "pipelines.tasks.text.summarization:TEXT_TO_TEXT",
    "language-detection": "pipelines.tasks.text.language:SPEC",
    "tokenize": "pipelines.tasks.text.tokens:TOKENIZE",
    "detokenize": "pipelines.tasks.text.tokens:DETOKENIZE",
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
