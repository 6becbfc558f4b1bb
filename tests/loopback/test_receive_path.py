"""Real aiortc → our receive path, over a network that drops packets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import is_rtcp

from media.aiortc_internals.receive import receiver_of
from media.audio_in import AudioIn
from media.audio_out import AudioOut
from media.clock import MonotonicClock
from media.opus import FRAME, RATE
from server.transports.webrtc import ice
from tests.fakes.peer import loud
from tests.patience import PATIENCE

PACKETS = 100
LOSS = 0.05


class WatchedAudioIn(AudioIn):
    """Notes which packets arrived, and how many of them were played before :meth:`packet` returned."""

    def __init__(self, receiver) -> None:
        self.timestamps: list[int] = []
        self.at_once = 0
        self.enough = asyncio.Event()
        self.samples = 0
        super().__init__(receiver, RATE, MonotonicClock())

    def packet(self, ssrc: int, sequence: int, timestamp: int, payload: bytes) -> None:
        super().packet(ssrc, sequence, timestamp, payload)
        self.timestamps.append(timestamp)
        self.at_once += self.order.deadline is None
        if len(self.timestamps) == PACKETS:
            self.enough.set()

    async def listen(self) -> None:
        async for chunk in self.chunks:
            self.samples += len(chunk.samples)


class Uplink:
    """A speaking peer whose RTP is dropped at random on its way; its RTCP is not."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection(ice.configuration(()))
        self.voice = AudioOut(MonotonicClock())
        self.sender = self.pc.addTrack(self.voice)
        self.dropped = 0
        self.reported = asyncio.Event()
        self._chance = random.Random(3)
        self._handle_rtcp = self.sender._handle_rtcp_packet
        self.sender._handle_rtcp_packet = self._report

    def become_lossy(self) -> None:
        send = self.sender.transport._send_rtp

        async def lossy(data: bytes) -> None:
            if not is_rtcp(data) and self._chance.random() < LOSS:
                self.dropped += 1
            else:
                await send(data)

        self.sender.transport._send_rtp = lossy

    async def lost_as_reported(self) -> int:
        """What the receiver's reports (RFC 3550 §6.4.2) say is lost."""
        stats = (await self.sender.getStats()).values()
        return sum(report.packetsLost for report in stats if report.type == "remote-inbound-rtp")

    async def _report(self, packet) -> None:
        await self._handle_rtcp(packet)
        if await self.lost_as_reported():
            self.reported.set()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Uplink, WatchedAudioIn]]:
    uplink, downlink = Uplink(), RTCPeerConnection(ice.configuration(()))
    readers: list[WatchedAudioIn] = []
    downlink.on("track", lambda track: readers.append(WatchedAudioIn(receiver_of(downlink, track))))
    await uplink.pc.setLocalDescription(await uplink.pc.createOffer())
    await downlink.setRemoteDescription(RTCSessionDescription(uplink.pc.localDescription.sdp, "offer"))
    await downlink.setLocalDescription(await downlink.createAnswer())
    uplink.become_lossy()
    await uplink.pc.setRemoteDescription(RTCSessionDescription(downlink.localDescription.sdp, "answer"))
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(readers[0].run())
            tasks.create_task(readers[0].listen())
            yield uplink, readers[0]
            await asyncio.gather(uplink.pc.close(), downlink.close())
    finally:
        await asyncio.gather(uplink.pc.close(), downlink.close())


@pytest.mark.usefixtures("loopback")
async def test_a_lossy_uplink_keeps_its_timeline_waits_for_nothing_and_is_reported():
    async with connected() as (uplink, audio):
        playout = uplink.voice.mixer.open()
        await playout.write(loud(10), RATE)
        async with asyncio.timeout(PATIENCE):
            await audio.enough.wait()
            await uplink.reported.wait()
        reported, dropped = await uplink.lost_as_reported(), uplink.dropped
    span = (max(audio.timestamps) - min(audio.timestamps)) + FRAME
    assert uplink.dropped > 0
    stalled = audio.made_up_samples - audio.concealed_samples
    assert audio.samples / RATE == pytest.approx((span + stalled) / RATE, abs=0.02)
    assert audio.order.lost == (span // FRAME) - len(audio.timestamps)
    assert audio.at_once >= len(audio.timestamps) * (1 - 4 * LOSS)  # only what is behind a loss waits
    assert 0 < reported <= dropped
