"""Kinds of sounds, sounds as vectors, and voices told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub.inference._generated.types import AudioClassificationOutputElement

from pipelines.errors import ModelError
from pipelines.interfaces.task import TaskError
from pipelines.tasks.audio import (
    audio_classification,
    audio_feature_extraction,
    speaker_embedding,
    speaker_similarity,
    zero_shot_audio_classification,
)
from pipelines.tasks.audio.models.clap import Clap
from pipelines.tasks.audio.models.voice_encoder import FILE, VoiceEncoder, _without_pauses
from pipelines.tasks.audio.sounds import wav_file
from tests.assets import asset
from tests.fakes import tiny_sound_models
from tests.fakes.sounds import job, noise_file, output, tone_file
from tests.real_models import real_folder

LABELS = ["a dog barks", "rain", "speech"]


def test_labels_of_the_callers_are_ranked(tiny_clap: Clap) -> None:
    spec = zero_shot_audio_classification.SPEC
    made = output(spec, tiny_clap, {"inputs": noise_file()}, candidate_labels=[*LABELS, "rain"])
    assert sorted(one["label"] for one in made) == sorted(LABELS)
    assert sum(one["score"] for one in made) == pytest.approx(1.0)
    assert [one["score"] for one in made] == sorted((one["score"] for one in made), reverse=True)
    AudioClassificationOutputElement.parse_obj_as_list(made)
    alone = output(spec, tiny_clap, {"inputs": noise_file()}, candidate_labels=["rain"], hypothesis_template="{} falls")
    assert alone == [{"label": "rain", "score": 1.0}]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "candidate_labels"),
        ({"candidate_labels": []}, "candidate_labels"),
        ({"candidate_labels": [""]}, "candidate_labels"),
        ({"candidate_labels": ["a"] * 201}, "200"),
        ({"candidate_labels": ["a"], "hypothesis_template": "none"}, "where the label goes"),
    ],
)
def test_labels_that_are_not_legal_are_named(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        job(zero_shot_audio_classification.SPEC, {"inputs": tone_file()}, **parameters)


def test_sounds_and_texts_are_vectors_of_one_space(tiny_clap: Clap) -> None:
    spec = audio_feature_extraction.SPEC
    sound = np.array(output(spec, tiny_clap, {"inputs": tone_file()}))
    again = np.array(output(spec, tiny_clap, {"inputs": tone_file(rate=48_000)}))
    text = np.array(output(spec, tiny_clap, {"text": "a dog barks " * 60}))
    assert sound.shape == text.shape
    assert np.linalg.norm(sound) == pytest.approx(1.0) == np.linalg.norm(text)
    assert sound @ again == pytest.approx(1.0, abs=0.01), "whatever the rate of the file"
    for wrong in ({}, {"inputs": tone_file(), "text": "both"}):
        with pytest.raises(ValueError, match="not both"):
            job(spec, wrong)


@pytest.mark.parametrize("several", [False, True])
def test_kinds_that_a_model_was_trained_on(tmp_path: Path, several: bool) -> None:
    spec = audio_classification.SPEC
    model = spec.load(tiny_sound_models.classifier(tmp_path, several=several), "cpu", "float32")
    made = output(spec, model, {"inputs": noise_file()})
    assert {one["label"] for one in made} == {"dog", "rain", "speech"}
    AudioClassificationOutputElement.parse_obj_as_list(made)
    total = sum(one["score"] for one in made)
    assert (total == pytest.approx(1.0)) is not several
    raw = output(spec, model, {"inputs": noise_file()}, function_to_apply="none", top_k=1)
    assert len(raw) == 1 and raw[0]["label"] == made[0]["label"]
    with pytest.raises(TaskError, match="inputs"):
        output(spec, model, {"inputs": b"no sound"})


# ------------------------------------------------------------------------------------------------- voices


@pytest.fixture(scope="module")
def voices() -> VoiceEncoder:
    return speaker_embedding.SPEC.load(real_folder("resemblyzer"), "cpu", "float32")


def test_voices_are_told_apart(voices: VoiceEncoder) -> None:
    names = {
        "linda": ("LJ001-0002.wav", "LJ001-0004.wav"),
        "reader": ("sense_and_sensibility_01_austen_64kb-0870.wav", "sense_and_sensibility_01_austen_64kb-0890.wav"),
        "jfk": ("jfk.flac", "jfk48.wav"),
    }
    files = {name: [asset(f"audio/{file}").read_bytes() for file in pair] for name, pair in names.items()}
    for name, (first, second) in files.items():
        same = output(speaker_similarity.SPEC, voices, {"inputs": first, "other": second})
        assert same["same_speaker"], (name, same)
        for other in files.keys() - {name}:
            unlike = output(speaker_similarity.SPEC, voices, {"inputs": first, "other": files[other][1]})
            assert not unlike["same_speaker"] and unlike["score"] < 0.65, (name, other, unlike)
    vector = np.array(output(speaker_embedding.SPEC, voices, {"inputs": files["jfk"][0]}))
    assert vector.shape == (256,) and np.linalg.norm(vector) == pytest.approx(1.0)


@pytest.mark.parametrize("samples", [0, 1, 100])
def test_a_moment_of_sound_is_too_little(samples: int) -> None:
    assert len(_without_pauses(np.ones(samples, np.float32))) == 0


def test_silence_has_no_voice(voices: VoiceEncoder) -> None:
    silent = wav_file(np.zeros(32_000, np.int16), 16_000)
    with pytest.raises(TaskError, match=r"inputs: there is less than 0\.5 s"):
        output(speaker_embedding.SPEC, voices, {"inputs": silent})
    with pytest.raises(TaskError, match="other: there is less than"):
        output(speaker_similarity.SPEC, voices, {"inputs": noise_file(2.0), "other": silent})


def test_a_pickle_that_holds_code_is_not_opened(tmp_path: Path) -> None:
    import pickle

    touched = tmp_path / "touched"

    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (touched,)

    (tmp_path / FILE).write_bytes(pickle.dumps({"model_state": Trap()}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        speaker_embedding.SPEC.load(tmp_path, "cpu", "float32")
    assert not touched.exists()
