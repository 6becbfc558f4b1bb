"""The examination of the starter chat model: skills it has, in words that people use. Pure.

Its wordings were written without sight of the training text, so what they measure is how the model takes what nobody
foresaw. The probes are of the form of :class:`~training.starter.probe.Probe`.
"""

from __future__ import annotations

from training.starter.examination_numbers import number_probes, time_probes
from training.starter.examination_scenes import beyond_probes, scene_probes, tool_probes
from training.starter.examination_talk import talk_probes
from training.starter.examination_threads import Turn, read_threads
from training.starter.examination_threads_more import MORE_THREADS
from training.starter.examination_words import memory_probes, word_probes
from training.starter.probe import Probe


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
