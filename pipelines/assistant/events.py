"""The event bus of one session: whoever wants to know what happens subscribes, and can hold nothing up.

Metrics, captions, dialects and recorders are subscribers. Each has a bounded channel of its own: one that is slow, or
does not read at all, loses events, which is counted, and a handler that raises is told once and gets no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from media.channel import Channel, Policy
from pipelines.runtime.relief import Cause, Part
from pipelines.vision.detect import VideoEvent
from pipelines.vision.events import VisionEvent
from pipelines.voice.events import VoiceEvent

CAPACITY = 1024
"""Events that may wait for one subscriber: those of some minutes of conversation."""


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """How the session converses, or how it is seen, has changed."""


@dataclass(frozen=True, slots=True)
class EnginesChanged:
    """Other engines serve the session from now on."""


RecordingReason = Literal["time_limit", "size_limit", "disk_full", "failed", "asked"]


@dataclass(frozen=True, slots=True)
class RecordingChanged:
    """The session is being recorded from now on, or no longer."""

    state: Literal["on", "off"]
    seconds: float
    """Recorded so far."""
    reason: RecordingReason | None = None
    """Why it ended; ``None`` where it begins."""


@dataclass(frozen=True, slots=True)
class SessionOver:
    """The assistant sees no sense in going on: whoever serves the session is to end it, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class SessionMoved:
    """Whoever serves the session ends soon: its client is to go on with the conversation in a new connection."""

    seconds: float
    """Until the end."""


@dataclass(frozen=True, slots=True)
class SessionDegraded:
    """The session gives something up from now on, or no longer: the machine has too much to do."""

    parts: tuple[Part, ...]
    """What comes less often than usual, or not at all; empty: everything is as usual again."""
    cause: Cause | None
    """Why; ``None`` where everything is as usual."""


OwnEvent = SettingsChanged | EnginesChanged | RecordingChanged | SessionOver | SessionMoved | SessionDegraded
Event = VoiceEvent | VisionEvent | VideoEvent | OwnEvent
Handler = Callable[[Event], object]


class EventBus:
    """``failed`` is called with the name of a subscriber whose handler has raised, and with what it raised."""

    def __init__(self, failed: Callable[[str, Exception], object]) -> None:
        self._failed = failed
        self._channels: list[Channel[Event]] = []
        self._attached: list[tuple[str, Handler, Channel[Event]]] = []
        self._group: asyncio.TaskGroup | None = None
        self._closed = asyncio.Event()
        self._dropped = 0
        """Of subscribers that are gone."""

    @property
    def dropped(self) -> int:
        """Events that subscribers have lost because they did not read."""
        return self._dropped + sum(channel.dropped for channel in self._channels)

    def emit(self, event: Event) -> None:
        """Tell all subscribers. Never waits, never raises, runs nobody's code."""
        for channel in self._channels:
            channel.put(event)

    def subscribe(self, capacity: int = CAPACITY, policy: Policy = Policy.DROP_OLDEST) -> Channel[Event]:
        """Every event from now on, in order, for a reader with a task of its own; closed when the session has ended.

        Of a reader that falls behind by ``capacity`` events the oldest are forgotten, or what ``policy`` says.
        """
        channel: Channel[Event] = Channel(capacity, policy)
        self._channels.append(channel)
        if self._closed.is_set():
            channel.close()
        return channel

    def unsubscribe(self, channel: Channel[Event]) -> None:
        """Tell this reader no more; what it has not read stays readable. Idempotent."""
        channel.close()
        if channel in self._channels:
            self._channels.remove(channel)
            self._dropped += channel.dropped

    def attach(self, name: str, handler: Handler) -> None:
        """Have ``handler`` called with every event from now on, in order, while :meth:`run` runs.

        It must not block. If it raises, that is told once under ``name``, and it is not called again.
        """
        attached = name, handler, self.subscribe()
        if self._group is None:
            self._attached.append(attached)
        else:
            self._group.create_task(self._deliver(*attached), name=name)

    async def run(self) -> None:
        """Serve the attached handlers until :meth:`close`, and then what is left for them."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for name, handler, channel in self._attached:
                group.create_task(self._deliver(name, handler, channel), name=name)
            await self._closed.wait()

    def close(self) -> None:
        """Nothing more will happen. Idempotent."""
        self._closed.set()
        for channel in self._channels:
            channel.close()

    async def _deliver(self, name: str, handler: Handler, channel: Channel[Event]) -> None:
        try:
            async for event in channel:
                handler(event)
        except Exception as error:  # noqa: BLE001 - the barrier: whatever it is, it is told and the session goes on
            self.unsubscribe(channel)
            self._failed(name, error)
