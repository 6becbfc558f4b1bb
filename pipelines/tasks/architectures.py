"""Which tasks a folder may serve, by the architecture that its ``config.json`` tells (the words of transformers)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.interfaces.task import ModelFolder, TaskSpec

ENDINGS: Mapping[str, tuple[str, ...]] = {
    "ForCausalLM": ("text-generation", "code-completion"),
    "LMHeadModel": ("text-generation", "code-completion"),
    "ForSequenceClassification": ("text-classification", "text-ranking", "zero-shot-classification"),
    "ForTokenClassification": ("token-classification",),
    "ForQuestionAnswering": ("question-answering",),
    "MBartForConditionalGeneration": ("translation",),
    "MarianMTModel": ("translation",),
    "M2M100ForConditionalGeneration": ("translation",),
    "T5ForConditionalGeneration": ("translation", "summarization", "text2text-generation"),
    "BartForConditionalGeneration": ("summarization", "text2text-generation"),
    "PegasusForConditionalGeneration": ("summarization", "text2text-generation"),
    "ForImageClassification": ("image-classification",),
    "ForObjectDetection": ("object-detection",),
    "ForZeroShotObjectDetection": ("zero-shot-object-detection",),
    "ForSemanticSegmentation": ("image-segmentation",),
    "ForUniversalSegmentation": ("image-segmentation",),
    "ForDepthEstimation": ("depth-estimation",),
    "CLIPModel": ("zero-shot-image-classification", "image-feature-extraction"),
    "SiglipModel": ("zero-shot-image-classification", "image-feature-extraction"),
    "Siglip2Model": ("zero-shot-image-classification", "image-feature-extraction"),
    "ForAudioClassification": ("audio-classification",),
    "WhisperForConditionalGeneration": ("automatic-speech-recognition",),
    "ForCTC": ("automatic-speech-recognition",),
    "ClapModel": ("zero-shot-audio-classification",),
    "VitsModel": ("text-to-speech",),
    "ForVideoClassification": ("video-classification",),
}
"""How the name of an architecture ends → the tasks of its models; tasks whose ``fits`` says more go by that."""


def serves(spec: TaskSpec[Any, Any, Any], folder: ModelFolder) -> int:
    """How well the model in ``folder`` would serve the task when nobody has named one; 0: not at all."""
    if spec.fits is not None:
        return int(spec.fits(folder))
    name = folder.architecture
    return int(any(spec.name in tasks for ending, tasks in ENDINGS.items() if name.endswith(ending)))
