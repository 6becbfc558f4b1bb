"""The examination of the starter chat model: skills it has, in words that people use. Pure.

Its wordings were written without sight of the training text, so what they measure is how the model takes what nobody
foresaw. The probes are of the form of :class:`~pipelines.starter.probe.Probe`.
"""

from __future__ import annotations

from pipelines.starter.examination_numbers import number_probes, time_probes
from pipelines.starter.examination_scenes import beyond_probes, scene_probes, tool_probes
from pipelines.starter.examination_talk import talk_probes
from pipelines.starter.examination_threads import Turn, read_threads
from pipelines.starter.examination_threads_more import MORE_THREADS
from pipelines.starter.examination_words import memory_probes, word_probes
from pipelines.starter.probe import Probe


def probes() -> list[Probe]:
    """All of them, in order."""
    return [
        *talk_probes(),
        *number_probes(),
        *time_probes(),
        *word_probes(),
        *memory_probes(),
        *scene_probes(),
        *tool_probes(),
        *beyond_probes(),
    ]


def threads() -> list[list[Turn]]:
    """Conversations of ten turns, without tools and without the time in the prompt."""
    return [*read_threads(), *read_threads(MORE_THREADS)]
