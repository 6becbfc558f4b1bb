"""The voice stages on real weights: what Piper says Moonshine hears, and the starter model answers it aloud."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from media.resample import Resampler
from pipelines.routing.executor import Executor
from pipelines.routing.items import Sound, Text
from server.engines.build import build_engines
from server.settings import load_settings
from tests.assets import word_recall
from tests.benchmarks.streaming import LISTEN, SPEAK, THINK, Direct
from tests.fakes.stage_engines import gives, outputs, pipeline, seconds_of, text_of
from tests.real_models import real_model

SENTENCE = "The quick brown fox jumps over the lazy dog, and then it sleeps for a very long time."


@pytest.fixture
async def executor() -> AsyncIterator[Executor]:
    for model_id in ("piper-en_US-joe-medium", "moonshine-tiny-en"):
        real_model(model_id)
    flags = {"download": False, "vision": False, "chat_model": "starter", "stt_model": "moonshine-tiny-en"}
    engines = await build_engines(load_settings(flags))
    executor = Executor(Direct(engines.voice), engines.voice.vad, Resampler)
    yield executor
    executor.close()
    await engines.close()


async def test_what_is_read_aloud_is_heard_and_answered(executor: Executor) -> None:
    said = await outputs(executor, pipeline(SPEAK), {"text": gives(Text(SENTENCE, True))})
    assert 3 < seconds_of(said, "speak") < 9
    sounds = [item for _, item in said if isinstance(item, Sound)]
    assert [sound.start for sound in sounds] == sorted(sound.start for sound in sounds)
    for streams in (True, False):
        stages = pipeline(LISTEN, THINK, SPEAK, enable_streaming=streams)
        found = await outputs(executor, stages, {"audio": gives(*sounds)})
        assert word_recall(SENTENCE, text_of(found, "listen")) > 0.8, text_of(found, "listen")
        assert text_of(found, "think").strip()
        assert seconds_of(found, "speak") > 0.3
