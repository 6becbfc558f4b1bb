"""The end of a peer connection: within a deadline whatever aiortc does, and with nothing left behind.

``RTCPeerConnection.close`` waits for tasks, threads and sockets of its own; should one of them never end, it never
returns. What is over is also taken apart: its parts point at each other, and with them all that a call held would wait
for a rare full collection. The names used are private to the release line that :mod:`media.aiortc_internals.version`
insists on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

from aiortc import RTCPeerConnection

import media.aiortc_internals.version  # noqa: F401 - checked before anything here is used
from media.aiortc_internals.consent import release_consent
from media.aiortc_internals.direct import release_directly

log = logging.getLogger(__name__)

CLOSE_SECONDS = 1.0
"""What closing may take; it sends a few packets and waits for nobody."""


async def close_peer(pc: RTCPeerConnection, seconds: float = CLOSE_SECONDS) -> bool:
    """Close a connection; whether that was done within ``seconds``. If not, its sockets are closed and it is let go."""
    closing = asyncio.ensure_future(pc.close())
    in_time = False
    try:
        await asyncio.wait([closing], timeout=seconds)
        in_time = closing.done() and not closing.cancelled() and closing.exception() is None
    finally:
        if not in_time:
            error = closing.exception() if closing.done() and not closing.cancelled() else None
            log.warning("a connection could not be closed within %g s and is let go", seconds, exc_info=error)
            _let_go(pc, closing)
        _take_apart(pc)
    return in_time


def _let_go(pc: Any, closing: asyncio.Future[None]) -> None:
    """Cancel what there is to cancel and close the sockets, waiting for nothing."""
    closing.cancel()
    for task in _tasks(pc):
        task.cancel()
    closed = pc._RTCPeerConnection__isClosed
    if closed is not None and not closed.done():
        closed.set_result(True)  # aiortc's own closing may wait for the same
    if pc.sctp is not None:  # its timers would send again what was never acknowledged, over a transport that is gone
        pc.sctp._set_state(pc.sctp.State.CLOSED)
    for transport in _transports(pc):
        for protocol in transport.transport._connection._protocols:
            if protocol.transport is not None:
                protocol.transport.abort()
    for receiver in pc.getReceivers():
        receiver._RTCRtpReceiver__stop_decoder()


def _tasks(pc: Any) -> Iterator[asyncio.Future[Any]]:
    """What aiortc and aioice have running for a connection."""
    found = [pc._RTCPeerConnection__closeTask]
    found += [receiver._RTCRtpReceiver__rtcp_task for receiver in pc.getReceivers()]
    for sender in pc.getSenders():
        found += [sender._RTCRtpSender__rtp_task, sender._RTCRtpSender__rtcp_task]
    for transport in _transports(pc):
        ice = transport.transport
        found += [transport._task, ice._RTCIceTransport__monitor_task, ice._connection._query_consent_task]
        found += [pair.task for pair in ice._connection._check_list]
    return (task for task in found if task is not None and not task.done())


def _transports(pc: Any) -> list[Any]:
    found = {id(t.receiver.transport): t.receiver.transport for t in pc.getTransceivers()}
    if pc.sctp is not None:
        found[id(pc.sctp.transport)] = pc.sctp.transport
    return list(found.values())


def _take_apart(pc: Any) -> None:
    """Cut the circles of references: handlers that were replaced, listeners, and what points back at the connection."""
    transports = _transports(pc)
    for part in (*pc.getSenders(), *pc.getReceivers(), *transports):
        for name in [name for name, value in vars(part).items() if callable(value) and name.startswith("_handle")]:
            del vars(part)[name]
    for transport in transports:
        release_consent(transport)
        release_directly(transport)
