"""The turn detector's features: computed for the sound alone, and yet those of the whole padded window."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from pipelines.engines.turn import smart_turn
from pipelines.engines.turn.smart_turn import SmartTurn
from pipelines.errors import EngineStuckError, STTError
from pipelines.interfaces.vad import VAD_RATE
from tests.fakes.clock import FakeClock
from tests.patience import PATIENCE


@pytest.mark.parametrize("length", [4_801, 16_000, 16_001, 40_000, 127_999, 128_000, 176_000])
def test_features_are_those_of_the_whole_window(length):
    extract = FeatureExtractor(feature_size=80, chunk_length=8)
    time = np.arange(length) / VAD_RATE
    noise = np.random.default_rng(length).normal(0, 300, length)
    samples = (4000 * np.sin(2 * np.pi * 220 * time) * (np.sin(5 * time) > 0) + noise).astype(np.int16)
    window = smart_turn._window(samples)
    whole = np.asarray(extract(window, padding=0), np.float32)[:, :800]
    features = smart_turn._features(extract, window, length)
    np.testing.assert_allclose(features, whole, atol=1e-3)  # libraries add in another order for another length


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(STTError, match=r"model\.onnx is no usable ONNX model"):
        SmartTurn(path)


async def test_a_judgement_that_hangs_is_given_up(tmp_path, monkeypatch):
    hanging, gate = threading.Event(), threading.Event()

    def run(*_: object) -> list[np.ndarray]:
        if not hanging.is_set():
            hanging.set()
            gate.wait()
        return [np.array([[0.75]], np.float32)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: SimpleNamespace(run=run))
    detector = SmartTurn(tmp_path / "model.onnx")
    detector._worker.crew.clock = FakeClock()
    first, second = (
        asyncio.create_task(detector.completeness(np.zeros(VAD_RATE, np.int16))) for _ in ("hangs", "is judged")
    )
    assert await asyncio.to_thread(hanging.wait, PATIENCE)
    detector._worker.crew.clock.advance(5.0)
    detector._worker.crew.look()
    with pytest.raises(EngineStuckError):
        await first
    assert await second == pytest.approx(0.75)
    gate.set()
    await detector.close()
