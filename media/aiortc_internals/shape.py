"""A bad network of one's own: RTP packets that a sender hands to its transport are lost or delayed.

For clients that measure. The private name used here is that of the release line that
:mod:`media.aiortc_internals.version` insists on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiortc import RTCRtpSender
from aiortc.rtp import is_rtcp

from media.clock import Clock


def shape_outgoing(sender: RTCRtpSender, delay: Callable[[float], float | None], clock: Clock) -> None:
    """From now on an RTP packet leaves ``delay(now)`` seconds later, or not at all for ``None``.

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
