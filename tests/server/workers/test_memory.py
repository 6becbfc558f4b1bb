"""Conversations are told while they grow, and no more when they are forgotten."""

from __future__ import annotations

import asyncio

from pipelines.voice.history import Item
from server.workers.memory import ToldMemory
from tests.fakes.memory_transport import call, settle


async def test_what_was_said_just_before_the_end_does_not_bring_a_forgotten_conversation_back(monkeypatch):
    monkeypatch.setattr("server.workers.memory.SETTLE_SECONDS", 0.0)
    told: list[str] = []
    memory = ToldMemory(lambda session, state: told.append("keep"), lambda session: told.append("forget"))
    async with call() as line:
        memory.follow(line.session)
        line.session.conversation.add(Item("first", "user", "Blue"))
        await settle()
        await _timers()
        assert "keep" in told
        line.session.conversation.add(Item("second", "user", "Red"))
        memory.ended(line.session.id, resumable=False)
        told.clear()
        await settle()
        await _timers()
        assert told == []
        assert memory._last == {}


async def _timers() -> None:
    """Those that are due have run."""
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, later.set)
    await later.wait()
    await settle()
