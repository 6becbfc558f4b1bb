"""``visavis serve --workers`` with processes that are none: a first one that hangs while it starts."""

from __future__ import annotations

import asyncio
import io
import sys

import pytest
from rich.console import Console

from pipelines.errors import ModelError
from server.cli import serve_workers as command
from server.settings import load_settings
from server.workers.health import STARTING_SECONDS
from server.workers.process import LAST_WORDS
from server.workers.rounds import ROUND_SECONDS
from tests.fakes.clock import FakeClock
from tests.fakes.crew import FakeNursery
from tests.fakes.memory_transport import settle
from tests.patience import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")


async def test_a_first_worker_that_hangs_is_ended_and_the_start_fails(monkeypatch):
    clock, nursery = FakeClock(100.0), FakeNursery()

    async def nothing_lent(*_: object) -> None:
        return None

    monkeypatch.setattr(command, "MonotonicClock", lambda: clock)
    monkeypatch.setattr(command, "nursery", lambda: nursery)
    monkeypatch.setattr(command, "_lending", nothing_lent)
    monkeypatch.setattr(command, "_share_threads", lambda cores: None)
    settings = load_settings({"port": 0, "workers": 2, "shutdown_timeout": 0.1})
    serving = asyncio.create_task(command.serve_workers(settings, Console(file=io.StringIO())))
    try:
        await until(lambda: bool(nursery.children))
        await settle()
        for _ in range(round(STARTING_SECONDS / ROUND_SECONDS) + 2):
            sleeping = asyncio.ensure_future(clock.sleeper())  # nobody sleeps any more where the start has failed
            await asyncio.wait({serving, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            sleeping.cancel()
            clock.advance(ROUND_SECONDS)
            await settle(10)
        assert nursery.children[0].signals == [LAST_WORDS], "nobody looks after it"
        with pytest.raises(ModelError, match="the first worker cannot serve"):
            await serving
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    assert len(nursery.children) == 1
    assert nursery.closed
