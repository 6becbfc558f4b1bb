"""What is slow, wrong, hot or dead is left for somebody else, and everything that happened is written down."""

from __future__ import annotations

import asyncio

import pytest

from pipelines.errors import EngineBusyError, LLMError
from pipelines.interfaces.llm import ChatRequest, Message
from pipelines.routing.run import Wishes
from tests.fakes.backends import Backend, recorded, routed, said, told
from tests.fakes.clock import FakeClock

DEAD = LLMError("llm_unreachable", "no answer from it")
HEDGED = {"enable_latency_check": True, "max_latency_ms": 300.0}
SURE = {"enable_confidence_check": True, "min_confidence": 0.5}
COOL = {"enable_thermal_check": True, "max_temperature": 80.0}


async def ended(clock: FakeClock, task: asyncio.Task[str], step: float = 0.1) -> str:
    """The result of ``task``, for which time passes as long as it waits for some."""
    while not task.done():
        sleeper = asyncio.create_task(clock.sleeper())
        await asyncio.wait([sleeper, task], return_when=asyncio.FIRST_COMPLETED)
        sleeper.cancel()
        if not task.done():
            clock.advance(step)
            for _ in range(10):
                await asyncio.sleep(0)
    return task.result()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_who_is_slow_is_joined_by_the_next_one_and_the_first_usable_answer_is_taken(clock: FakeClock) -> None:
    slow, quick = Backend("slow", "Late.", clock=clock, seconds=5.0), Backend("quick", "In ", "time.", clock=clock)
    model = routed(clock, slow, quick, **HEDGED)
    with recorded() as record:
        assert await ended(clock, asyncio.create_task(said(model))) == "In time."
    assert told(record) == [("slow", "late"), ("quick", "served")]
    assert (slow.cancelled, slow.running, quick.running) == (1, 0, 0)
    assert clock.now() < 0.5
    assert record.attempts[1].started == pytest.approx(0.3, abs=0.11)
    assert model.forwarded == {("slow", "quick"): 1}
    assert record.json()["forwarded"] is True


async def test_who_is_in_time_is_not_joined(clock: FakeClock) -> None:
    first, other = Backend("first", "Yes.", clock=clock, seconds=0.2), Backend("other", "No.", clock=clock)
    with recorded() as record:
        assert await ended(clock, asyncio.create_task(said(routed(clock, first, other, **HEDGED)))) == "Yes."
    assert (told(record), other.asked) == ([("first", "served")], 0)
    assert record.json()["forwarded"] is False


async def test_who_is_slow_may_still_be_first(clock: FakeClock) -> None:
    slow, slower = Backend("slow", "Yes.", clock=clock, seconds=0.5), Backend("slower", "No.", clock=clock, seconds=9.0)
    with recorded() as record:
        assert await ended(clock, asyncio.create_task(said(routed(clock, slow, slower, **HEDGED)))) == "Yes."
    assert told(record) == [("slow", "served"), ("slower", "cancelled")]
    assert slower.running == 0


async def test_one_that_fails_in_a_race_is_replaced_at_once(clock: FakeClock) -> None:
    dead, quick = Backend("dead", DEAD, clock=clock), Backend("quick", "Yes.", clock=clock)
    with recorded() as record:
        assert await ended(clock, asyncio.create_task(said(routed(clock, dead, quick, **HEDGED)))) == "Yes."
    assert told(record) == [("dead", "failed"), ("quick", "served")]
    assert clock.now() < 0.3


async def test_when_all_fail_in_a_race_the_last_error_is_raised(clock: FakeClock) -> None:
    model = routed(clock, Backend("a", DEAD, clock=clock), Backend("b", DEAD, clock=clock), **HEDGED)
    with pytest.raises(LLMError, match="no answer"), recorded():
        await ended(clock, asyncio.create_task(said(model)))


async def test_whoever_goes_away_ends_all_that_race(clock: FakeClock) -> None:
    slow, other = (Backend(name, "No.", clock=clock, seconds=9.0) for name in ("slow", "other"))
    with recorded() as record:
        task = asyncio.create_task(said(routed(clock, slow, other, **HEDGED)))
        await clock.sleeper()
        clock.advance(0.4)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (slow.running, other.running) == (1, 1)
        task.cancel()
        await asyncio.wait([task])
    assert (slow.running, other.running, slow.cancelled, other.cancelled) == (0, 0, 1, 1)
    assert not clock.waits
    assert [outcome for _, outcome in told(record)] == ["cancelled", "cancelled"]


async def test_closing_an_answer_that_won_a_race_ends_it(clock: FakeClock) -> None:
    winner = Backend("winner", *("word " for _ in range(50)), clock=clock)
    model = routed(clock, winner, Backend("other", "No.", clock=clock), **HEDGED)
    stream = model.stream(ChatRequest((Message("user", "why"),)))
    assert await anext(stream) == "word "
    await stream.aclose()
    assert winner.running == 0


@pytest.mark.parametrize("words", [("I don't", " know that."), ("I", " do not know."), ("",), ("  ",)], ids=str)
async def test_who_does_not_know_is_not_heard_where_somebody_may(clock: FakeClock, words: tuple[str, ...]) -> None:
    wrong, knows = Backend("wrong", *words, clock=clock), Backend("knows", "Paris", ".", clock=clock)
    model = routed(clock, wrong, knows, **SURE)
    with recorded() as record:
        assert await said(model) == "Paris."
    assert told(record) == [("wrong", "unsure"), ("knows", "served")]
    assert record.attempts[0].confidence == 0.0
    assert record.attempts[0].message
    assert (model.forwarded, wrong.running) == ({("wrong", "knows"): 1}, 0)


async def test_where_nobody_knows_the_first_answer_is_given(clock: FakeClock) -> None:
    one, two = Backend("one", "I don't know, ", "sorry.", clock=clock), Backend("two", DEAD, clock=clock)
    with recorded() as record:
        assert await said(routed(clock, one, two, **SURE)) == "I don't know, sorry."
    assert told(record) == [("one", "served"), ("two", "failed")]


async def test_nobody_is_asked_twice_where_least_power_is_asked_for(clock: FakeClock) -> None:
    wrong, knows = Backend("wrong", "I don't know.", clock=clock), Backend("knows", "Paris.", clock=clock)
    with recorded(efficiency_mode="UltraEfficiency"):
        assert await said(routed(clock, wrong, knows, **SURE)) == "I don't know."
    assert knows.asked == 0


async def test_who_is_hot_is_passed_over_until_it_has_cooled(clock: FakeClock) -> None:
    hot, cool = Backend("hot", "Hot.", clock=clock), Backend("cool", "Cool.", clock=clock)
    model = routed(clock, hot, cool, **COOL)
    answers = []
    for hot.temperature in (70.0, 85.0, 78.0, 70.0):
        answers.append(await said(model))
    assert answers == ["Hot.", "Cool.", "Cool.", "Hot."]
    assert model.forwarded == {("hot", "cool"): 2}
    hot.temperature = 90.0
    with recorded() as record:
        await said(model)
    assert told(record) == [("hot", "hot"), ("cool", "served")]
    assert record.attempts[0].seconds is None


async def test_who_is_dead_rests_and_the_next_one_answers(clock: FakeClock) -> None:
    dead, alive = Backend("dead", DEAD, clock=clock), Backend("alive", "Here.", clock=clock)
    model = routed(clock, dead, alive)
    with recorded() as first:
        assert await said(model) == "Here."
    with recorded() as second:
        assert await said(model) == "Here."
    assert told(first) == [("dead", "failed"), ("alive", "served")]
    assert told(second) == [("dead", "resting"), ("alive", "served")]
    assert first.attempts[0].message == "no answer from it"
    assert (dead.asked, model.forwarded["dead", "alive"]) == (1, 2)


async def test_the_same_one_is_asked_again_after_pauses_that_grow(clock: FakeClock) -> None:
    dead, alive = Backend("dead", DEAD, clock=clock), Backend("alive", "Here.", clock=clock)
    task = asyncio.create_task(said(routed(clock, dead, alive, max_retries=3)))
    pauses = []
    while not task.done():
        sleeper = asyncio.create_task(clock.sleeper())
        await asyncio.wait([sleeper, task], return_when=asyncio.FIRST_COMPLETED)
        if sleeper.done():
            pauses.append(sleeper.result())
            clock.advance(sleeper.result())
            await asyncio.sleep(0)
        sleeper.cancel()
    assert (task.result(), pauses, dead.asked) == ("Here.", pytest.approx([0.1, 0.2, 0.4]), 4)


async def test_who_is_busy_is_told_as_busy(clock: FakeClock) -> None:
    busy = Backend("busy", EngineBusyError("engine_busy", "64 jobs waiting"), clock=clock)
    with recorded() as record:
        await said(routed(clock, busy, Backend("free", "Yes.", clock=clock)))
    assert told(record) == [("busy", "busy"), ("free", "served")]


async def test_a_forced_backend_is_the_only_one(clock: FakeClock) -> None:
    dead, alive = Backend("dead", DEAD, clock=clock), Backend("alive", "Here.", clock=clock)
    model = routed(clock, dead, alive, **HEDGED, **SURE)
    with recorded(target_backend="dead"), pytest.raises(LLMError, match="no answer from it"):
        await ended(clock, asyncio.create_task(said(model)))
    with recorded(target_backend="alive"):
        assert await ended(clock, asyncio.create_task(said(model))) == "Here."
    with recorded(target_backend="alife"), pytest.raises(LLMError) as error:
        await said(model)
    assert error.value.code == "no_backend"
    assert "did you mean alive?" in error.value.message
    assert alive.asked == 1


async def test_the_plan_says_who_would_be_asked_and_why(clock: FakeClock) -> None:
    dead, alive = Backend("dead", DEAD, clock=clock), Backend("alive", "Here.", clock=clock)
    model = routed(clock, dead, alive)
    await said(model)
    with recorded() as record:
        plan = [(one.backend, one.outcome, one.reason) for one in model.plan(Wishes())]
    assert plan == [
        ("alive", "running", "the best that is here"),
        ("dead", "running", "it has failed and rests; asked only if nobody else can"),
        ("dead", "resting", "it has failed and rests"),
    ]
    assert (record.attempts, dead.asked) == ([], 1)


async def test_slow_wrong_hot_and_dead_and_still_an_answer_in_time(clock: FakeClock) -> None:
    """Each kind of escalation in one run: who reads the record sees them all."""
    hot, dead = Backend("hot", "Never.", clock=clock), Backend("dead", DEAD, clock=clock)
    wrong, slow = Backend("wrong", "I don't know.", clock=clock), Backend("slow", "Late.", clock=clock, seconds=60.0)
    good = Backend("good", "Paris.", clock=clock, seconds=0.1)
    hot.temperature = 95.0
    model = routed(clock, hot, dead, wrong, slow, good, **HEDGED, **SURE, **COOL)
    with recorded(max_latency_ms=1000.0) as record:
        assert await ended(clock, asyncio.create_task(said(model))) == "Paris."
    assert told(record) == [
        ("hot", "hot"),
        ("dead", "failed"),
        ("wrong", "unsure"),
        ("slow", "late"),
        ("good", "served"),
    ]
    assert clock.now() <= 1.0
    assert [backend.running for backend in (hot, dead, wrong, slow, good)] == [0] * 5
    assert hot.asked == 0
    forwards = {("hot", "dead"): 1, ("dead", "wrong"): 1, ("wrong", "slow"): 1, ("slow", "good"): 1}
    assert model.forwarded == forwards
    assert record.json()["backend"] == "good"
    assert all(attempt["reason"] for attempt in record.json()["attempts"])
