"""Models for sound as the task service finds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.interfaces.task import ModelFolder
from pipelines.tasks.architectures import serves
from pipelines.tasks.registry import TASKS, spec_of

FOLDERS = {
    "ct2-whisper": ({}, "model.bin config.json tokenizer.json vocabulary.json"),
    "moonshine": ({}, "encoder_model.ort decoder_model_merged.ort tokenizer.bin"),
    "hf-whisper": (
        {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]},
        "model.safetensors",
    ),
    "wav2vec2": ({"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"]}, "model.safetensors"),
    "clap": ({"model_type": "clap", "architectures": ["ClapModel"]}, "model.safetensors"),
    "ast": ({"architectures": ["ASTForAudioClassification"]}, "model.safetensors"),
    "mms": ({"model_type": "vits", "architectures": ["VitsModel"]}, "model.safetensors"),
    "speecht5": ({"model_type": "speecht5", "architectures": ["SpeechT5ForTextToSpeech"]}, "model.safetensors"),
    "speecht5-asr": ({"model_type": "speecht5", "architectures": ["SpeechT5ForSpeechToText"]}, "model.safetensors"),
    "piper": ({}, "voice.onnx voice.onnx.json"),
    "pocket": ({"model_type": "pocket_tts"}, "model.safetensors"),
    "deepfilternet": ({}, "DeepFilterNet3_onnx.tar.gz"),
    "resemblyzer": ({}, "pretrained.pt"),
    "llama": ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "model.safetensors"),
}


@pytest.mark.parametrize(
    ("task", "wanted"),
    [
        ("automatic-speech-recognition", {"ct2-whisper", "hf-whisper", "wav2vec2"}),
        ("audio-language-detection", {"ct2-whisper", "hf-whisper"}),
        ("audio-to-audio", {"deepfilternet"}),
        ("audio-classification", {"ast"}),
        ("zero-shot-audio-classification", {"clap"}),
        ("audio-feature-extraction", {"clap"}),
        ("speaker-embedding", {"resemblyzer"}),
        ("speaker-similarity", {"resemblyzer"}),
        ("text-to-speech", {"mms", "speecht5", "piper"}),
        ("voice-cloning", {"pocket"}),
    ],
)
def test_a_folder_serves_the_tasks_that_its_model_can_do(task: str, wanted: set[str]) -> None:
    found = {
        name
        for name, (config, files) in FOLDERS.items()
        if serves(spec_of(task), ModelFolder(Path(name), config, frozenset(files.split())))
    }
    assert found == wanted


def test_every_task_tells_its_data_as_json_schema() -> None:
    for task, place in TASKS.items():
        if ".audio." in place:
            spec = spec_of(task)
            assert spec.name == task
            assert json.dumps(spec.inputs.model_json_schema()) and json.dumps(spec.parameters.model_json_schema())
