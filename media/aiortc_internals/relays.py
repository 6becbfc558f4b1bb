"""TURN as a peer connection of this process uses it: why a server gives no relay, and addresses of IPv6.

aioice asks its TURN server for each connection anew, waits up to 5 s for one that does not answer, and tells nobody
why it got nothing; and aiortc reads no IPv6 address in a URL. What is replaced are functions that they look up in their
modules, :func:`aioice.ice.relayed_candidate` and ``aiortc.rtcicetransport.parse_stun_turn_uri``, which belong to the
release line that :mod:`media.aiortc_internals.version` insists on; a test pins them.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any

import aioice.ice
import aiortc.rtcicetransport
from aioice.stun import TransactionFailed, TransactionTimeout

import media.aiortc_internals.version  # noqa: F401 - checked before anything here is used
from media.clock import Clock

ANSWER_SECONDS = 3.0
"""What a TURN server may take to give a relay: two round trips, and three more with TLS. An answer waits for it."""
REST_SECONDS = 30.0
"""A server that gave none is not asked again for so long: no call has to wait for it."""
Told = Callable[[str, str], object]
"""Is told the address of a TURN server, and why it gives no relay: once for each rest."""

_ask = aioice.ice.relayed_candidate
_parse = aiortc.rtcicetransport.parse_stun_turn_uri
_BRACKETS = re.compile(r"(?P<scheme>stuns?|turns?):\[(?P<host>[0-9a-fA-F:.]+)\](?P<rest>.*)")


def watch_relays(tell: Told, clock: Clock) -> None:
    """From now on, for the whole process: ``tell`` hears of TURN servers that give no relay, and those are let rest."""
    setattr(aioice.ice, "relayed_candidate", _Asking(tell, clock))  # noqa: B010 - not exported
    setattr(aiortc.rtcicetransport, "parse_stun_turn_uri", parse_url)  # noqa: B010


def parse_url(url: str) -> dict[str, Any]:
    """As aiortc's, and with an IPv6 address in brackets. Raises ``ValueError``."""
    found = _BRACKETS.fullmatch(url)
    if found is None:
        return _parse(url)
    return {**_parse(f"{found['scheme']}:host{found['rest']}"), "host": found["host"]}


class _Asking:
    """In place of :func:`aioice.ice.relayed_candidate`."""

    def __init__(self, tell: Told, clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._rests: dict[tuple[str, int, str], float] = {}
        """Until when; as many as there are servers in the settings."""

    async def __call__(self, **asked: Any) -> Any:
        host, port = asked["turn_server"]
        transport = "tls" if asked["turn_ssl"] else asked["turn_transport"]
        server = host, port, transport
        if self._clock.now() < self._rests.get(server, 0.0):
            raise ConnectionError(f"{host} has given no relay a short while ago")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await _ask(**asked)
        except Exception as error:
            if self._clock.now() >= self._rests.get(server, 0.0):  # else another call, at the same time, has told
                self._rests[server] = self._clock.now() + REST_SECONDS
                name = f"[{host}]" if ":" in host else host
                self._tell(f"{name}:{port} ({transport})", why_none(error))
            raise


def why_none(error: Exception) -> str:
    """In words for whoever runs the server."""
    match error:
        case TransactionFailed():
            code, reason = error.response.attributes.get("ERROR-CODE", (0, "no reason"))
            if code in (401, 403):
                return (
                    f"it refuses the credentials ({code} {reason}): is the secret its static-auth-secret, and are the "
                    "clocks of both machines right?"
                )
            return f"it refuses ({code} {reason})"
        case TimeoutError() | TransactionTimeout():
            return "it does not answer"
        case ssl.SSLError():
            return f"its certificate or its TLS is not accepted ({error.reason or error})"
        case socket.gaierror():
            return "its name is not known"
        case OSError():
            return error.strerror or str(error)
    return str(error) or type(error).__name__
