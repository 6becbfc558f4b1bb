"""What the registry of sessions does beside keeping them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from server.sessions import TIDY_SECONDS, Registry
from server.settings import load_settings
from tests.fakes.clock import FakeClock


async def test_memory_is_given_back_once_when_the_last_session_has_ended():
    clock, given, nobody = FakeClock(), [], SimpleNamespace(join=lambda peer: None, leave=lambda peer: None)
    registry = Registry(None, load_settings({}), clock, nobody)
    peers: list[Any] = [
        SimpleNamespace(id=name, ended_because="", session=SimpleNamespace(left_out={})) for name in "ab"
    ]

    async def give_back() -> None:
        given.append(len(registry))

    async def look() -> int:
        await clock.sleeper()
        clock.advance(TIDY_SECONDS)
        await clock.sleeper()
        return len(given)

    tidying = asyncio.create_task(registry.keep_tidy(give_back))
    assert await look() == 0, "nobody has been here"
    for peer in peers:
        registry._sessions[peer.id] = peer
        registry._join(peer)
    registry._leave(peers[0])
    assert await look() == 0, "one is still here"
    registry._leave(peers[1])
    assert await look() == 1
    assert await look() == 1, "nobody has been here since"
    tidying.cancel()
