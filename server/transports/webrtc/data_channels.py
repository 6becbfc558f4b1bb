"""The data channels of one peer: events out to all of them, messages in from any."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from aiortc import RTCDataChannel

from media.aiortc_internals.sctp import SctpGuard
from server.transports.interface import Dialect, Event, Message
from server.transports.webrtc.barrier import Barrier

log = logging.getLogger(__name__)

LARGEST_MESSAGE = 256 * 1024
"""Bytes of a message of ours, even to a peer that takes any: a larger one keeps everything behind it waiting."""
MOST_CHANNELS = 4
"""Data channels a peer may have open at a time."""
BACKLOG_EVENTS = 256
"""Events kept while no data channel is open yet; older ones are forgotten."""
HELD_MESSAGES = 128
"""Messages of the peer that wait for the conversation to begin; more are refused."""
FULL_BYTES = 1 << 20
"""A channel with this much unsent belongs to a peer that does not read: events for it are dropped and counted. Of
events kept and messages held there is never more either."""
MESSAGE = "a message"
"""What a message of the peer is called behind the barrier."""
FAREWELL_SECONDS = 0.5
"""How long a peer gets to take what is on the way to it when the session ends."""


class EventChannels:
    """``speaks`` makes the dialect that is spoken here, given where its events go."""

    def __init__(self, speaks: Callable[[Callable[[Event], None]], Dialect], barrier: Barrier) -> None:
        self.dropped = 0
        """Events not sent, because a channel was full or they could not be made small enough for the peer."""
        self.dialect = speaks(self.send)
        self._barrier = barrier
        self._receive = barrier.around(self.dialect.receive, MESSAGE)
        self._channels: list[RTCDataChannel] = []
        self._backlog: deque[Event] = deque(maxlen=BACKLOG_EVENTS)
        self._held: list[Message] | None = []
        """``None`` once messages are taken as they come."""
        self._held_bytes = 0
        self._ended = False
        self._guard: SctpGuard | None = None

    # ------------------------------------------------------------------------------------------------ life

    def guard(self, guard: SctpGuard) -> None:
        """The transport below: it says how large a message may be, and when all has arrived."""
        self._guard = guard

    def tell_refused(self, code: str, message: str) -> None:
        """What the peer did was not let through to a channel."""
        self.send(self.dialect.refusal(code, message))

    async def serve_after(self, running: asyncio.Event) -> None:
        """Hold the peer's messages until ``running`` is set, then take them in order and from then on at once."""
        await running.wait()
        held, self._held = self._held or [], None
        for message in held:
            self._receive(message)

    def hear_no_more(self) -> None:
        """The session ends: what the peer says from now on goes nowhere."""
        self._ended = True

    async def farewell(self, reason: str) -> None:
        """Send the last events and give them time to arrive."""
        self.hear_no_more()
        for event in self.dialect.farewell(reason):
            self.send(event)
        if self._guard is not None and self._open():
            await self._guard.flushed(FAREWELL_SECONDS)

    def release(self) -> None:
        """Let go of the channels and of the transport."""
        self._channels.clear()
        if self._guard is not None:
            self._guard.release()

    # ------------------------------------------------------------------------------------------------ in

    def add(self, channel: RTCDataChannel) -> None:
        """The peer has opened a channel, whatever its label."""
        if len(self._open()) >= MOST_CHANNELS:
            refused = self.dialect.refusal("too_many_channels", f"a peer may have {MOST_CHANNELS} data channels open")
            self._send_to([channel], refused)
            channel.close()
            return
        channel.on("message", self._barrier.around(self._take, MESSAGE))
        channel.on("close", self._barrier.around(self._open, "a closed channel"))
        first = not self._open()
        self._channels.append(channel)
        for event in self.dialect.greeting():
            self._send_to([channel], event)
        if first:
            backlog = list(self._backlog)
            self._backlog.clear()
            for event in backlog:
                self._send_to([channel], event)

    def _take(self, message: Message) -> None:
        if self._ended:
            return
        if self._held is None:
            self._receive(message)
        elif len(self._held) < HELD_MESSAGES and self._held_bytes + len(message) <= FULL_BYTES:
            self._held.append(message)
            self._held_bytes += len(message)
        else:
            self.tell_refused("too_many_events", f"{HELD_MESSAGES} events wait for the session to begin already")

    def _open(self) -> list[RTCDataChannel]:
        """The channels that can be written to; those that are closing or closed leave the list."""
        self._channels = [channel for channel in self._channels if channel.readyState == "open"]
        return self._channels

    # ------------------------------------------------------------------------------------------------ out

    def send(self, event: Event) -> None:
        """Give an event to every open channel. Never raises for what is in the event."""
        channels = self._open()
        if channels:
            self._send_to(channels, event)
        else:
            self._backlog.append(event)

    def _send_to(self, channels: list[RTCDataChannel], event: Event) -> None:
        texts = self.dialect.messages(event, self._largest)
        if not texts:
            self.dropped += 1
            log.debug("the peer takes %d bytes at a time: %.100r cannot be sent", self._largest, event)
        for channel in channels:
            for text in texts:
                if channel.bufferedAmount > FULL_BYTES:
                    self.dropped += 1
                else:
                    channel.send(text)

    @property
    def _largest(self) -> int:
        return LARGEST_MESSAGE if self._guard is None else min(LARGEST_MESSAGE, self._guard.largest_message)
