"""The turn detector's features: computed for the sound alone, and yet those of the whole padded window."""

from __future__ import annotations

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from pipelines.engines.turn.log_mel import log_mel
from pipelines.engines.turn.merging import POSITIONS, sounding
from pipelines.interfaces.vad import VAD_RATE
from tests.fakes.sounds import voiced


@pytest.mark.parametrize("length", [4_801, 16_000, 16_001, 40_000, 127_999, 128_000, 176_000])
def test_features_are_those_of_the_whole_window(length):
    samples = voiced(length)
    wanted = 8 * VAD_RATE
    audio = samples[-wanted:].astype(np.float32) / 32768.0
    audio = np.pad(audio, (wanted - len(audio), 0))
    window = np.asarray((audio - audio.mean()) / np.sqrt(audio.var() + 1e-7), np.float32)
    whole = np.asarray(FeatureExtractor(feature_size=80, chunk_length=8)(window, padding=0), np.float32)[:, :800]

    frames = 2 * min(POSITIONS, sounding(samples) + 4)
    features = log_mel(samples, frames)
    np.testing.assert_allclose(features, whole[:, -frames:], atol=1e-3)
    padding = whole[:, : 800 - frames]
    np.testing.assert_allclose(padding, np.repeat(features[:, 4:5], padding.shape[1], axis=1), atol=1e-3)


def test_silence_has_features_too():
    features = log_mel(np.zeros(VAD_RATE, np.int16), 108)
    assert features.shape == (80, 108)
    assert np.isfinite(features).all()
