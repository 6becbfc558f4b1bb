"""Loading a Whisper: what is asked of the folder and the device; and its spectrogram."""

from __future__ import annotations

import shutil

import ctranslate2
import numpy as np
import pytest

from pipelines.engines.stt.whisper_model import choose_compute_type, load_whisper
from pipelines.errors import ModelError


def test_a_folder_without_a_model_is_named_with_what_it_lacks(tmp_path, whisper_folder):
    with pytest.raises(ModelError, match=r"model\.bin, config\.json, tokenizer\.json not found") as incomplete:
        load_whisper(tmp_path, "cpu")
    assert incomplete.value.code == "whisper_incomplete"
    for name in ("config.json", "tokenizer.json", "vocabulary.json"):
        shutil.copy(whisper_folder / name, tmp_path)
    (tmp_path / "model.bin").write_bytes(b"no model")
    with pytest.raises(ModelError, match="cannot be loaded as a Whisper on cpu") as broken:
        load_whisper(tmp_path, "cpu")
    assert broken.value.code == "whisper_broken"


def test_a_folder_without_feature_settings_gets_those_of_its_model(tmp_path, whisper_folder):
    shutil.copytree(whisper_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "preprocessor_config.json").write_text('{"feature_size": 128}')
    whisper = load_whisper(tmp_path, "cpu")
    assert whisper.encode(whisper.spectrogram(np.zeros(8000, np.int16), 200)[None]).shape[:2] == [1, 100]


@pytest.mark.skipif(ctranslate2.get_cuda_device_count() > 0, reason="there is a graphics card")
def test_a_missing_graphics_card_is_told(whisper_folder):
    with pytest.raises(ModelError, match="on cuda") as broken:
        load_whisper(whisper_folder, "cuda")
    assert broken.value.code == "whisper_broken"


@pytest.mark.parametrize(
    ("device", "supported", "chosen"),
    [
        ("cpu", {"int8", "int8_float32", "float32"}, "int8_float32"),
        ("cpu", {"float32"}, "float32"),
        ("cuda", {"float32", "int8", "int8_float16", "float16"}, "float16"),
        ("cuda", {"float32", "int8", "int8_float32"}, "float32"),
        ("cuda", set(), "default"),
    ],
)
def test_the_best_numbers_that_the_device_has_are_chosen(device, supported, chosen):
    assert choose_compute_type(device, supported) == chosen


@pytest.mark.parametrize("frames", [200, 700, 3000])
def test_the_spectrogram_is_that_of_the_samples_padded_with_silence(whisper, frames):
    samples = np.random.default_rng(0).normal(0, 2000, 16_000).astype(np.int16)
    padded = np.zeros(frames * 160, np.int16)
    padded[: len(samples)] = samples
    whole = whisper._model.feature_extractor(padded.astype(np.float32) / 32768.0, padding=160)[:, :frames]
    np.testing.assert_allclose(whisper.spectrogram(samples, frames), whole, atol=1e-5)


def test_the_spectrogram_of_digital_silence_is_flat(whisper):
    assert np.ptp(whisper.spectrogram(np.zeros(16_000, np.int16), 300)) < 1e-6
