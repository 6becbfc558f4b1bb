"""The load of a running application: when it is measured, and who gives something up."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pipelines.runtime.relief import NOTHING, Cause, Relief
from server.load.level import GAP_SECONDS
from server.load.plan import RELIEFS
from server.load.probe import Machine, Probe
from server.load.settings import LoadSettings
from server.load.state import Load
from server.load.watch import SETTLING_SECONDS, TICK_SECONDS, LoadMetrics, LoadWatch
from tests.fakes.clock import FakeClock

QUIET = Machine(2, lambda: 0.0, lambda: None, lambda: None)


class FakeSession:
    def __init__(self, priority: str = "normal") -> None:
        self.priority = priority
        self.vision = SimpleNamespace(asked_at=float("-inf"))
        self.relief = NOTHING
        self.cause: Cause | None = None
        self.left_out = {"vision": 3, "partials": 2}

    def relieve(self, relief: Relief, cause: Cause | None) -> None:
        self.relief, self.cause = relief, cause


class Watched:
    """A watch whose event loop is as late as the test says."""

    def __init__(self, *sessions: FakeSession, ready: asyncio.Event | None = None) -> None:
        self.clock = FakeClock(50.0)
        self.load = Load(self.clock)
        self.probe = Probe(LoadSettings(), QUIET)
        self.sessions: Any = sessions
        self.watch = LoadWatch(self.load, self.probe, lambda: self.sessions, self.clock, ready)

    def beats(self, milliseconds: float, count: int = 10) -> None:
        for _ in range(count):
            self.probe.loop.add(milliseconds / 1000.0)

    def tick(self, seconds: float, milliseconds: float) -> None:
        for _ in range(round(seconds / TICK_SECONDS)):
            self.clock.advance(TICK_SECONDS)
            self.beats(milliseconds)
            self.watch.tick()


def test_sessions_give_things_up_in_order_and_get_them_back(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="server.load.watch")
    session = FakeSession()
    watched = Watched(session)
    seen = [NOTHING]
    for milliseconds in (80.0, 1.0):
        for _ in range(80):
            watched.tick(TICK_SECONDS, milliseconds)
            if session.relief != seen[-1]:
                seen.append(session.relief)
    assert seen == [*RELIEFS, *reversed(RELIEFS[:-1])]
    assert session.cause is None
    assert [record.message for record in caplog.records] == [
        "load: level 0 → 1: event_loop is 80 ms, the limit 40 ms",
        "load: level 1 → 2: event_loop is 80 ms, the limit 40 ms",
        "load: level 2 → 3: event_loop is 80 ms, the limit 40 ms",
        "load: level 3 → 4: event_loop is 80 ms, the limit 40 ms",
        "load: level 4 → 3",
        "load: level 3 → 2",
        "load: level 2 → 1",
        "load: level 1 → 0",
    ]


def test_each_session_gives_up_what_its_priority_and_its_pictures_say():
    low, normal, critical, pictured = (FakeSession(name) for name in ("low", "normal", "critical", "normal"))
    watched = Watched(low, normal, critical, pictured)
    while watched.load.level < 2:
        watched.tick(TICK_SECONDS, 60.0)
        pictured.vision.asked_at = watched.clock.now()
    assert not low.relief.speculates and normal.relief.speculates
    assert critical.relief == NOTHING
    assert 1.0 < pictured.relief.vision < normal.relief.vision
    assert normal.cause == Cause("event_loop", 60.0, 40.0, "ms")


def test_who_begins_while_there_is_too_much_to_do_gives_things_up_at_once():
    watched = Watched()
    watched.tick(20.0, 80.0)
    watched.sessions = [session := FakeSession()]
    watched.tick(TICK_SECONDS, 80.0)
    assert session.relief == RELIEFS[-1]


async def test_nothing_is_measured_until_the_start_is_over():
    ready = asyncio.Event()
    watched = Watched(ready=ready)
    task = asyncio.create_task(watched.watch.run())
    try:
        await asyncio.sleep(0)
        assert not watched.clock.waits, "it waits for the engines"
        watched.beats(5000.0, 100)
        ready.set()
        assert await watched.clock.sleeper() == SETTLING_SECONDS
        watched.beats(5000.0, 100)
        watched.clock.advance(SETTLING_SECONDS)
        for _ in range(20):
            await asyncio.sleep(0)
            assert await watched.clock.sleeper() == TICK_SECONDS
            watched.beats(1.0)
            watched.clock.advance(TICK_SECONDS)
        assert watched.load.readings and watched.load.level == 0
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_defect_in_measuring_gives_everything_back(caplog: pytest.LogCaptureFixture, monkeypatch):
    session = FakeSession()
    watched = Watched(session)
    watched.tick(20.0, 80.0)
    assert watched.load.level == 4
    monkeypatch.setattr(watched.probe, "read", lambda now: 1 / 0)
    task = asyncio.create_task(watched.watch.run())
    for _ in range(2):
        watched.clock.advance(await watched.clock.sleeper())
        await asyncio.sleep(0)
    await task
    assert (watched.load.level, session.relief) == (0, NOTHING)
    assert "the load could not be measured" in caplog.text


def test_a_garbage_collection_and_a_suspended_machine_change_nothing():
    watched = Watched(FakeSession())
    watched.tick(5.0, 1.0)
    for pause in (0.4, 1.9, GAP_SECONDS + 5.0, 3600.0):
        watched.clock.advance(pause)
        watched.beats(1000.0 * pause, 1)
        watched.watch.tick()
        watched.tick(5.0, 1.0)
    assert watched.load.level == 0


def test_prometheus_sees_the_level_what_it_follows_and_what_is_given_up():
    session = FakeSession()
    watched = Watched(session)
    watched.tick(20.0, 80.0)
    watched.load.turned_away("session")
    watched.load.given_up.update({"vision": 4})
    registry = CollectorRegistry()
    registry.register(LoadMetrics(watched.load, lambda: [session]))  # type: ignore[list-item]
    told = generate_latest(registry).decode()
    for line in (
        "visavis_load_level 4.0",
        'visavis_load_measure{measure="event_loop"} 80.0',
        'visavis_load_pressure{measure="event_loop"} 2.0',
        'visavis_load_reason{measure="event_loop"} 1.0',
        'visavis_load_reason{measure="memory"} 0.0',
        'visavis_shed_total{what="vision"} 7.0',
        'visavis_shed_total{what="partials"} 2.0',
        'visavis_shed_total{what="speculation"} 0.0',
        'visavis_shed_total{what="session"} 1.0',
        'visavis_shed_total{what="task"} 0.0',
    ):
        assert line in told
