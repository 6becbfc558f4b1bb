"""A peer whose address changes in mid-call is followed: its NAT forgot the way, or its network is another one.

aioice, which answers here, goes on sending to the address that was agreed on unless the peer names another one in a
check (USE-CANDIDATE, RFC 8445 §7.3.1.5). Browsers do; others only keep their consent fresh (RFC 7675), from wherever
they now are. So when a check that is authentic comes from elsewhere, the address of before is asked whether it is still
there; if it is not, and the new one is, media goes to the new one. The private names used here are those of the release
line that :mod:`media.aiortc_internals.version` insists on; a test pins them.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aioice import stun
from aiortc import RTCPeerConnection

import media.aiortc_internals.version  # noqa: F401 - checked before anything here is used

log = logging.getLogger(__name__)

TRIES = 1
"""How often the address of before is asked again: with the first time 1.5 s in all."""


MOST_ADDRESSES = 256
"""From which a peer has come in one call; each of them is one more to be compared with all others."""


def follow_peer(pc: RTCPeerConnection) -> None:
    """From now on the peer is followed, on all transports of the connection. Idempotent."""
    transports = [transceiver.receiver.transport for transceiver in pc.getTransceivers()]
    if pc.sctp is not None:
        transports.append(pc.sctp.transport)
    for transport in transports:
        connection: Any = transport.transport._connection
        if "check_incoming" not in vars(connection):
            _Follower(connection)


class _Follower:
    """Of one ICE connection, whose methods it stands in front of."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._checked, self._close = connection.check_incoming, connection.close
        self._asking: asyncio.Task[None] | None = None
        connection.check_incoming, connection.close = self.checked, self.close

    def checked(self, message: stun.Message, address: tuple[str, int], protocol: Any) -> None:
        """An authentic check has come from an address."""
        connection = self._connection
        known = connection._remote_candidates
        if len(known) >= MOST_ADDRESSES and all((one.host, one.port) != address for one in known):
            return
        self._checked(message, address, protocol)
        current = connection._nominated.get(protocol.local_candidate.component)
        if current is None or not connection._check_list_done or self._asking is not None:
            return
        if current.protocol is not protocol or current.remote_addr != address:
            found = [p for p in connection._check_list if p.protocol is protocol and p.remote_addr == address]
            if found:
                self._asking = asyncio.create_task(self._compare(current, found[0]), name="ice-follow")
                self._asking.add_done_callback(self._asked)

    async def close(self) -> None:
        """As the connection's."""
        if self._asking is not None:
            self._asking.cancel()
        for name in ("check_incoming", "close"):  # which ends the circle of references
            vars(self._connection).pop(name, None)
        await self._close()

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a peer that moved could not be followed: %r", error)

    async def _compare(self, current: Any, other: Any) -> None:
        connection = self._connection
        request = connection.build_request(current, nominate=False)
        key = connection.remote_password.encode("utf8")
        try:
            await current.protocol.request(request, current.remote_addr, integrity_key=key, retransmissions=TRIES)
        except stun.TransactionError:
            if other.task is not None:
                await asyncio.wait({other.task})
            if other.state is type(other).State.SUCCEEDED and connection._nominated.get(current.component) is current:
                other.nominated = True
                connection._nominated[current.component] = other
                log.info("a peer is now at %s, no longer at %s", other.remote_addr, current.remote_addr)
