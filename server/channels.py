"""The data channels of one peer: events out to all of them, messages in from any."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable

from aiortc import RTCDataChannel

from server.dialects.realtime_shapes import Json, error_event

MOST_CHANNELS = 4
"""Data channels a peer may open."""
BACKLOG_EVENTS = 256
"""Events kept while no data channel is open yet; older ones are forgotten."""
FULL_BYTES = 1 << 20
"""A channel with this much unsent belongs to a peer that does not read: events for it are dropped and counted."""


class EventChannels:
    """``greeting`` makes the events that a channel gets first; ``receive`` is given every message of the peer."""

    def __init__(self, greeting: Callable[[], list[Json]], receive: Callable[[str | bytes], None]) -> None:
        self.dropped = 0
        """Events not sent because a channel was full."""
        self._greeting = greeting
        self._receive = receive
        self._channels: list[RTCDataChannel] = []
        self._backlog: deque[str] = deque(maxlen=BACKLOG_EVENTS)

    def add(self, channel: RTCDataChannel) -> None:
        """The peer has opened a channel, whatever its label."""
        if len(self._channels) >= MOST_CHANNELS:
            channel.send(json.dumps(error_event("too_many_channels", f"a peer may open {MOST_CHANNELS} data channels")))
            channel.close()
            return
        channel.on("message", self._receive)
        self._channels.append(channel)
        for message in [json.dumps(event) for event in self._greeting()] + list(self._backlog):
            channel.send(message)
        self._backlog.clear()

    def send(self, event: Json) -> None:
        """Give an event to every open channel."""
        message = json.dumps(event)
        if not self._channels:
            self._backlog.append(message)
        for channel in self._channels:
            if channel.readyState != "open":
                continue
            if channel.bufferedAmount > FULL_BYTES:
                self.dropped += 1
            else:
                channel.send(message)
