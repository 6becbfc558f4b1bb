"""Composition: which voice is wrapped by the phrase cache, and what its files are good for."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from pipelines.engines.stubs import BenchVoice
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.routing.definition import load
from pipelines.routing.fallback_voice import FallbackVoice
from pipelines.voice.phrases import CachedVoice
from server.engines import speak
from server.engines.parts import Parts
from server.settings import load_settings


async def voice(tmp_path, **flags):
    settings = load_settings({"cache": tmp_path, **flags})
    return await asyncio.to_thread(speak.speak, Parts(settings, load(settings.pipeline), print))


async def say(voice, text: str) -> int:
    async with aclosing(voice.synthesize(text)) as pieces:
        return sum([len(piece.samples) async for piece in pieces])


@pytest.mark.parametrize(
    ("flags", "kind", "kept"),
    [
        ({}, CachedVoice, False),
        ({"phrase_disk_mb": 8}, CachedVoice, True),
        ({"phrase_cache_mb": 0, "phrase_disk_mb": 8}, CachedVoice, True),
        ({"phrase_cache_mb": 0}, EspeakVoice, False),
        ({"profile": "bench"}, BenchVoice, False),
    ],
    ids=str,
)
async def test_real_voices_remember_as_the_settings_say(tmp_path, flags, kind, kept):
    made = await voice(tmp_path, **flags)
    made = made.engines[0] if isinstance(made, FallbackVoice) else made
    assert type(made) is kind
    assert await say(made, "Good morning.")
    await made.close()
    assert len(list((tmp_path / "phrases").glob("*.phrase"))) == int(kept)


async def test_files_serve_the_next_start_until_the_code_of_the_voice_changes(tmp_path, monkeypatch):
    for code, hits in (("old", 0), ("old", 1), ("new", 0)):
        monkeypatch.setattr(speak, "_code_of", lambda engine, code=code: code)
        made = (await voice(tmp_path, phrase_disk_mb=8)).engines[0]
        await say(made, "Good morning.")
        await made.close()
        assert made.hits == hits
