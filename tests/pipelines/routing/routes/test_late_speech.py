"""Recognisers and voices that are late: the next one is asked beside them, and an utterance goes on all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np

from media.clock import MonotonicClock
from pipelines.interfaces.tts import Speech
from pipelines.routing.definition import ForwardingPolicy
from pipelines.routing.policy import Need
from pipelines.routing.routes.speech import FallbackRecognizer, FallbackVoice
from tests.fakes.backends import recorded, told
from tests.fakes.engines import FakeRecognizer, FakeVoice
from tests.fakes.failures import Failures

SOON = Need(policy=ForwardingPolicy(enable_latency_check=True, max_latency_ms=10.0))
SOUND = np.ones(8000, np.int16)


def named(engine: Any, name: str) -> Any:
    engine.name = name
    return engine


async def test_the_next_recogniser_hears_what_the_first_one_takes_too_long_for() -> None:
    late, quick = named(FakeRecognizer("late"), "late"), named(FakeRecognizer("in time"), "quick")
    late.gate.clear()
    with recorded() as record:
        route = FallbackRecognizer([late, quick], Failures(), MonotonicClock(), need=SOON)
        recognition = await route.open()
        await recognition.feed(SOUND)
        assert (await recognition.transcript()).text == "in time"
        assert late.closed == 1
        await recognition.feed(SOUND)
        assert (await recognition.transcript()).text == "in time"
        await recognition.close()
    assert len(quick.heard[-1]) == 2 * len(SOUND), "the winner hears the rest"
    assert told(record) == [("late", "late"), ("quick", "served")]
    assert (late.closed, quick.closed) == (1, 1)


async def test_a_transcript_that_nobody_waits_for_does_not_end_the_utterance() -> None:
    for need in (Need(), SOON):
        engine = FakeRecognizer("hello")
        engine.gate.clear()
        recognition = await FallbackRecognizer([engine], Failures(), MonotonicClock(), need=need).open()
        await recognition.feed(SOUND)
        asked = asyncio.create_task(recognition.transcript())
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait([asked])
        engine.gate.set()
        await recognition.feed(SOUND)
        assert (await recognition.transcript()).text == "hello"
        assert len(engine.heard[-1]) == 2 * len(SOUND)
        await recognition.close()
        assert engine.closed == engine.opened == 1


class LateVoice(FakeVoice):
    """Never says anything."""

    name = "late"
    ended = 0

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        try:
            await asyncio.Event().wait()
            yield Speech(SOUND, 16_000)
        finally:
            self.ended += 1


async def test_the_next_voice_speaks_what_the_first_one_does_not_begin() -> None:
    late, quick = LateVoice(), FakeVoice()
    with recorded() as record:
        route = FallbackVoice([late, quick], Failures(), MonotonicClock(), need=SOON)
        pieces = [piece async for piece in route.synthesize("one two")]
    assert [word.text for piece in pieces for word in piece.words] == ["one", "two"]
    assert told(record) == [("late", "late"), ("fake-tts", "served")]
    assert late.ended == 1
