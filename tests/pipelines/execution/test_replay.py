"""Results that are kept, and made once for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from pipelines.errors import PipelineError
from pipelines.execution.replay import Replay, bytes_of
from pipelines.routing.items import Text
from pipelines.routing.run import Attempt, tried
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeRecognizer, FakeVoice
from tests.fakes.stage_engines import FakeStageEngines, all_events, executing, gives, outputs, pipeline, spoken
from tests.patience import until


class Maker:
    """Makes ``items`` one by one; each waits for ``gate``."""

    def __init__(self, *items: str | PipelineError) -> None:
        self.items = items
        self.begun = self.cancelled = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> AsyncGenerator[str]:
        self.begun += 1
        try:
            for item in self.items:
                await self.gate.wait()
                if isinstance(item, PipelineError):
                    raise item
                yield item
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def read(replay: Replay[str], make: Maker, hits: list[str] | None = None, key: str = "key") -> list[str]:
    told = hits if hits is not None else []
    return [item async for item in replay.stream(key, make, told.append)]


async def test_what_was_made_is_not_made_again_until_it_is_old() -> None:
    clock = FakeClock()
    replay: Replay[str] = Replay(clock, len, ttl=10.0)
    make, hits = Maker("a", "b"), []
    make.gate.set()
    for _ in range(2):
        assert await read(replay, make, hits) == ["a", "b"]
    assert (make.begun, len(hits)) == (1, 1)
    clock.advance(11.0)
    assert await read(replay, make, hits) == ["a", "b"]
    assert (make.begun, len(hits), len(replay)) == (2, 1, 1)


async def test_those_who_ask_at_the_same_time_get_it_as_it_is_made() -> None:
    replay: Replay[str] = Replay(FakeClock(), len)
    make = Maker("a", "b")
    readers = [asyncio.create_task(read(replay, make)) for _ in range(5)]
    await until(lambda: replay.joined == 4)
    readers[0].cancel()  # who asked first
    await asyncio.wait(readers[:1])
    make.gate.set()
    assert [await reader for reader in readers[1:]] == [["a", "b"]] * 4
    assert (make.begun, make.cancelled) == (1, 0)


async def test_the_last_who_leaves_ends_the_work() -> None:
    replay: Replay[str] = Replay(FakeClock(), len)
    make = Maker("a")
    readers = [asyncio.create_task(read(replay, make)) for _ in range(2)]
    await until(lambda: replay.joined == 1)
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    assert (make.begun, make.cancelled) == (1, 1)
    make.gate.set()
    assert await read(replay, make) == ["a"], "who asks then begins anew"


async def test_what_failed_fails_for_all_and_is_not_kept() -> None:
    replay: Replay[str] = Replay(FakeClock(), len)
    make = Maker("a", PipelineError("failed", "no"))
    readers = [asyncio.create_task(read(replay, make)) for _ in range(2)]
    await until(lambda: replay.joined == 1)
    make.gate.set()
    for reader in readers:
        with pytest.raises(PipelineError, match="no"):
            await reader
    assert len(replay) == 0


async def test_what_is_kept_is_bounded() -> None:
    replay: Replay[str] = Replay(FakeClock(), len, most=4096)
    for key in range(20):
        make = Maker("x" * 600)
        make.gate.set()
        await read(replay, make, key=str(key))
    assert replay.bytes <= 4096
    assert len(replay) == 6
    large = Maker("x" * 2000)
    large.gate.set()
    await read(replay, large, key="large")
    assert len(replay) == 6, "one result may not push out all others"


def test_weights_are_roughly_right() -> None:
    assert bytes_of([0.0] * 384) == 384 * 8
    assert bytes_of({"text": "x" * 1000}) > 1000


async def test_a_clause_is_spoken_once_and_a_sound_is_heard_once() -> None:
    engines = FakeStageEngines(stt=FakeRecognizer("hello", "hello again"), tts=FakeVoice())
    speak, listen = {"id": "speak", "type": "text_to_audio"}, {"id": "listen", "type": "audio_to_text"}
    async with executing(engines) as executor:
        for _ in range(2):
            run = executor.start(pipeline(speak), {"text": gives(Text("Hello there.", True))})
            await all_events(run)
        assert engines.tts.said == ["Hello there."]
        assert run.records["speak"].served is not None
        assert run.records["speak"].served.backend == "cache"
        stages = pipeline(listen, enable_streaming=False)
        for _ in range(2):
            [(_, text)] = await outputs(executor, stages, {"audio": gives(spoken(1.0))})
            assert text.text == "hello"


async def test_the_work_of_a_stand_in_is_not_kept() -> None:
    class Failing(FakeVoice):
        async def synthesize(self, text, voice=None, speed=1.0):
            noted = tried.get()
            assert noted is not None
            noted.append(Attempt("npu", "npu", "piper", "preferred", "failed"))
            noted.append(Attempt("cpu", "cpu", "espeak", "next", "served"))
            async for piece in super().synthesize(text, voice, speed):
                yield piece

    engines = FakeStageEngines(tts=Failing())
    async with executing(engines) as executor:
        for _ in range(2):
            await outputs(executor, pipeline({"id": "speak", "type": "text_to_audio"}), {"text": gives(Text("Hi."))})
    assert engines.tts.said == ["Hi.", "Hi."]


async def test_what_was_kept_is_told_once_for_all_clauses() -> None:
    engines = FakeStageEngines()
    clauses = [Text(f"Sentence number {number} is here.", True) for number in range(40)]
    async with executing(engines) as executor:
        for _ in range(2):
            run = executor.start(pipeline({"id": "speak", "type": "text_to_audio"}), {"text": gives(*clauses)})
            await all_events(run)
    assert len(engines.tts.said) == 40
    assert [(one.backend, one.outcome) for one in run.records["speak"].attempts] == [("cache", "served")]
