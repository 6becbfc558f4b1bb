"""What is kept for other nodes: in the background, bounded, and again when the store has lost it."""

from __future__ import annotations

import pytest

from server.cluster.credentials import Credentials
from server.cluster.writer import RETRY_SECONDS, TOUCH_SECONDS, Writer
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import SECRET, FakeStore
from tests.patience import until


@pytest.fixture
async def made():
    store, clock = FakeStore(), FakeClock()
    writer = Writer(store, Credentials(SECRET, lambda: 0.0), clock)
    writer.start()
    yield writer, store, clock
    store.away = False
    store.open.set()
    await writer.close()


async def test_the_newest_is_found_by_any_node_and_nobody_can_read_it(made):
    writer, store, _ = made
    writer.keep("sess_a.1", "first")
    writer.keep("sess_a.1", "second")
    await writer.flush(5.0)
    assert writer.written == 1
    assert await writer.memory("sess_a.1") == "second"
    assert not any(b"second" in value for value in store.values.values())
    other = Writer(store, Credentials(SECRET, lambda: 0.0), FakeClock())
    assert await other.memory("sess_a.1") == "second"
    other.taken("sess_a.1")
    other.start()
    await other.flush(5.0)
    await other.close()
    assert await writer.memory("sess_a.1") is None


async def test_what_is_forgotten_is_dropped_unless_the_process_leaves(made):
    writer, _, _ = made
    writer.keep("one", "x")
    writer.keep("two", "x")
    writer.forget("one")
    writer.leave()
    writer.forget("two")
    await writer.flush(5.0)
    assert await writer.memory("one") is None
    assert await writer.memory("two") == "x"


async def test_a_store_that_is_away_gets_the_newest_when_it_is_back(made):
    writer, store, clock = made
    store.away = True
    writer.keep("one", "first")
    await until(lambda: writer.away)
    writer.keep("one", "second")
    assert writer.waiting == 1
    store.away = False
    await until(lambda: any(wait <= RETRY_SECONDS for wait in clock.waits))
    clock.advance(RETRY_SECONDS)
    await writer.flush(5.0)
    assert await writer.memory("one") == "second" and not writer.away


async def test_what_a_restarted_store_has_lost_is_written_again(made):
    writer, store, clock = made
    writer.keep("one", "x")
    await writer.flush(5.0)
    store.values.clear()
    await clock.sleeper()
    clock.advance(TOUCH_SECONDS)
    await until(lambda: store.values != {})
    assert await writer.memory("one") == "x"


async def test_no_more_waits_than_may(made, monkeypatch):
    monkeypatch.setattr("server.cluster.writer.LARGEST_WAITING", 2000)
    writer, store, _ = made
    store.open.clear()
    for n in range(10):
        writer.put("kind", str(n), bytes(500), 60.0)
    assert (writer.waiting, writer.dropped) == (3, 7)
    store.open.set()
    await writer.flush(5.0)
    assert await writer.find("kind", "9") == bytes(500)
    assert await writer.find("kind", "0") is None
