"""Clients that wait for news of a worker, and what is told of several workers as one."""

from __future__ import annotations

import asyncio
import os

import pytest

from server.workers.board import Seat
from server.workers.health import DEAD_SECONDS, QUIET_SECONDS, STARTING_SECONDS, YOUNG_SECONDS, Looked, judge, memory_of
from server.workers.of_all.status import joined
from server.workers.watches import MOST_OF_ONE, MOST_SPREAD_SECONDS, SPREAD_SECONDS, News, Watches


async def test_all_of_a_worker_are_told_one_after_another_and_no_others():
    watches = Watches(10)
    of_one = [asyncio.create_task(watches.wait(1, 60.0)) for _ in range(3)]
    other = asyncio.create_task(watches.wait(2, 60.0))
    await asyncio.sleep(0)
    watches.tell(1, "gone")
    assert await asyncio.gather(*of_one) == [News("gone", n * SPREAD_SECONDS) for n in range(3)]
    assert not other.done() and len(watches) == 1
    watches.tell(2, "leaving")
    assert (await other).state == "leaving"
    watches.tell(2, "gone")  # nobody waits any more


async def test_the_last_of_many_does_not_wait_long():
    watches = Watches(1000)
    waiting = [asyncio.create_task(watches.wait(1, 60.0)) for _ in range(500)]
    await asyncio.sleep(0)
    watches.tell(1, "gone")
    assert max(news.after for news in await asyncio.gather(*waiting)) < MOST_SPREAD_SECONDS


async def test_who_holds_one_session_does_not_take_the_places_of_all():
    watches = Watches(100)
    waiting = [asyncio.create_task(watches.wait(1, 60.0, "sess_1wa")) for _ in range(50)]
    await asyncio.sleep(0)
    assert len(watches) == MOST_OF_ONE
    other = asyncio.create_task(watches.wait(1, 60.0, "sess_1wb"))
    await asyncio.sleep(0)
    watches.tell(1, "gone")
    told = await asyncio.gather(*waiting)
    assert told.count(None) == 50 - MOST_OF_ONE and (await other) is not None
    assert not watches._of, "nothing is kept of who has been told"


async def test_who_waits_long_enough_is_told_that_nothing_has_happened():
    watches = Watches(1)
    assert await watches.wait(1, 0.0) == News("serving")
    waiting = asyncio.create_task(watches.wait(1, 60.0))
    await asyncio.sleep(0)
    assert await watches.wait(1, 60.0) is None, "too many wait"
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert len(watches) == 0, "a client that has left is not waited for"


@pytest.mark.parametrize(
    ("state", "looked", "found"),
    [
        ("starting", Looked(STARTING_SECONDS - 0.1, 0.0), "well"),
        ("starting", Looked(STARTING_SECONDS, 0.0), "dead"),
        ("ready", Looked(QUIET_SECONDS - 0.1, 5.0), "well"),
        ("ready", Looked(QUIET_SECONDS, 5.0), "quiet"),
        ("leaving", Looked(QUIET_SECONDS, 5.0), "quiet"),
        ("quiet", Looked(DEAD_SECONDS, 5.0), "dead"),
        ("ended", Looked(DEAD_SECONDS, 5.0), "well"),
        ("ready", Looked(0.0, YOUNG_SECONDS, 701), "large"),
        ("ready", Looked(0.0, YOUNG_SECONDS, 700), "well"),
        ("ready", Looked(0.0, YOUNG_SECONDS - 1, 701), "well"),
        ("leaving", Looked(0.0, YOUNG_SECONDS, 701), "well"),
        ("ready", Looked(0.0, YOUNG_SECONDS, None), "well"),
    ],
)
def test_what_is_done_about_a_worker(state, looked, found):
    assert judge(Seat(1, state), looked, 700) == found


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_the_memory_of_a_process_is_its_own_without_files():
    ours = memory_of(os.getpid())
    assert ours is not None and ours > 5
    assert memory_of(2**22 + 1) is None


def test_a_status_of_all_tells_what_is_worse_in_one_of_them():
    first = {
        "engines": [{"stage": "stt", "ok": True, "engine": "whisper"}, {"stage": "tts", "ok": False, "reason": "a"}],
        "detectors": [{"name": "hands", "available": True, "reason": None}],
        "warming_up": [{"engine": "stt", "name": "a", "percent": 1}],
    }
    other = {
        "engines": [{"stage": "stt", "ok": False, "engine": "pocketsphinx", "reason": "none is here"}],
        "detectors": [{"name": "hands", "available": False, "reason": "no EGL"}],
        "warming_up": [{"engine": "stt", "name": "a", "percent": 2}, {"engine": "tts", "name": "b", "percent": 3}],
    }
    told = joined(first, {2: other})
    assert told["engines"][0] == {
        "stage": "stt",
        "ok": False,
        "engine": "pocketsphinx",
        "reason": "worker 2: none is here",
    }
    assert told["engines"][1]["reason"] == "a"
    assert told["detectors"] == [{"name": "hands", "available": False, "reason": "worker 2: no EGL"}]
    assert [row["name"] for row in told["warming_up"]] == ["a", "b"]
    assert first["engines"][0]["ok"], "the oldest worker's own answer is not changed"
    assert joined({"name": "visavis"}, {2: other}) == {"name": "visavis"}, "without the key little is told"
