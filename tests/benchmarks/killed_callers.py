"""Processes that call a server and kill themselves with SIGKILL at a chosen moment. See ``many_calls.py``.

A real kill: the kernel closes the sockets, nothing is said any more. The processes are forked from one that has
imported everything already, so that one costs some tens of milliseconds.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from media.frames import Samples
from media.opus import RATE
from media.resample import Resampler
from server.transports.webrtc import ice
from tests.fakes.peer import Peer
from tests.fakes.pipecat_peer import PipecatPeer
from tests.fakes.socket_client import RATE as SOCKET_RATE
from tests.fakes.socket_client import SocketClient
from tests.fakes.whip import Publisher

MOMENTS = {
    "offer": ("asked", "answered", "ice", "dtls", "connected", "half open", "speech", "response"),
    "small": ("asked", "answered", "ice", "dtls", "connected", "half open", "speech", "response"),
    "whip": ("asked", "answered", "ice", "dtls", "connected", "speech", "deleted"),
    "socket": ("handshake", "connected", "half a message", "speech", "response"),
}
"""Transport: when its caller is killed. ``asked``: the offer is being answered · ``answered``: the answer is here, and
not one packet has been sent · ``ice``, ``dtls``: these have begun · ``connected``: media may flow, the data channel
does not exist yet · ``half open``: the channel is open here, nothing was said on it · ``deleted``: in a DELETE."""
TABLE = tuple((transport, moment) for transport, moments in MOMENTS.items() for moment in moments)
LONGEST_SECONDS = 40.0
KILLED = -signal.SIGKILL


def die() -> None:
    """Be killed, here and now."""
    os.kill(os.getpid(), signal.SIGKILL)


def run(url: str, transport: str, moment: str, said: Samples, seed: int) -> None:
    """The process of one caller, who says ``said`` (48 kHz); exit status 3: its moment never came."""
    ice.gather_from(["127.0.0.1"])
    random.seed(seed)

    async def bounded() -> None:
        async with asyncio.timeout(LONGEST_SECONDS):
            await (_socket(url, moment, said) if transport == "socket" else _peer(url, transport, moment, said))

    with suppress(TimeoutError):
        asyncio.run(bounded())
    sys.exit(3)


async def killed(url: str, transport: str, moment: str, said: Samples, seed: int) -> str:
    """Run such a process; ``killed``, or what became of it instead."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=run, args=(url, transport, moment, said, seed), daemon=True)
    await asyncio.to_thread(process.start)
    await asyncio.to_thread(process.join, LONGEST_SECONDS + 20)
    code = process.exitcode
    if code is None:
        process.kill()
        await asyncio.to_thread(process.join)
    process.close()
    return "killed" if code == KILLED else f"{transport}, {moment}: exit status {code}"


async def _peer(url: str, transport: str, moment: str, said: Samples) -> None:
    kinds: dict[str, Callable[[], Any]] = {
        "offer": lambda: Peer(url),
        "small": lambda: PipecatPeer(url),
        "whip": lambda: Publisher(url, kinds=("audio",)),
    }
    peer = kinds[transport]()
    _die_while_signalling(peer, moment)
    if moment == "connected":  # the channel's own handshake comes after it
        peer.pc.on("connectionstatechange", lambda: peer.pc.connectionState == "connected" and die())
    for at, state in (("ice", "checking"), ("dtls", "completed")):
        if moment == at:
            peer.pc.on("iceconnectionstatechange", lambda state=state: peer.pc.iceConnectionState == state and die())
    await peer.connect()
    if moment == "half open":
        peer.channel.on("open", die)
        await peer.until(lambda: peer.channel.readyState == "open")
        die()
    await IN_A_CALL[transport](peer, moment, said)


def _die_while_signalling(peer: Any, moment: str) -> None:
    signalled = peer._signal

    async def asked(offer: dict[str, Any]) -> dict[str, Any]:
        asking = asyncio.ensure_future(signalled(offer))
        if moment == "asked":
            await asyncio.wait([asking], timeout=random.uniform(0.0, 0.03))
            die()
        answer: dict[str, Any] = await asking
        if moment == "answered":
            die()
        return answer

    peer._signal = asked


async def _offer(peer: Any, moment: str, said: Samples) -> None:
    await peer.event("session.created")
    peer.say(said, RATE)
    await _then(moment, peer.event("output_audio_buffer.started"))


async def _small(peer: Any, moment: str, said: Samples) -> None:
    await peer.ready()
    peer.say(said, RATE)
    await _then(moment, peer.event("bot-started-speaking"))


async def _whip(peer: Any, moment: str, said: Samples) -> None:
    peer.say(said, RATE)
    if moment == "deleted":
        await asyncio.sleep(random.uniform(0.0, 1.0))
        deleting = asyncio.ensure_future(peer.delete())
        await asyncio.wait([deleting], timeout=random.uniform(0.0, 0.02))
        die()
    await _then(moment, asyncio.sleep(0))


async def _then(moment: str, response: Awaitable[object]) -> None:
    """Be killed in the speech that has begun, or in the response to it."""
    if moment == "speech":
        await asyncio.sleep(random.uniform(0.1, 0.7))
        die()
    await response
    await asyncio.sleep(random.uniform(0.0, 0.5))
    die()


IN_A_CALL = {"offer": _offer, "small": _small, "whip": _whip}


async def _socket(url: str, moment: str, said: Samples) -> None:
    if moment == "handshake":
        place = urlsplit(url)
        _, writer = await asyncio.open_connection(place.hostname, place.port)
        head = (
            f"GET /v1/realtime?model=any HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket"
        )
        writer.write(head[: random.randint(10, len(head))].encode())
        await writer.drain()
        die()
    async with SocketClient(url) as client:
        if moment == "connected":
            die()
        await client.event("session.created")
        if moment == "half a message":
            transport = client.socket._response.connection.transport
            transport.write(b"\x81\xfe\x40\x00abcd{")  # the head of a masked frame of 16 KiB, and its first letter
            await asyncio.sleep(random.uniform(0.0, 0.2))
            die()
        narrow = Resampler(SOCKET_RATE).push(said, RATE)
        await client.append(narrow[: len(narrow) // 2])
        if moment == "speech":
            die()
        await client.append(narrow[len(narrow) // 2 :])
        await client.event("response.output_audio.delta")
        die()
