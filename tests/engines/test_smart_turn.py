"""The turn detector's features: computed for the sound alone, and yet those of the whole padded window."""

from __future__ import annotations

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from pipelines.engines import smart_turn
from pipelines.engines.smart_turn import SmartTurn
from pipelines.errors import ListenError
from pipelines.ports import VAD_RATE


@pytest.mark.parametrize("length", [4_801, 16_000, 16_001, 40_000, 127_999, 128_000, 176_000])
def test_features_are_those_of_the_whole_window(length):
    extract = FeatureExtractor(feature_size=80, chunk_length=8)
    time = np.arange(length) / VAD_RATE
    noise = np.random.default_rng(length).normal(0, 300, length)
    samples = (4000 * np.sin(2 * np.pi * 220 * time) * (np.sin(5 * time) > 0) + noise).astype(np.int16)
    window = smart_turn._window(samples)
    whole = np.asarray(extract(window, padding=0), np.float32)[:, :800]
    assert np.array_equal(smart_turn._features(extract, window, length), whole)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(ListenError, match=r"model\.onnx is no usable ONNX model"):
        SmartTurn(path)
