"""The data channels of one peer: events out, messages in, each channel in the dialect that goes with its label."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping

from aiortc import RTCDataChannel

from media.aiortc_internals.sctp import SctpGuard
from pipelines.runtime.supervision import Supervisor
from server.transports.barrier import Barrier
from server.transports.interface import REPLACED, Dialect, Event, Message

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

MakeDialect = Callable[[Callable[[Event], None]], Dialect]
"""Makes a dialect, given where its events go."""


class DialectChannels:
    """The channels on which one dialect is spoken; every one gets every event. ``make`` makes the dialect."""

    def __init__(self, make: MakeDialect, largest: Callable[[], int]) -> None:
        self.dropped = 0
        """Events not sent, because a channel was full or they could not be made small enough for the peer."""
        self.dialect = make(self.send)
        self._largest = largest
        self._channels: list[RTCDataChannel] = []
        self._backlog: deque[Event] = deque(maxlen=BACKLOG_EVENTS)

    def add(self, channel: RTCDataChannel) -> None:
        """Another channel: it is greeted, and the first one gets what was missed."""
        first = not self.open()
        self._channels.append(channel)
        for event in self.dialect.greeting():
            self.send_to([channel], event)
        if first:
            backlog = list(self._backlog)
            self._backlog.clear()
            for event in backlog:
                self.send_to([channel], event)

    def open(self) -> list[RTCDataChannel]:
        """The channels that can be written to; those that are closing or closed leave the list."""
        self._channels = [channel for channel in self._channels if channel.readyState == "open"]
        return self._channels

    def send(self, event: Event) -> None:
        """Give an event to every open channel. Never raises for what is in the event."""
        channels = self.open()
        if channels:
            self.send_to(channels, event)
        else:
            self._backlog.append(event)

    def send_to(self, channels: list[RTCDataChannel], event: Event) -> None:
        """Give an event to these channels alone."""
        texts = self.dialect.messages(event, self._largest())
        if not texts:
            self.dropped += 1
            log.debug("the peer takes %d bytes at a time: %s cannot be sent", self._largest(), type(event).__name__)
        for channel in channels:
            for text in texts:
                if channel.bufferedAmount > FULL_BYTES:
                    self.dropped += 1
                else:
                    channel.send(text)

    def release(self) -> None:
        """Let go of the channels."""
        self._channels.clear()


class EventChannels:
    """``usual`` makes the dialect of a channel of any label but those in ``labelled``.

    The usual dialect is there from the beginning and keeps events for the first channel; the others are made when a
    channel with their label is opened.
    """

    def __init__(self, usual: MakeDialect, barrier: Barrier, labelled: Mapping[str, MakeDialect] | None = None) -> None:
        self._labelled = labelled or {}
        self._barrier = barrier
        self._usual = DialectChannels(usual, self._largest)
        self._spoken: dict[str | None, DialectChannels] = {None: self._usual}
        """By label; ``None``: the usual one."""
        self._taking = self._usual
        """Whose message is being received."""
        self._receive = barrier.around(self._receive_one, MESSAGE)
        self._held: list[tuple[DialectChannels, Message]] | None = []
        """``None`` once messages are taken as they come."""
        self._held_bytes = 0
        self._ended = False
        self._guard: SctpGuard | None = None
        self._run: Callable[[DialectChannels], object] | None = None
        """Runs a dialect, once dialects run."""

    @property
    def dialect(self) -> Dialect:
        """The usual one."""
        return self._usual.dialect

    @property
    def dropped(self) -> int:
        """Events not sent, because a channel was full or they could not be made small enough for the peer."""
        return sum(spoken.dropped for spoken in self._spoken.values())

    # ------------------------------------------------------------------------------------------------ life

    def guard(self, guard: SctpGuard) -> None:
        """The transport below: it says how large a message may be, and when all has arrived."""
        self._guard = guard

    async def tell(self, part: str, optional: Supervisor) -> None:
        """Let every dialect tell its client what happens, until cancelled; ``part`` names that when it fails."""
        async with asyncio.TaskGroup() as group:

            def run(spoken: DialectChannels) -> None:
                group.create_task(optional.keep(part, spoken.dialect.run), name=part)

            self._run = run
            for spoken in self._spoken.values():
                run(spoken)
            try:
                await asyncio.Event().wait()  # channels may still be opened
            finally:
                self._run = None

    def tell_refused(self, code: str, message: str) -> None:
        """What the peer did was not let through to a channel."""
        for spoken in self._in_use():
            spoken.send(spoken.dialect.refusal(code, message))

    def tell_failure(self, what: str) -> None:
        """The server has failed at ``what``; at a message only its sender is told."""
        answers = what == MESSAGE
        for spoken in [self._taking] if answers else self._in_use():
            spoken.send(spoken.dialect.failure(what, answers=answers))

    async def serve_after(self, running: asyncio.Event) -> None:
        """Hold the peer's messages until ``running`` is set, then take them in order and from then on at once."""
        await running.wait()
        held, self._held = self._held or [], None
        for spoken, message in held:
            self._receive(spoken, message)

    def hear_no_more(self) -> None:
        """The session ends: what the peer says from now on goes nowhere."""
        self._ended = True

    async def farewell(self, reason: str) -> None:
        """Send the last events and give them time to arrive."""
        self.hear_no_more()
        if reason == REPLACED:
            return
        for spoken in self._in_use():
            for event in spoken.dialect.farewell(reason):
                spoken.send(event)
        if self._guard is not None and self._open():
            await self._guard.flushed(FAREWELL_SECONDS)

    def release(self) -> None:
        """Let go of the channels and of the transport."""
        for spoken in self._spoken.values():
            spoken.release()
        if self._guard is not None:
            self._guard.release()

    # ------------------------------------------------------------------------------------------------ in

    def add(self, channel: RTCDataChannel) -> None:
        """The peer has opened a channel."""
        spoken = self._spoken_on(channel.label)
        if len(self._open()) >= MOST_CHANNELS:
            refused = spoken.dialect.refusal("too_many_channels", f"a peer may have {MOST_CHANNELS} data channels open")
            spoken.send_to([channel], refused)
            channel.close()
            return

        def take(message: Message) -> None:
            self._take(spoken, message)

        channel.on("message", self._barrier.around(take, MESSAGE))
        channel.on("close", self._barrier.around(self._open, "a closed channel"))
        spoken.add(channel)

    def _spoken_on(self, label: str) -> DialectChannels:
        make = self._labelled.get(label)
        if make is None:
            return self._usual
        if label not in self._spoken:
            self._spoken[label] = made = DialectChannels(make, self._largest)
            if self._run is not None:
                self._run(made)
        return self._spoken[label]

    def _take(self, spoken: DialectChannels, message: Message) -> None:
        if self._ended:
            return
        if self._held is None:
            self._receive(spoken, message)
        elif len(self._held) < HELD_MESSAGES and self._held_bytes + len(message) <= FULL_BYTES:
            self._held.append((spoken, message))
            self._held_bytes += len(message)
        else:
            text = f"{HELD_MESSAGES} events wait for the session to begin already"
            spoken.send(spoken.dialect.refusal("too_many_events", text))

    def _receive_one(self, spoken: DialectChannels, message: Message) -> None:
        self._taking = spoken
        spoken.dialect.receive(message)

    # ------------------------------------------------------------------------------------------------ inside

    def _open(self) -> list[RTCDataChannel]:
        return [channel for spoken in self._spoken.values() for channel in spoken.open()]

    def _in_use(self) -> list[DialectChannels]:
        """Those with open channels; the usual one where there is none, for it keeps what nobody can be told yet."""
        return [spoken for spoken in self._spoken.values() if spoken.open()] or [self._usual]

    def _largest(self) -> int:
        return LARGEST_MESSAGE if self._guard is None else min(LARGEST_MESSAGE, self._guard.largest_message)
