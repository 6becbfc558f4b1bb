"""What the stages of pipelines compute with, whoever does the work: the seam between executor and routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipelines.interfaces.llm import LanguageModel
from pipelines.interfaces.stt import SpeechToText
from pipelines.interfaces.task import TaskRunner
from pipelines.interfaces.tts import TextToSpeech
from pipelines.interfaces.vision import VisionDetector
from pipelines.routing.definition import Pipeline, Stage
from pipelines.routing.run import Attempt, Wishes


class StageEngines(Protocol):
    """For each stage an engine that is a route over backends: it heeds :data:`~pipelines.routing.run.wishes`, writes to
    :data:`~pipelines.routing.run.record`, and raises :class:`~pipelines.errors.PipelineError` (``no_backend``, or what
    the last backend raised) when nobody can."""

    def recognizer(self, pipeline: Pipeline, stage: Stage) -> SpeechToText:
        """For ``audio_to_text``, ``audio_translate`` and the sound of videos."""
        ...

    def model(self, pipeline: Pipeline, stage: Stage) -> LanguageModel:
        """For ``text_generation`` and ``video_summary``."""
        ...

    def voice(self, pipeline: Pipeline, stage: Stage) -> TextToSpeech:
        """For ``text_to_audio`` and ``audio_translate``."""
        ...

    def vision(self, pipeline: Pipeline, stage: Stage) -> VisionDetector:
        """For ``video_analysis`` and what videos show."""
        ...

    def task(self, pipeline: Pipeline, stage: Stage, task: str) -> TaskRunner:
        """For every other type; ``task`` as in :data:`pipelines.tasks.registry.TASKS`."""
        ...

    def plan(self, pipeline: Pipeline, stage: Stage, wishes: Wishes) -> Sequence[Attempt]:
        """Which backends would be asked now and in which order, and which are passed over and why."""
        ...
