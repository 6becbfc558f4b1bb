"""A connection ends within its deadline, whatever the library does."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription

from media.aiortc_internals.closing import close_peer
from media.audio_out import AudioOut
from media.clock import MonotonicClock
from server.transports.webrtc import ice


def sockets() -> int:
    """Open sockets of this process."""
    fds = Path("/proc/self/fd")
    if not fds.exists():
        pytest.skip("no /proc to count descriptors in")
    links = []
    for fd in fds.iterdir():
        try:
            links.append(os.readlink(fd))
        except OSError:  # the one that lists them
            continue
    return sum(link.startswith("socket:") for link in links)


def others() -> set[asyncio.Task]:
    """All tasks but this one."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def connected(here: RTCPeerConnection, there: RTCPeerConnection) -> None:
    here.addTrack(AudioOut(MonotonicClock()))
    there.addTrack(AudioOut(MonotonicClock()))
    here.createDataChannel("events")
    both = asyncio.Event()
    for pc in (here, there):
        pc.on(
            "connectionstatechange",
            lambda: both.set() if here.connectionState == there.connectionState == "connected" else None,
        )
    await here.setLocalDescription(await here.createOffer())
    await there.setRemoteDescription(RTCSessionDescription(here.localDescription.sdp, "offer"))
    await there.setLocalDescription(await there.createAnswer())
    await here.setRemoteDescription(RTCSessionDescription(there.localDescription.sdp, "answer"))
    await both.wait()


@pytest.fixture
async def pair(loopback):
    here, there = RTCPeerConnection(ice.configuration(())), RTCPeerConnection(ice.configuration(()))
    before = sockets(), others()
    await connected(here, there)
    yield here
    await close_peer(there)
    for _ in range(10):  # what was cancelled, and sockets that were aborted, end on the loop
        await asyncio.sleep(0)
    assert (sockets(), others()) == before


async def test_a_connection_is_closed(pair):
    assert await close_peer(pair, 10)
    assert pair.connectionState == "closed"


async def test_closing_twice_is_closing_once(pair):
    assert await close_peer(pair, 10)
    assert await close_peer(pair, 10)


async def test_a_close_that_never_returns_is_let_go(pair, monkeypatch, caplog):
    async def never(self) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(RTCRtpReceiver, "stop", never)
    assert not await close_peer(pair, 0.01)
    assert "is let go" in caplog.text


async def test_what_is_let_go_sends_nothing_again(pair, monkeypatch):
    async def never(self) -> None:
        await asyncio.Event().wait()

    for name in ("_t1", "_t2", "_t3", "_reconfig"):
        late = asyncio.get_running_loop().call_later(60, print)
        monkeypatch.setattr(pair.sctp, f"{name}_handle", late)
    monkeypatch.setattr(RTCRtpReceiver, "stop", never)
    assert not await close_peer(pair, 0.01)
    handles = [getattr(pair.sctp, f"{name}_handle") for name in ("_t1", "_t2", "_t3", "_reconfig")]
    assert handles == [None] * 4 and pair.sctp.state == "closed"


async def test_a_close_that_fails_is_told_and_leaves_no_socket(pair, monkeypatch, caplog):
    async def fail(self) -> None:
        raise RuntimeError("no way out")

    monkeypatch.setattr(RTCRtpReceiver, "stop", fail)
    assert not await close_peer(pair, 10)
    assert "no way out" in caplog.text


async def test_a_close_that_aiortc_has_begun_itself_is_let_go_too(pair, monkeypatch, caplog):
    begun = asyncio.Event()

    async def never(self) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(RTCRtpReceiver, "stop", never)
    pair._RTCPeerConnection__closeTask = asyncio.ensure_future(pair.close())
    await begun.wait()
    assert not await close_peer(pair, 0.01)


async def test_cancelling_the_close_leaves_nothing_behind(pair, monkeypatch):
    begun = asyncio.Event()

    async def never(self) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(RTCRtpReceiver, "stop", never)
    closing = asyncio.create_task(close_peer(pair, 60))
    await begun.wait()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing


async def test_a_connection_that_never_began_is_closed(loopback):
    before = others()
    pc = RTCPeerConnection(ice.configuration(()))
    pc.addTransceiver("audio")
    assert await close_peer(pc, 10)
    assert others() == before
