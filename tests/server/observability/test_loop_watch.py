"""The event-loop watch: lateness, one warning a minute, and the name of what blocked."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
import time

import pytest

from media.clock import MonotonicClock
from server.http.app import METRICS
from server.observability import loop_monitor
from server.observability.loop_monitor import _ROOT, NOBODY, LoopWatch, culprit
from tests.fakes.clock import FakeClock
from tests.patience import PATIENCE


def beats(watch: LoopWatch, clock: FakeClock, *delays: float) -> None:
    """Let the heartbeat come ``delays`` seconds late, one after another."""
    for delay in delays:
        clock.advance(watch._due + delay - clock.now())
        watch.beat()


def test_lateness_is_measured_and_the_longest_kept():
    clock, seen = FakeClock(), []
    watch = LoopWatch(clock, seen.append)
    beats(watch, clock, 0.0, 0.004, 0.3, 0.001)
    assert seen == pytest.approx([0.0, 0.004, 0.3, 0.001])
    assert watch.longest == pytest.approx(0.3)


def test_one_warning_a_minute_counts_what_it_left_out(caplog):
    clock = FakeClock()
    watch = LoopWatch(clock)
    beats(watch, clock, 0.019)
    assert not caplog.records
    beats(watch, clock, 0.03, 0.05, 0.1)
    assert len(caplog.records) == 1
    assert "30 ms" in caplog.text
    clock.advance(60.0)
    watch._due = clock.now()
    beats(watch, clock, 0.04)
    assert len(caplog.records) == 2
    assert "40 ms" in caplog.records[1].message
    assert "2 more" in caplog.records[1].message


def test_what_holds_it_up_before_the_server_is_ready_is_no_cause_for_a_warning(caplog):
    caplog.set_level("DEBUG", "server.observability.loop_monitor")
    clock, ready, seen = FakeClock(), asyncio.Event(), []
    watch = LoopWatch(clock, seen.append, ready)
    beats(watch, clock, 0.3, 0.001)
    ready.set()
    beats(watch, clock, 0.2)  # began before that
    assert [(record.levelname, "held up" in record.message) for record in caplog.records] == [("DEBUG", True)] * 2
    assert seen == pytest.approx([0.3, 0.001, 0.2])
    beats(watch, clock, 0.1)
    assert (caplog.records[-1].levelname, len(caplog.records)) == ("WARNING", 3)
    assert "100 ms" in caplog.records[-1].message
    assert "more since" not in caplog.records[-1].message


def hold_up_the_loop() -> None:
    time.sleep(0.15)


async def test_what_blocks_the_loop_is_named(caplog, monkeypatch):
    monkeypatch.setattr(loop_monitor, "WARN_EVERY_SECONDS", 0.0)  # a busy machine may have held the loop up before
    began, late = asyncio.Event(), asyncio.Event()
    watch = LoopWatch(MonotonicClock(), lambda seconds: late.set() if seconds > 0.09 else began.set())
    task = asyncio.create_task(watch.run())
    await asyncio.wait_for(began.wait(), PATIENCE)
    late.clear()  # a busy machine may have set it
    hold_up_the_loop()
    await asyncio.wait_for(late.wait(), PATIENCE)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert re.search(
        r"held up for \d+ ms by tests/server/observability/test_loop_watch.py:\d+ hold_up_the_loop <", caplog.text
    )


async def test_it_goes_without_leaving_a_thread(caplog):
    before = set(threading.enumerate())
    watch = LoopWatch(MonotonicClock())
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(0)
    (thread,) = [thread for thread in threading.enumerate() if thread not in before]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(thread.join, PATIENCE)
    assert not thread.is_alive()


def test_our_functions_are_named_before_those_of_libraries():
    names: dict[str, object] = {}
    source = "def outer(then):\n    inner(then)\n\ndef inner(then):\n    then()\n"
    exec(compile(source, str(_ROOT / "pipelines" / "slow.py"), "exec"), names)
    caught: list[str] = []
    names["outer"](lambda: caught.append(culprit(inspect.currentframe(), set())))
    assert caught == ["pipelines/slow.py:5 inner < pipelines/slow.py:2 outer"]


def test_an_idle_loop_is_nobodys_fault():
    frame, below = inspect.currentframe(), set()
    while frame is not None:
        below.add(frame.f_code)
        frame = frame.f_back
    assert culprit(inspect.currentframe(), below) == culprit(None, set()) == NOBODY


async def test_the_application_watches_its_loop(serve, monkeypatch):
    beat, came = LoopWatch.beat, asyncio.Event()
    monkeypatch.setattr(LoopWatch, "beat", lambda watch: (beat(watch), came.set()))
    _, app = await serve()
    await asyncio.wait_for(came.wait(), PATIENCE)
    assert b"visavis_event_loop_delay_seconds_count 0.0" not in app[METRICS].render()
