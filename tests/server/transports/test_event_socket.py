"""The pulse of a client over a WebSocket."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from server.transports.websocket import event_socket
from server.transports.websocket.event_socket import EventSocket

PING_SECONDS = 0.2


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> EventSocket:
    """One whose client is being listened to."""
    monkeypatch.setattr(event_socket, "PING_SECONDS", PING_SECONDS)
    speaks = SimpleNamespace(receive=lambda message: None)
    socket = EventSocket("test", lambda send: speaks)
    socket._is_listening = True
    return socket


async def test_a_pong_that_lies_unread_when_the_machine_wakes_is_looked_for_once_more(listening):
    """Timers that are overdue run before what has arrived is read: here, a twenty-fifth of a ping later."""
    loop, twice = asyncio.get_running_loop(), asyncio.Event()
    pings = 0

    def heard() -> None:
        listening._was_heard = True

    async def ping() -> None:
        nonlocal pings
        pings += 1
        loop.call_later(PING_SECONDS * 0.54, heard)
        if pings == 3:
            twice.set()

    pulse = asyncio.create_task(listening._feel_pulse(SimpleNamespace(ping=ping)))
    await asyncio.wait({asyncio.ensure_future(twice.wait()), asyncio.ensure_future(listening.ended.wait())},
                       return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
    pulse.cancel()
    assert twice.is_set() and not listening.ended_because


async def test_a_client_without_a_pulse_is_gone(listening):
    async def ping() -> None:
        pass

    pulse = asyncio.create_task(listening._feel_pulse(SimpleNamespace(ping=ping)))
    await listening.ended.wait()
    pulse.cancel()
    assert listening.ended_because == "the client does not answer"
