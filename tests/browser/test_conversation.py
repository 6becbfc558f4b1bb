"""The page against the real server with the real embedded engines: speak into it, be understood and answered."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from media.opus import RATE
from media.resample import Resampler
from pipelines.engines.espeak import EspeakVoice
from server.engines import build_engines
from server.settings import load_settings
from tests.browser.waiting import until

pytestmark = pytest.mark.browser

QUESTION = "How many people are there?"


async def spoken(text: str, path: Path) -> Path:
    """``text`` said by espeak-ng, between two seconds of silence, as a 48 kHz WAV file."""
    voice, resampler = EspeakVoice(), Resampler(RATE)
    pieces = [resampler.push(piece.samples, piece.rate) async for piece in voice.synthesize(text, speed=0.9)]
    await voice.close()
    room = np.random.default_rng(1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        speech = np.pad(np.concatenate([*pieces, resampler.flush()]), 2 * RATE)
        noisy = speech + room.normal(0, 20, len(speech))  # no microphone hears digital silence
        file.writeframes(noisy.clip(-32768, 32767).astype(np.int16).tobytes())
    return path


async def test_speaking_to_the_page(serve, browser_page, tmp_path):
    settings = load_settings({"profile": "embedded", "vision": False, "stt_processes": 1})
    url, _ = await serve(await build_engines(settings))
    page = await browser_page(url, wav=await spoken(QUESTION, tmp_path / "question.wav"))
    await page.get_by_role("button", name="Start").click()
    state = await until(page, "state => state.transcript.some(line => line.role === 'user' && line.final)", 20)
    heard = next(line["text"] for line in state["transcript"] if line["role"] == "user")
    assert len(set(heard.split()) & set("how many people are there".split())) >= 2, heard
    state = await until(
        page, "state => state.remoteEnergy > 0 && state.latency !== null && state.status === 'listening'", 20
    )
    answers = [line["text"] for line in state["transcript"] if line["role"] == "assistant"]
    assert answers and all(answers)
    await page.get_by_role("button", name="Stop", exact=True).click()
    await until(page, "state => state.status === 'idle'")
