"""``audio-classification``: which of the kinds that a model was trained on a sound is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.audio.models import transformers_models
from pipelines.tasks.audio.sounds import Fields, SoundIn, Wave, each, wave_of

LONGEST = 300.0
"""Seconds of one sound."""
Transform = Literal["softmax", "sigmoid", "none"]


class Asked(Fields):
    """What is told."""

    top_k: Annotated[int, Field(ge=1, le=1000)] = 5
    """How many labels, the likeliest first."""
    function_to_apply: Transform | None = None
    """What makes scores of the model's output; by default softmax, or sigmoid for a model of many labels at once."""


class LabelScore(TypedDict):
    """One label."""

    label: str
    score: float


class Classifier:
    """A model of transformers with a classifying head. Blocking."""

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        self._model = transformers_models.load(folder, "AutoModelForAudioClassification", device, dtype)
        self._features = transformers_models.part(folder, "AutoFeatureExtractor")
        self.rate = int(self._features.sampling_rate)
        self._several = self._model.config.problem_type == "multi_label_classification"
        self._labels = [str(self._model.config.id2label[n]) for n in range(self._model.config.num_labels)]

    def scores(self, sound: Wave, transform: Transform | None) -> list[tuple[str, float]]:
        """Every label and its score, the highest first."""
        import torch

        given = self._features(sound, sampling_rate=self.rate, return_tensors="pt")
        with torch.inference_mode():
            placed = {
                name: value.to(self._model.device, self._model.dtype if value.is_floating_point() else value.dtype)
                for name, value in given.items()
            }
            logits = self._model(**placed).logits[0].float()
            apply = transform or ("sigmoid" if self._several else "softmax")
            if apply != "none":
                logits = logits.sigmoid() if apply == "sigmoid" else logits.softmax(-1)
        if len(logits) != len(self._labels):
            raise ModelError("model_broken", f"the model gives {len(logits)} scores for {len(self._labels)} labels")
        return sorted(zip(self._labels, logits.tolist(), strict=True), key=lambda pair: -pair[1])


def load_classifier(folder: Path, device: str, dtype: str) -> Classifier:
    """The model in ``folder``. Raises :class:`ModelError`."""
    return Classifier(folder, device, dtype)


def _one(model: Classifier, job: Job[SoundIn, Asked]) -> Done:
    sound = wave_of(job.inputs.inputs, model.rate, LONGEST)
    scores = model.scores(sound, job.parameters.function_to_apply)
    return Done([LabelScore(label=label, score=score) for label, score in scores[: job.parameters.top_k]])


def _run(model: Classifier, jobs: Sequence[Job[SoundIn, Asked]]) -> Sequence[Done | PipelineError]:
    return each(jobs, lambda job: _one(model, job))


SPEC: TaskSpec[Classifier, SoundIn, Asked] = TaskSpec(
    name="audio-classification",
    about="Which of a model's kinds of sound this is",
    inputs=SoundIn,
    parameters=Asked,
    output=list[LabelScore],
    load=load_classifier,
    run=_run,
    batch=1,
)
