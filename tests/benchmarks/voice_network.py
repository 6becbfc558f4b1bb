"""A bad network for the measuring client: packets that leave it are lost or delayed, as on a real path."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiortc import RTCRtpSender
from aiortc.rtp import is_rtcp

from media.clock import Clock


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """What happens to the packets on their way to the server."""

    loss_percent: float = 0.0
    """Independent random loss."""
    jitter_ms: float = 0.0
    """Each packet is delayed by up to this much, evenly spread. Beyond 20 ms packets overtake each other."""
    burst: int = 0
    """So many packets in a row are lost, once, at ``burst_at``."""
    burst_at: float = 3.0
    """Seconds after the first packet."""

    @property
    def perfect(self) -> bool:
        """Whether nothing happens to any packet."""
        return not (self.loss_percent or self.jitter_ms or self.burst)


class Network:
    """One client's path; random, but the same with the same seed."""

    def __init__(self, options: NetworkOptions, seed: int) -> None:
        self.sent = 0
        self.lost = 0
        self._options = options
        self._random = random.Random(seed)
        self._burst_left = options.burst
        self._began: float | None = None

    def delay(self, now: float) -> float | None:
        """Seconds after which a packet sent at ``now`` leaves; ``None`` when it is lost."""
        options = self._options
        self.sent += 1
        if self._began is None:
            self._began = now
        dropped = self._random.random() * 100.0 < options.loss_percent
        if self._burst_left and now - self._began >= options.burst_at:
            self._burst_left -= 1
            dropped = True
        late = self._random.uniform(0.0, options.jitter_ms / 1000.0)
        self.lost += dropped
        return None if dropped else late


def shape_outgoing(sender: RTCRtpSender, delay: Callable[[float], float | None], clock: Clock) -> None:
    """From now on an RTP packet leaves ``delay(now)`` seconds later, or not at all for ``None``: a bad network.

    Packets overtake each other when their delays differ by more than the time between them. RTCP is left alone.
    """
    internals: Any = sender
    transport = internals.transport
    send = transport._send_rtp
    loop = asyncio.get_running_loop()
    under_way: set[asyncio.Task[None]] = set()

    async def now_or_never(data: bytes) -> None:
        with suppress(ConnectionError):  # the peer has gone meanwhile
            await send(data)

    def leave(data: bytes) -> None:
        task = loop.create_task(now_or_never(data))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    async def shaped(data: bytes) -> None:
        seconds = None if is_rtcp(data) else delay(clock.now())
        if is_rtcp(data) or seconds == 0.0:
            await send(data)
        elif seconds is not None:
            loop.call_later(seconds, leave, data)

    transport._send_rtp = shaped
