"""Who is let in at which level, in which order they are refused, and when they may come again."""

from __future__ import annotations

import itertools

import pytest

from pipelines.routing.run import PRIORITIES, Priority
from pipelines.runtime.relief import NOTHING
from server.load.plan import RELIEFS, Newcomer, relief_for
from server.load.readings import HIGHEST, Reading
from server.load.state import LATEST, SOONEST, Load
from tests.fakes.clock import FakeClock

TICK = 0.5


class Driven:
    def __init__(self) -> None:
        self.clock = FakeClock(1000.0)
        self.load = Load(self.clock)

    def feed(self, seconds: float, pressure: float, memory: float = 50.0) -> int:
        for _ in range(round(seconds / TICK)):
            self.clock.advance(TICK)
            loop = Reading("event_loop", 40.0 * pressure, 40.0, "ms")
            self.load.update([loop, Reading("memory", memory, 92.0, "%")])
        return self.load.level

    def at(self, level: int) -> Load:
        while self.load.level < level:
            self.feed(TICK, 1.1)
        return self.load

    def let_in(self, newcomer: Newcomer) -> list[str]:
        return [name for name in PRIORITIES if self.load.refusal(newcomer, name) is None]  # type: ignore[arg-type]


def test_tasks_of_low_priority_are_refused_first_and_sessions_of_high_priority_last():
    driven = Driven()
    seen = []
    for level in range(HIGHEST + 1):
        driven.at(level)
        seen.append((len(driven.let_in("task")), len(driven.let_in("session"))))
    assert seen == [(4, 4), (4, 4), (3, 4), (3, 3), (2, 2)]
    assert driven.let_in("session") == ["high", "critical"], "the reserve"
    driven.feed(2.0, 2.5)
    assert driven.let_in("session") == ["critical"], "far above its limit"


def test_near_the_limit_one_session_is_let_in_after_another():
    driven = Driven()
    load = driven.at(3)
    load.admitted()
    busy = load.refusal("session", "normal")
    assert busy is not None and busy.retry_after == SOONEST
    assert load.refusal("session", "critical") is None
    assert load.refusal("task", "normal") is None
    driven.feed(2.0, 0.9)
    assert load.refusal("session", "normal") is None


def test_who_is_refused_is_told_why_and_when_to_come_again():
    driven = Driven()
    load = driven.at(HIGHEST)
    busy = load.refusal("session", "normal")
    assert busy is not None
    assert busy.message == "the server has too much to do: event_loop is 44 ms, the limit 40 ms"
    assert SOONEST <= busy.retry_after <= LATEST
    assert load.refused == {}
    load.turned_away("session")
    assert load.refused == {"session": 1}


def test_the_faster_the_load_falls_the_sooner_they_may_come():
    steep, flat, none = Driven(), Driven(), Driven()
    for driven in (steep, flat, none):
        driven.at(HIGHEST)
        driven.feed(10.0, 4.0)
    for n in range(8):
        steep.feed(TICK, 4.0 - 0.4 * n)
        flat.feed(TICK, 4.0 - 0.1 * n)
        none.feed(TICK, 4.0)
    assert steep.load.retry_after() < flat.load.retry_after()
    assert steep.load.retry_after() < none.load.retry_after()
    calm = Driven()
    calm.at(HIGHEST)
    calm.feed(3.0, 0.1)
    assert calm.load.retry_after() < steep.load.retry_after()


def test_those_who_are_refused_do_not_all_come_again_at_once():
    driven = Driven()
    load = driven.at(HIGHEST)
    times = set()
    for _ in range(10):
        times.add(load.retry_after())
        load.turned_away("session")
    assert len(times) > 3


def test_too_little_memory_closes_the_door_and_leaves_running_sessions_as_they_are():
    driven = Driven()
    assert driven.feed(5.0, 0.1, memory=95.0) == HIGHEST
    assert driven.load.sheds == 0
    assert driven.load.reason is not None and driven.load.reason.measure == "memory"
    assert driven.let_in("session") == ["high", "critical"]
    assert driven.feed(30.0, 0.1, memory=91.0) == HIGHEST, "not far enough below the limit"
    assert driven.feed(30.0, 0.1, memory=85.0) == 0
    assert driven.load.reason is None


@pytest.mark.parametrize("priority", PRIORITIES)
def test_each_level_gives_up_no_less_than_the_one_before(priority: Priority):
    reliefs = [relief_for(level, priority) for level in range(HIGHEST + 1)]
    assert reliefs[0] == NOTHING
    for before, after in itertools.pairwise(reliefs):
        assert after.vision >= before.vision and after.partials >= before.partials
        assert before.speculates or not after.speculates


def test_vision_goes_first_then_partial_transcripts_then_speculation():
    order = [relief_for(level, "normal").parts for level in range(1, 4)]
    assert order == [("vision",), ("vision", "partials"), ("vision", "partials", "speculation")]
    assert relief_for(HIGHEST, "normal") == RELIEFS[-1], "running sessions give up no more when new ones are refused"


def test_higher_priorities_give_up_later():
    first = {name: next(n for n in range(1, 9) if relief_for(n, name).parts) for name in PRIORITIES}  # type: ignore[arg-type]
    assert first == {"low": 1, "normal": 1, "high": 2, "critical": 3}
    assert not relief_for(2, "low").speculates and relief_for(2, "normal").speculates


def test_who_is_spoken_with_about_pictures_keeps_them_longest():
    assert relief_for(1, "normal", pictured=True) == NOTHING
    for level in range(1, HIGHEST + 1):
        seen, others = relief_for(level, "normal", pictured=True), relief_for(level, "normal")
        assert seen.vision < others.vision
        assert (seen.partials, seen.speculates) == (others.partials, others.speculates)
