"""Silero VAD for real: speech is speech, silence is not, and sessions do not disturb each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.engines.vad.silero import SileroVad, model_path
from pipelines.errors import STTError
from pipelines.interfaces.vad import VAD_RATE, VAD_WINDOW
from tests.assets import speech_16k


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    return SileroVad()


def probabilities(vad: SileroVad, samples: np.ndarray) -> np.ndarray:
    activity = vad.open()
    whole = len(samples) - len(samples) % VAD_WINDOW
    return np.array([activity.probability(samples[i : i + VAD_WINDOW]) for i in range(0, whole, VAD_WINDOW)])


async def spoken(text: str) -> np.ndarray:
    from media.resample import Resampler

    voice, resampler = EspeakVoice(), Resampler(VAD_RATE)
    parts = [resampler.push(piece.samples, piece.rate) async for piece in voice.synthesize(text)]
    await voice.close()
    return np.concatenate([*parts, resampler.flush()])


async def test_speech_and_silence(vad):
    speech = await spoken("This is a sentence that anybody would take for speech.")
    found = probabilities(vad, np.concatenate([np.zeros(VAD_RATE, np.int16), speech, np.zeros(VAD_RATE, np.int16)]))
    assert found[:28].max() < 0.2
    assert np.median(found[32 : 32 + len(speech) // VAD_WINDOW]) > 0.8
    assert found[-15:].max() < 0.2


def test_noise_and_tones_are_no_speech(vad):
    rng = np.random.default_rng(1)
    assert probabilities(vad, rng.normal(0, 300, 2 * VAD_RATE).astype(np.int16)).max() < 0.5
    tone = (8000 * np.sin(2 * np.pi * 1000 * np.arange(2 * VAD_RATE) / VAD_RATE)).astype(np.int16)
    assert np.median(probabilities(vad, tone)) < 0.3


async def test_sessions_keep_their_own_state(vad):
    speech = await spoken("One two three four.")
    alone = probabilities(vad, speech)
    first, second = vad.open(), vad.open()
    mixed = []
    for i in range(0, len(speech) - VAD_WINDOW, VAD_WINDOW):
        mixed.append(first.probability(speech[i : i + VAD_WINDOW]))
        second.probability(np.zeros(VAD_WINDOW, np.int16))
    assert np.allclose(mixed, alone[: len(mixed)])
    first.reset()
    assert first.probability(speech[:VAD_WINDOW]) == pytest.approx(alone[0], abs=1e-5)


def test_a_real_recording(vad):
    found = probabilities(vad, speech_16k("audio/jfk.flac"))
    assert 0.5 < (found > 0.5).mean() < 0.95


async def test_the_file_that_is_computed_sooner_says_the_same(vad):
    original = SileroVad(model_path().with_name("silero_vad.onnx"))
    assert model_path().name != "silero_vad.onnx", "the wheel has no other any more: each window costs more"
    speech = await spoken("This is a sentence that anybody would take for speech.")
    assert probabilities(vad, speech) == pytest.approx(probabilities(original, speech), abs=1e-5)


def test_a_broken_file_is_told(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(STTError) as broken:
        SileroVad(tmp_path / "broken.onnx")
    assert broken.value.code == "vad_broken"


def test_torch_is_not_imported():
    """Importing the package ``silero_vad`` would cost 190 MB and set torch to one thread."""
    code = (
        "import sys; from pipelines.engines.vad.silero import SileroVad; SileroVad(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0
