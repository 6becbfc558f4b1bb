"""How runs end before they are done: readers that leave, stages that fail, deadlines; and that nothing is left then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import numpy as np
import pytest

from media.frames import Picture
from pipelines.errors import LLMError, PipelineError, TTSError
from pipelines.execution.inbox import size_of
from pipelines.execution.pipe import MOST_BYTES, MOST_ITEMS, Pipe
from pipelines.interfaces.llm import ChatRequest
from pipelines.interfaces.stt import Transcript
from pipelines.interfaces.tts import Speech
from pipelines.routing.executor import CANCELLED, StageEnded, StageOutput
from pipelines.routing.items import Sound, Text
from pipelines.routing.run import Wishes, record, wishes
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice
from tests.fakes.stage_engines import (
    VOICE,
    FakeStageEngines,
    all_events,
    executing,
    failing,
    gives,
    outputs,
    pipeline,
    quiet,
    spoken,
)
from tests.patience import until

LISTEN, THINK, SPEAK = VOICE


class Busy:
    """What counts the work that is under way."""

    def __init__(self) -> None:
        self.started = self.cancelled = 0
        self.began = asyncio.Event()

    async def forever(self) -> None:
        self.started += 1
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class BusyRecognizer(Busy):
    name = "busy-stt"
    streams_partials = False

    async def open(self) -> BusyRecognizer:
        return self

    async def feed(self, samples: np.ndarray) -> str:
        return ""

    async def transcript(self) -> Transcript:
        await self.forever()
        raise AssertionError

    async def close(self) -> None:
        pass


class BusyModel(Busy):
    name = "busy-llm"

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str]:
        yield "One moment please, I am thinking about it. "
        yield "So"
        await self.forever()


class BusyVoice(Busy):
    name = "busy-tts"
    voices = ("busy",)

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech]:
        yield Speech(np.zeros(1600, np.int16), 16_000)
        await self.forever()


async def test_a_reader_that_leaves_ends_every_stage() -> None:
    llm, tts = BusyModel(), BusyVoice()
    engines = FakeStageEngines(llm=llm, tts=tts)
    async with executing(engines, FakeClock()) as executor:  # whose time does not pass: nobody waits for a while
        run = executor.start(pipeline(THINK, SPEAK), {"text": gives(Text("hello", True))})
        async with run:
            async for event in run.events():
                if isinstance(event, StageOutput) and event.stage == "speak":
                    break
            await llm.began.wait()
            await tts.began.wait()
    assert (llm.started, llm.cancelled) == (tts.started, tts.cancelled) == (1, 1)
    assert [one.error for one in run.records.values()] == [CANCELLED, CANCELLED]


async def test_a_reader_that_is_cancelled_ends_every_stage() -> None:
    stt = BusyRecognizer()
    async with executing(FakeStageEngines(stt=stt)) as executor:
        reading = asyncio.create_task(all_events(executor.start(pipeline(*VOICE), {"audio": gives(spoken(1.0))})))
        await stt.began.wait()
        reading.cancel()
        await asyncio.wait([reading])
    assert reading.cancelled()
    assert (stt.started, stt.cancelled) == (1, 1)


async def test_a_failure_ends_the_stages_before_and_after() -> None:
    llm = BusyModel()
    engines = FakeStageEngines(llm=llm, tts=FakeVoice(fails=TTSError("tts_failed", "hoarse")))
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[Text]:
        try:
            yield Text("hello", True)
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with executing(engines) as executor:
        run = executor.start(pipeline(THINK, SPEAK), {"text": endless()})
        events, error = await failing(run)
    assert error.message == "hoarse"
    assert run.failed == "speak"
    assert llm.started == llm.cancelled
    assert closed.is_set(), "the input is closed, too"
    assert run.records["think"].error == CANCELLED
    assert [event.stage for event in events if isinstance(event, StageEnded)].count("speak") == 1


async def test_an_input_that_breaks_is_told_in_its_own_words() -> None:
    async def broken() -> AsyncGenerator[Sound]:
        yield spoken(0.5)
        raise PipelineError("invalid_input", "audio: it is broken")

    async with executing(FakeStageEngines()) as executor:
        _, error = await failing(executor.start(pipeline(*VOICE), {"audio": broken()}))
    assert (error.code, error.message) == ("invalid_input", "audio: it is broken")


async def test_what_is_cut_short_is_no_whole_to_those_behind() -> None:
    engines = FakeStageEngines(llm=FakeModel(LLMError("llm_failed", "no")), tts=FakeVoice())
    async with executing(engines) as executor:
        await failing(executor.start(pipeline(THINK, SPEAK), {"text": gives(Text("a", True))}))
    assert engines.tts.said == []


@pytest.mark.parametrize("streams", [True, False])
async def test_a_deadline_that_is_missed_is_told_with_how_far_it_came(streams: bool) -> None:
    clock, llm = FakeClock(), BusyModel()
    tts = FakeVoice()
    tts.synthesize = BusyVoice().synthesize if not streams else _silent  # type: ignore[method-assign]
    async with executing(FakeStageEngines(llm=llm, tts=tts), clock) as executor:
        stages = pipeline(THINK, SPEAK, enable_streaming=streams)
        run = executor.start(stages, {"text": gives(Text("a", True))}, Wishes(max_latency_ms=500))
        found = asyncio.create_task(failing(run))
        await llm.began.wait()
        await clock.sleeper()
        clock.advance(0.4)
        await asyncio.sleep(0)
        assert not found.done()
        clock.advance(0.2)
        events, error = await found
    assert error.code == "latency_exceeded"
    assert "after 500 ms" in error.message
    assert ("think had given something" if streams else "think had begun") in error.message
    assert any(isinstance(event, StageOutput) for event in events) == streams
    assert run.records["think"].ended == pytest.approx(0.6)
    assert llm.cancelled == 1


async def _silent(text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech]:
    return
    yield


async def test_a_deadline_that_is_kept_does_not_end_what_goes_on() -> None:
    clock, llm = FakeClock(), BusyModel()
    async with executing(FakeStageEngines(llm=llm), clock) as executor:
        run = executor.start(pipeline(THINK), {"text": gives(Text("a", True))}, Wishes(max_latency_ms=500))
        found = asyncio.create_task(all_events(run))
        await llm.began.wait()
        await clock.sleeper()
        clock.advance(2.0)
        await asyncio.sleep(0)
        assert not found.done()
        found.cancel()
        await asyncio.wait([found])


async def test_stages_know_the_wishes_and_where_to_write_what_they_did() -> None:
    seen = []

    class Noting(FakeModel):
        async def stream(self, request: ChatRequest) -> AsyncGenerator[str]:
            seen.append((wishes.get().priority, record.get()))
            yield "Yes."

    async with executing(FakeStageEngines(llm=Noting())) as executor:
        run = executor.start(pipeline(THINK), {"text": gives(Text("a", True))}, Wishes(priority="high"))
        await all_events(run)
    assert seen == [("high", run.records["think"])]
    assert record.get() is None


# ---- bounds


async def test_a_source_waits_for_who_is_slow() -> None:
    given = 0

    async def endless() -> AsyncGenerator[Text]:
        nonlocal given
        while True:
            given += 1
            yield Text(f"number {given}. ", True)

    async with executing(FakeStageEngines()) as executor:
        run = executor.start(pipeline(SPEAK), {"text": endless()})
        async with run:
            events = run.events()
            for _ in range(500):
                await anext(events)
            waiting = [len(work.inbox.pipe) for work in run._works.values()]
            await events.aclose()
    assert given < 500 + 10 * MOST_ITEMS
    assert max(waiting) <= MOST_ITEMS


async def test_a_recording_may_go_on_for_ever() -> None:
    """Nine minutes of talk with pauses: the sound that waits is bounded."""
    kept = []

    async def talk() -> AsyncGenerator[Sound]:
        for n in range(300):
            yield quiet(1.0) if n % 4 == 3 else spoken(2.0)
            kept.append(max(work.inbox.pipe.bytes for work in run._works.values()))

    engines = FakeStageEngines(stt=FakeRecognizer(*(["word"] * 100)))
    async with executing(engines) as executor:
        run = executor.start(pipeline(LISTEN), {"audio": talk()})
        events = await all_events(run)
    texts = [event.item for event in events if isinstance(event, StageOutput) and isinstance(event.item, Text)]
    assert len(texts) == 75
    assert texts[-1].start == pytest.approx(74 * 7.0, abs=0.5)
    assert engines.stt.opened == engines.stt.closed
    assert max(kept) <= MOST_BYTES


async def test_a_source_waits_when_much_is_kept() -> None:
    size = MOST_BYTES // 4
    pipe: Pipe[Sound] = Pipe(size_of)
    sent = 0

    async def send() -> None:
        nonlocal sent
        for _ in range(20):
            await pipe.send(Sound(np.zeros(size // 2, np.int16), 16_000))
            sent += 1
        pipe.close()

    sending = asyncio.create_task(send())
    await until(lambda: sent >= 4)
    taken = [item async for item in pipe]
    await sending
    assert len(taken) == 20
    assert pipe.most_bytes <= MOST_BYTES + size


async def test_what_has_to_be_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.execution.pipe.MOST_HELD", 1 << 20)

    async def endless() -> AsyncGenerator[Sound]:
        while True:
            yield spoken(1.0)

    async with executing(FakeStageEngines()) as executor:
        run = executor.start(pipeline(LISTEN, enable_streaming=False), {"audio": endless()})
        _, error = await failing(run)
    assert error.code == "input_too_large"
    assert "enable_streaming: true" in error.message


# ---- turns


async def test_in_batch_each_stage_gets_all_and_gives_all() -> None:
    engines = FakeStageEngines(llm=FakeModel("It rains. Take a coat."))
    async with executing(engines) as executor:
        stages = pipeline(THINK, SPEAK, enable_streaming=False)
        found = await outputs(executor, stages, {"text": gives(Text("And "), Text("today?", True))})
    assert [stage for stage, _ in found] == ["think", "speak"]
    assert found[0][1].text.strip() == "It rains. Take a coat."
    assert len(found[1][1].samples) == 5 * 4000


TWO = ({**THINK, "id": "one", "inputs": ["input"]}, {**THINK, "id": "two", "inputs": ["input"]})


async def test_stages_that_do_not_depend_on_each_other_take_turns() -> None:
    one, two = FakeModel("1"), FakeModel("2")
    one.gate.clear()
    async with executing(FakeStageEngines(llm={"one": one, "two": two})) as executor:
        run = executor.start(pipeline(*TWO), {"text": gives(Text("a", True))})
        found = asyncio.create_task(all_events(run))
        await until(lambda: bool(one.requests))
        assert not two.requests
        one.gate.set()
        await found
    assert two.requests
    first, second = run.records.values()
    assert first.ended is not None
    assert second.started is not None
    assert first.ended <= second.started


async def test_or_run_at_the_same_time() -> None:
    one, two = FakeModel("1"), FakeModel("2")
    one.gate.clear()
    async with executing(FakeStageEngines(llm={"one": one, "two": two})) as executor:
        run = executor.start(pipeline(*TWO, parallel_stages=True), {"text": gives(Text("a", True))})
        found = asyncio.create_task(all_events(run))
        await until(lambda: bool(two.requests))
        assert run.records["one"].ended is None
        one.gate.set()
        await found


async def test_a_turn_comes_when_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that goes on for ever: the stage that waits would wait for ever, and all of it be kept."""
    monkeypatch.setattr("pipelines.execution.pipe.MOST_WAITING", 1 << 20)
    watched = asyncio.Event()

    async def endless() -> AsyncGenerator[Picture]:
        time = 0.0
        while not watched.is_set():
            yield Picture(np.zeros((96, 128, 3), np.uint8), time)
            time += 0.1

    async def talk() -> AsyncGenerator[Sound]:
        await watched.wait()
        yield spoken(1.0)

    stages = ({**LISTEN, "inputs": ["input"]}, {"id": "watch", "type": "video_analysis", "inputs": ["input"]})
    async with executing(FakeStageEngines()) as executor:
        run = executor.start(pipeline(*stages), {"audio": talk(), "image": endless()})
        async with run:
            async for event in run.events():
                if isinstance(event, StageOutput) and event.stage == "watch":
                    watched.set()
    assert {event.error for event in run.records.values()} == {""}


async def test_turns_cannot_wait_for_each_other() -> None:
    """``last`` takes what ``one`` gives, and has to wait for ``two``, which waits for ``one``."""
    many = " ".join(f"w{n}" for n in range(10 * MOST_ITEMS))
    engines = FakeStageEngines(llm={"one": FakeModel(many), "two": FakeModel("2"), "last": FakeModel("3")})
    last = {**THINK, "id": "last", "inputs": ["one"]}
    async with executing(engines) as executor:
        found = await outputs(executor, pipeline(*TWO, last), {"text": gives(Text("a", True))})
    assert {stage for stage, _ in found} == {"one", "two", "last"}


async def test_a_stage_without_anything_to_work_on_is_left_out() -> None:
    watch = {"id": "watch", "type": "video_analysis", "inputs": ["input"]}
    think = {**THINK, "inputs": ["input", "watch"]}
    async with executing(FakeStageEngines()) as executor:
        run = executor.start(pipeline(watch, think), {"text": gives(Text("a", True))})
        await all_events(run)
    assert list(run.records) == ["think"]
