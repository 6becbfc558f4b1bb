"""A peer's consent to be sent to: asked for as RFC 7675 has it, and not only of peers that answer within half a second.

aioice takes a check that has no answer after 0.5 s for failed, and after six of those closes the connection. So calls
over a satellite, with a phone in a tunnel or on a machine that is busy ended after half a minute although every check
was answered. Here an answer counts whenever it comes within some seconds, and consent ends when there was none for 30 s
(§5.1). The names used are private to the release that :mod:`media.aiortc_internals.version` insists on; a test pins
them.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Any

from aioice.stun import TransactionError
from aiortc import RTCDtlsTransport

import media.aiortc_internals.version  # noqa: F401 - checked before anything here is used

CHECK_SECONDS = 5.0
EXPIRES_SECONDS = 30.0
AGAIN = 3
"""Times that a check is sent again: an answer to any of them is taken for 7.5 s."""
_NAME = "query_consent"


def guard_consent(transport: RTCDtlsTransport) -> None:
    """From now on this transport's consent is asked for here. Before it is connected; idempotent."""
    internals: Any = transport
    connection = internals.transport._connection
    if _NAME not in vars(connection):
        setattr(connection, _NAME, partial(ask, connection))


def release_consent(transport: RTCDtlsTransport) -> None:
    """Give the connection its own method back, which ends the circle of references. Idempotent."""
    internals: Any = transport
    vars(internals.transport._connection).pop(_NAME, None)


async def ask(connection: Any) -> None:
    """Ask for consent every five seconds, and close the connection when there is none any more."""
    loop = asyncio.get_running_loop()
    answered = loop.time()
    while True:
        await asyncio.sleep(CHECK_SECONDS * random.uniform(0.8, 1.2))
        for pair in list(connection._nominated.values()):
            request = connection.build_request(pair, nominate=False)
            key = connection.remote_password.encode()
            try:
                await pair.protocol.request(request, pair.remote_addr, integrity_key=key, retransmissions=AGAIN)
            except TransactionError:
                continue
            answered = loop.time()
        if loop.time() - answered >= EXPIRES_SECONDS:
            connection._query_consent_task = None
            await connection.close()
            return
