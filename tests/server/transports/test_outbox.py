"""What waits for a client that reads slowly is bounded, and in order."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from server.transports.websocket.outbox import FULL_BYTES, ROOM_BYTES, Outbox
from tests.fakes.memory_transport import settle


class Slow:
    """Takes one text each time it is told to."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.turns = asyncio.Semaphore(0)

    async def send(self, text: str) -> None:
        await self.turns.acquire()
        self.taken.append(text)


async def test_order_room_and_the_limit():
    outbox, client = Outbox(), Slow()
    writing = asyncio.create_task(outbox.run(client.send))
    await outbox.room()
    await outbox.sent()
    text = "x" * (ROOM_BYTES // 2 + 1)
    assert outbox.put("a" + text)
    assert outbox.put("b" + text)
    room = asyncio.create_task(outbox.room())
    sent = asyncio.create_task(outbox.sent())
    await settle()
    assert not room.done()
    client.turns.release()
    await room
    assert not sent.done()
    client.turns.release()
    await sent
    assert [taken[0] for taken in client.taken] == ["a", "b"]

    put = 0
    while outbox.put(text):
        put += 1
    assert FULL_BYTES < put * len(text) <= FULL_BYTES + len(text)
    client.turns.release()
    await settle()
    assert outbox.put(text)
    writing.cancel()
    with suppress(asyncio.CancelledError):
        await writing
