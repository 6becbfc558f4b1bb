"""Composition: which voice is wrapped by the phrase cache."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from pipelines.engines.stubs import BenchVoice
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.engines.tts.phrases import CachedVoice
from pipelines.routing.definition import load
from pipelines.routing.routes.speech import FallbackVoice
from server.engines import stages
from server.engines.parts import Parts
from server.settings import load_settings


async def voice(tmp_path, **flags):
    settings = load_settings({"cache": tmp_path, **flags})
    return await stages.tts(Parts(settings, load(settings.pipeline), print))


async def say(voice, text: str) -> int:
    async with aclosing(voice.synthesize(text)) as pieces:
        return sum([len(piece.samples) async for piece in pieces])


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ({}, CachedVoice),
        ({"phrase_cache_mb": 0}, EspeakVoice),
        ({"profile": "bench"}, BenchVoice),
    ],
    ids=str,
)
async def test_real_voices_remember_as_the_settings_say(tmp_path, flags, kind):
    made = await voice(tmp_path, **flags)
    made = made.engines[0] if isinstance(made, FallbackVoice) else made
    assert type(made) is kind
    assert await say(made, "Good morning.")
    await made.close()
