"""The channels of one peer without a network: who gets what, what waits, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from server.dialects.openai import wire
from server.transports.barrier import Barrier
from server.transports.webrtc.data_channels import (
    BACKLOG_EVENTS,
    FULL_BYTES,
    HELD_MESSAGES,
    MOST_CHANNELS,
    EventChannels,
)


class FakeChannel:
    """A channel of aiortc's, as far as it is used."""

    def __init__(self, label: str = "oai-events") -> None:
        self.label = label
        self.readyState = "open"
        self.bufferedAmount = 0
        self.sent: list[dict[str, Any]] = []
        self.handlers: dict[str, Callable[..., None]] = {}

    def on(self, event: str, handler: Callable[..., None]) -> None:
        self.handlers[event] = handler

    def send(self, text: str) -> None:
        assert self.readyState == "open"
        self.sent.append(json.loads(text))

    def close(self) -> None:
        self.readyState = "closed"
        if "close" in self.handlers:
            self.handlers["close"]()

    def types(self) -> list[str]:
        return [event["type"] for event in self.sent]


class FakeGuard:
    """A transport whose peer takes ``largest_message`` bytes and acknowledges everything."""

    def __init__(self, largest: int = 1 << 30) -> None:
        self.largest_message = largest
        self.waited: list[float] = []
        self.released = False

    async def flushed(self, timeout: float) -> bool:
        self.waited.append(timeout)
        return True

    def release(self) -> None:
        self.released = True


def event(kind: str = "x", **fields: object) -> dict[str, Any]:
    return {"type": kind, "event_id": "e", **fields}


class Words:
    """A dialect of few words."""

    def __init__(self, receive: Callable[[str | bytes], None]) -> None:
        self.receive = receive

    def greeting(self) -> list[dict[str, Any]]:
        return [event("hello")]

    def refusal(self, code: str, message: str) -> dict[str, Any]:
        return event("error", error={"code": code})

    def failure(self, what: str, *, answers: bool) -> dict[str, Any]:
        return event("error", error={"code": what})

    def farewell(self, reason: str) -> list[dict[str, Any]]:
        return [event("last"), event(reason)]

    def messages(self, event: dict[str, Any], largest: int) -> list[str]:
        return wire.messages(event, largest)

    async def run(self) -> None:
        pass


@pytest.fixture
def received() -> list[str | bytes]:
    return []


@pytest.fixture
def channels(received: list[str | bytes]) -> EventChannels:
    return EventChannels(lambda send: Words(received.append), Barrier("sess", lambda what: None))


async def running(channels: EventChannels) -> None:
    begun = asyncio.Event()
    begun.set()
    await channels.serve_after(begun)


async def test_messages_wait_for_the_conversation_and_keep_their_order(channels, received):
    channel = FakeChannel()
    channels.add(channel)
    begun = asyncio.Event()
    serving = asyncio.create_task(channels.serve_after(begun))
    for n in range(3):
        channel.handlers["message"](str(n))
    assert received == []
    begun.set()
    await serving
    channel.handlers["message"]("3")
    assert received == ["0", "1", "2", "3"]


async def test_what_waits_is_bounded_and_the_rest_is_refused(channels, received):
    channel = FakeChannel()
    channels.add(channel)
    for n in range(HELD_MESSAGES + 2):
        channel.handlers["message"](str(n))
    assert [e["error"]["code"] for e in channel.sent[1:]] == ["too_many_events"] * 2
    await running(channels)
    assert len(received) == HELD_MESSAGES


async def test_what_waits_is_bounded_in_bytes_too(channels, received):
    channel = FakeChannel()
    channels.add(channel)
    for _ in range(8):
        channel.handlers["message"]("x" * (FULL_BYTES // 4))
    await running(channels)
    assert len(received) == 4


async def test_nothing_is_heard_once_the_session_has_ended(channels, received):
    channel = FakeChannel()
    channels.add(channel)
    await running(channels)
    channels.hear_no_more()
    channel.handlers["message"]("late")
    assert received == []


def test_a_channel_gets_the_greeting_and_the_first_one_what_was_missed(channels):
    channels._usual.send(event("missed"))
    first, second = FakeChannel(), FakeChannel()
    channels.add(first)
    channels.add(second)
    channels._usual.send(event("now"))
    assert first.types() == ["hello", "missed", "now"]
    assert second.types() == ["hello", "now"]


def test_what_is_missed_is_bounded(channels):
    for n in range(BACKLOG_EVENTS + 10):
        channels._usual.send(event(n=n))
    channel = FakeChannel()
    channels.add(channel)
    assert [e["n"] for e in channel.sent[1:]] == list(range(10, BACKLOG_EVENTS + 10))


@pytest.mark.parametrize("state", ["closed", "closing"])
def test_a_channel_that_is_closed_makes_room(channels, state):
    for _ in range(3 * MOST_CHANNELS):
        channel = FakeChannel()
        channels.add(channel)
        assert channel.types() == ["hello"]
        channel.readyState = state
        channels._usual.send(event())  # nobody is left: kept for the next one
        channels._usual._backlog.clear()


def test_one_too_many_is_told_and_closed(channels):
    for _ in range(MOST_CHANNELS):
        channels.add(FakeChannel())
    refused = FakeChannel()
    channels.add(refused)
    assert refused.sent[0]["error"]["code"] == "too_many_channels"
    assert refused.readyState == "closed"
    assert "message" not in refused.handlers


def test_a_channel_that_is_not_read_loses_events_and_the_others_none(channels):
    full, other = FakeChannel(), FakeChannel()
    channels.add(full)
    channels.add(other)
    full.bufferedAmount = FULL_BYTES + 1
    channels._usual.send(event("now"))
    assert full.types() == ["hello"]
    assert other.types() == ["hello", "now"]
    assert channels.dropped == 1


def test_events_are_made_as_small_as_the_peer_wants_them(channels):
    channels.guard(FakeGuard(200))
    channel = FakeChannel()
    channels.add(channel)
    channels._usual.send(event("x.delta", delta="é" * 500))
    assert "".join(e["delta"] for e in channel.sent[1:]) == "é" * 500
    channels._usual.send(event("x", text="é" * 500))
    assert channel.sent[-1]["text"].endswith("é…")
    channels._usual.send(event("x", **{f"field {n}": n for n in range(100)}))
    assert channels.dropped == 1


async def test_the_farewell_is_sent_and_waited_for(channels):
    guard = FakeGuard()
    channels.guard(guard)
    channel = FakeChannel()
    channels.add(channel)
    await channels.farewell("bye")
    assert channel.types() == ["hello", "last", "bye"]
    assert len(guard.waited) == 1
    channels.release()
    assert guard.released


async def test_nobody_is_waited_for_when_nobody_is_there(channels):
    guard = FakeGuard()
    channels.guard(guard)
    await channels.farewell("bye")
    assert guard.waited == []


async def test_a_handler_that_fails_does_not_reach_the_library(caplog):
    told: list[str] = []

    def fail(message: str | bytes) -> None:
        raise RuntimeError("a defect")

    channels = EventChannels(lambda send: Words(fail), Barrier("sess", told.append))
    channel = FakeChannel()
    channels.add(channel)
    channel.handlers["message"]("one")
    await running(channels)  # what waited goes through the same barrier
    channel.handlers["message"]("two")
    assert told == ["a message", "a message"]
    assert "a defect" in caplog.text
