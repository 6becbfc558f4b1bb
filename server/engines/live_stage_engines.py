"""The engines of the live conversation as those of stages, where nothing better routes between backends."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.errors import PipelineError
from pipelines.interfaces.llm import LanguageModel
from pipelines.interfaces.stt import SpeechToText
from pipelines.interfaces.task import TaskRunner
from pipelines.interfaces.tts import TextToSpeech
from pipelines.interfaces.vision import VisionDetector
from pipelines.routing.definition import Pipeline, Stage
from pipelines.routing.run import Attempt, Wishes
from server.engines.build import Engines

_LIVE = {
    "audio_to_text": "stt",
    "audio_translate": "stt",
    "text_generation": "llm",
    "video_summary": "llm",
    "text_to_audio": "tts",
    "video_analysis": "vision",
}
"""Types of stages → the stage of the conversation that does their work."""


class LiveStageEngines:
    """:class:`~pipelines.routing.stage_engines.StageEngines` with one backend."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def recognizer(self, pipeline: Pipeline, stage: Stage) -> SpeechToText:
        """Who listens."""
        return self._engines.voice.stt

    def model(self, pipeline: Pipeline, stage: Stage) -> LanguageModel:
        """Who thinks."""
        return self._engines.voice.llm

    def voice(self, pipeline: Pipeline, stage: Stage) -> TextToSpeech:
        """Who speaks."""
        return self._engines.voice.tts

    def vision(self, pipeline: Pipeline, stage: Stage) -> VisionDetector:
        """Who looks. Raises :class:`PipelineError` (``no_backend``) where nobody does."""
        if self._engines.vision is None:
            raise PipelineError("no_backend", f"stage {stage.id}: nothing here looks at pictures")
        return self._engines.vision

    def task(self, pipeline: Pipeline, stage: Stage, task: str) -> TaskRunner:
        """Raises :class:`PipelineError` (``no_backend``)."""
        raise PipelineError("no_backend", f"stage {stage.id}: nothing here does {task}")

    def plan(self, pipeline: Pipeline, stage: Stage, wishes: Wishes) -> Sequence[Attempt]:
        """The engine that serves."""
        rows = {row.stage: row for row in self._engines.choices.status()}
        row = rows.get(_LIVE.get(stage.type, ""))
        if row is None:
            return ()
        return [Attempt("cpu", row.device, row.engine, row.reason, "running" if row.engine != "none" else "unable")]
