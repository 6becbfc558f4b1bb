"""When a connection counts as silent, by a clock that the test turns."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from server.settings import load_settings
from server.transports.webrtc.connection import Connection, Owner
from server.transports.webrtc.offers import read_offer
from tests.fakes.clock import FakeClock
from tests.server.transports.test_offers_and_ice import AUDIO


class Watched:
    """A connection whose peer has come, and says as much as the test wants."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ended: list[str] = []
        self.received = 0
        self.sent = 0
        owner = Owner("test", lambda what: None, lambda: self.ended.append(self.connection.ended_because))
        offer = read_offer({"type": "offer", "sdp": AUDIO})
        self.connection = Connection(offer, load_settings({"peer_timeout": 6.0}), self.clock, owner)
        self.connection._bytes_received = lambda: self.received

    async def pass_seconds(self, seconds: int, *, received: int = 0, sent: int = 0) -> None:
        for _ in range(seconds):
            await self.clock.sleeper()
            self.received += received
            self.sent += sent
            self.clock.advance(1.0)
            await asyncio.sleep(0)


@pytest.fixture(params=[False, True], ids=["takes and gives", "only takes"])
async def watched(request):
    watched = Watched()
    watched.only_takes = request.param
    watching = asyncio.create_task(watched.connection.watch((lambda: watched.sent) if request.param else None))
    yield watched
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    await watched.connection.close()


async def test_a_peer_that_says_something_is_there(watched):
    await watched.pass_seconds(30, received=1, sent=1)
    assert not watched.ended


async def test_a_peer_that_falls_silent_is_gone(watched):
    await watched.pass_seconds(3, received=1, sent=1)
    await watched.pass_seconds(5, sent=1)
    assert not watched.ended
    await watched.pass_seconds(5, sent=1)
    assert watched.ended == ["nothing has arrived for 6 s"]


async def test_who_is_sent_nothing_has_nothing_to_report(watched):
    await watched.pass_seconds(3, received=1, sent=1)
    await watched.pass_seconds(30)
    assert bool(watched.ended) is not watched.only_takes
    await watched.pass_seconds(9, sent=1)
    assert watched.ended == ["nothing has arrived for 6 s"]


async def test_time_in_which_the_process_did_not_run_is_nobodys_silence(watched):
    await watched.pass_seconds(3, received=1, sent=1)
    await watched.clock.sleeper()
    watched.clock.advance(60.0)  # the machine slept
    await asyncio.sleep(0)
    assert not watched.ended
    await watched.pass_seconds(30, received=1, sent=1)
    assert not watched.ended, "the peer is still there"
    await watched.pass_seconds(10, sent=1)
    assert watched.ended == ["nothing has arrived for 6 s"]
