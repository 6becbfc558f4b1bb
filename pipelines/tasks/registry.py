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
    "chat": "pipelines.tasks.text.chat:SPEC",
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
    "image-background": "pipelines.tasks.image.background:SPEC",
    "image-classification": "pipelines.tasks.image.classification:SPEC",
    "image-edit": "pipelines.tasks.image.edit:SPEC",
    "image-enhance": "pipelines.tasks.image.enhance:SPEC",
    "image-feature-extraction": "pipelines.tasks.image.features:SPEC",
    "image-text-to-text": "pipelines.tasks.image.chat:SPEC",
    "image-to-text": "pipelines.tasks.image.captions:SPEC",
    "object-detection": "pipelines.tasks.image.detection:SPEC",
    "ocr": "pipelines.tasks.image.ocr:SPEC",
    "florence": "pipelines.tasks.image.florence:SPEC",
    "text-to-image": "pipelines.tasks.image.generation.drawing:SPEC",
    "text-to-video": "pipelines.tasks.image.generation.filming:SPEC",
    "visual-question-answering": "pipelines.tasks.image.questions:SPEC",
    "zero-shot-image-classification": "pipelines.tasks.image.zero_shot:SPEC",
    # sound
    "audio-classification": "pipelines.tasks.audio.audio_classification:SPEC",
    "audio-feature-extraction": "pipelines.tasks.audio.audio_feature_extraction:SPEC",
    "audio-language-detection": "pipelines.tasks.audio.audio_language_detection:SPEC",
    "audio-normalization": "pipelines.tasks.audio.audio_normalization:SPEC",
    "audio-to-audio": "pipelines.tasks.audio.audio_to_audio:SPEC",
    "automatic-speech-recognition": "pipelines.tasks.audio.automatic_speech_recognition:SPEC",
    "speaker-embedding": "pipelines.tasks.audio.speaker_embedding:SPEC",
    "speaker-similarity": "pipelines.tasks.audio.speaker_similarity:SPEC",
    "text-to-speech": "pipelines.tasks.audio.text_to_speech:SPEC",
    "voice-cloning": "pipelines.tasks.audio.voice_cloning:SPEC",
    "zero-shot-audio-classification": "pipelines.tasks.audio.zero_shot_audio_classification:SPEC",
    # any
    "tflite": "pipelines.tasks.tflite:SPEC",
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
