"""Test material that is not part of the project, and how much of a sentence was heard."""

from __future__ import annotations

import os
import re
from pathlib import Path

import av
import numpy as np
import pytest

from media.frames import Samples, silence
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.interfaces.vad import VAD_RATE

_ROOT = Path(__file__).resolve().parents[1]


def asset(name: str) -> Path:
    """The file ``name`` (such as ``audio/jfk.flac``) of the test material; the test is skipped where there is none.

    The folder is ``VISAVIS_TEST_ASSETS``, or ``shared/assets`` beside the repository.
    """
    folder = Path(os.environ.get("VISAVIS_TEST_ASSETS") or _ROOT.parent / "shared" / "assets")
    path = folder / name
    if not path.exists():
        pytest.skip(f"no {name} in the test material ({folder}); VISAVIS_TEST_ASSETS names another folder")
    return path


def speech_16k(name: str) -> Samples:
    """The sound file ``name`` of the test material as 16 kHz mono, shape ``(n,)``."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=VAD_RATE)
    parts: list[Samples] = []
    with av.open(str(asset(name))) as container:
        for frame in container.decode(audio=0):
            frame.pts = None  # a pts that jumps would make the resampler insert silence
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.concatenate(parts)


def words(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return re.findall(r"[a-z0-9']+", text.lower())


def word_recall(expected: str, heard: str) -> float:
    """Share of the words of ``expected`` found in ``heard`` in order (longest common subsequence), 0–1."""
    wanted, got = words(expected), words(heard)
    best = [0] * (len(got) + 1)
    for word in wanted:
        before = 0  # best[n] of the row above
        for n, other in enumerate(got, 1):
            above = best[n]
            best[n] = before + 1 if word == other else max(above, best[n - 1])
            before = above
    return best[-1] / len(wanted) if wanted else 1.0


async def spoken_16k(text: str) -> Samples:
    """``text`` as the embedded voice says it, with 0.3 s of silence around, 16 kHz mono."""
    voice = EspeakVoice()
    resampler = av.AudioResampler(format="s16", layout="mono", rate=VAD_RATE)
    parts = [silence(0.3, VAD_RATE)]
    async for speech in voice.synthesize(text):
        frame = av.AudioFrame.from_ndarray(speech.samples[None, :], format="s16", layout="mono")
        frame.sample_rate = speech.rate
        parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    await voice.close()
    return np.concatenate([*parts, silence(0.3, VAD_RATE)])
