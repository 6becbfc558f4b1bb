"""The places where we hold on to aiortc's receivers."""

from __future__ import annotations

import asyncio
import inspect
import random

import aiortc.codecs.vpx
import av
import pytest
from aiortc import RTCPeerConnection, RTCRtpReceiver
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpreceiver import decoder_worker
from aiortc.rtp import RtpPacket

from media.aiortc_internals.receive import VideoIntake, receiver_of, take_audio
from media.aiortc_internals.version import SUPPORTED, check_version
from tests.fakes.clock import FakeClock
from tests.fakes.peer import picture_frame


def receiver(pc: RTCPeerConnection, kind: str, codec: str, rate: int):
    found = pc.addTransceiver(kind).receiver
    found._RTCRtpReceiver__codecs[96] = RTCRtpCodecParameters(f"{kind}/{codec}", clockRate=rate, payloadType=96)
    found.transport._rtp_router.register_receiver(found, ssrcs=[1], payload_types=[96, 97])
    return found


async def arrive(receiver, packet: RtpPacket) -> None:
    """As from the network, through aiortc's own parser and router."""
    await receiver.transport._handle_rtp_data(packet.serialize(), arrival_time_ms=0)


async def test_the_private_names_are_there(pc):
    for kind in ("audio", "video"):
        internals = vars(pc.addTransceiver(kind).receiver)
        names = "codecs decoder_queue jitter_buffer kind nack_generator remote_streams timestamp_mapper".split()
        assert {f"_RTCRtpReceiver__{name}" for name in names} <= set(internals)
        assert internals["_enabled"] is True
    assert hasattr(RTCRtpReceiver, "_RTCRtpReceiver__stop_decoder")
    assert list(inspect.signature(decoder_worker).parameters)[1] == "input_q"


def test_another_aiortc_is_refused_with_advice():
    check_version(f"{SUPPORTED}3")
    for installed in ("1.15.0", "1.17.0", "2.0"):
        with pytest.raises(ImportError, match=rf"aiortc {installed} is installed.*pip install 'aiortc>=1.16,<1.17'"):
            check_version(installed)


async def test_a_receiver_is_found_by_its_track(pc):
    receivers = [pc.addTransceiver(kind).receiver for kind in ("audio", "video")]
    for found in receivers:
        found._track = object()
    assert [receiver_of(pc, found.track) for found in receivers] == receivers


async def test_audio_packets_reach_the_sink_as_they_arrive_and_are_counted(pc):
    audio, got = receiver(pc, "audio", "opus", 48_000), []
    take_audio(audio, lambda *packet: got.append(packet))
    await arrive(audio, RtpPacket(96, 0, 7, 960, 1, b"seven"))
    await arrive(audio, RtpPacket(96, 0, 9, 2880, 1, b"nine"))
    await arrive(audio, RtpPacket(96, 0, 10, 2880, 1, b""))
    assert got == [(1, 7, 960, b"seven"), (1, 9, 2880, b"nine"), (1, 10, 2880, b"")]
    stats = audio._RTCRtpReceiver__remote_streams[1]
    assert (stats.packets_received, stats.packets_lost) == (3, 1)


async def test_other_codecs_take_their_place_in_the_order_but_are_not_decoded(pc):
    audio, got = receiver(pc, "audio", "PCMU", 8000), []
    take_audio(audio, lambda *packet: got.append(packet))
    await arrive(audio, RtpPacket(96, 0, 7, 960, 1, b"sound"))
    await audio._handle_rtp_packet(RtpPacket(97, 0, 8, 960, 1, b"unknown"), 0)
    assert got == [(1, 7, 960, b"")]


async def test_a_disabled_receiver_takes_nothing(pc):
    audio, got = receiver(pc, "audio", "opus", 48_000), []
    take_audio(audio, lambda *packet: got.append(packet))
    audio._enabled = False  # the transceiver's direction was changed
    await arrive(audio, RtpPacket(96, 0, 7, 960, 1, b"seven"))
    assert got == []


class Camera:
    """Grey VP8 pictures on their way to a receiver, and what comes out at the other end of it."""

    def __init__(self, receiver, clock) -> None:
        self.receiver = receiver
        self.seen: list[int] = []
        """The grey of each picture that came out."""
        self.sent: list[str] = []
        """Names of the RTCP packets that went back to the sender."""
        self.intake = VideoIntake(receiver, self._see, clock)
        self._changed = asyncio.Event()
        self._encoder = aiortc.codecs.vpx.Vp8Encoder()
        self._sequence = 0
        receiver._RTCRtpReceiver__decoder_thread = object()  # as if it ran: aiortc decodes for nobody else
        receiver._set_rtcp_ssrc(5)
        receiver._send_rtcp = self._send

    async def show(self, n: int, *, key: bool = False, lost: tuple[int, ...] = (), marker: bool = True) -> int:
        """Picture ``n``, without the packets that are ``lost``; returns how many there were."""
        frame = picture_frame(160, 120, level=20 + n % 200, pts=n * 3000, noise=True)
        payloads, timestamp = self._encoder.encode(frame, key)
        for part, payload in enumerate(payloads):
            self._sequence += 1
            if part not in lost:
                last = marker and part == len(payloads) - 1
                await arrive(self.receiver, RtpPacket(96, int(last), self._sequence, timestamp, 1, payload))
        return len(payloads)

    async def until(self, condition) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _see(self, frame: av.VideoFrame) -> None:
        self.seen.append(round(float(frame.to_ndarray(format="gray").mean())))
        self._changed.set()

    async def _send(self, packet) -> None:
        self.sent.append(type(packet).__name__)
        self._changed.set()

    @property
    def asked(self) -> int:
        """Key frames asked for."""
        return self.sent.count("RtcpPsfbPacket")


@pytest.fixture
async def camera(pc, monkeypatch):
    monkeypatch.setattr(aiortc.codecs.vpx, "PACKET_MAX", 100)  # small pictures of many packets
    clock = FakeClock()
    camera = Camera(receiver(pc, "video", "VP8", 90_000), clock)
    camera.clock = clock
    running = asyncio.create_task(camera.intake.run())
    yield camera
    camera.receiver._handle_disconnect()
    await running
    camera.receiver._RTCRtpReceiver__decoder_thread = None


@pytest.mark.parametrize("marker", [True, False], ids=["marker", "no marker"])
async def test_pictures_come_out_as_soon_as_they_are_whole(camera, marker):
    for n in range(10):
        await camera.show(n, marker=marker)
        shown = n + 1 if marker else n  # without one, a frame ends where the next begins
        await camera.until(lambda shown=shown: len(camera.seen) == shown)
    assert camera.seen == [pytest.approx(20 + n, abs=3) for n in range(len(camera.seen))]
    assert camera.asked == 0


async def test_a_lost_packet_is_asked_for_and_a_picture_given_up_brings_a_key_frame(camera):
    await camera.show(0)
    await camera.until(lambda: camera.seen)
    assert await camera.show(1, key=True, lost=(1,)) > 2
    assert camera.sent == ["RtcpRtpfbPacket"]  # NACK
    for n in range(2, 20):
        await camera.show(n)
        assert not camera.asked
        camera.clock.advance(1 / 30)
    await camera.until(lambda: camera.asked)  # half a second is enough to send the packet again


async def test_key_frames_are_asked_for_until_one_is_whole(camera):
    """At 10 % of loss most key frames are torn, and so may be the requests."""
    times = []
    for n in range(5):
        await camera.show(40 * n, key=True, lost=(1,))
        delay = await camera.clock.sleeper()
        times.append(delay)
        camera.clock.advance(delay)
        await camera.until(lambda n=n: camera.asked > n)
    assert times[0] == pytest.approx(0.3)
    assert times == sorted(times) and times[-1] < 1.0
    assert not camera.seen
    await camera.show(300, key=True)
    await camera.until(lambda: camera.seen)
    asked = camera.asked
    for n in range(301, 330):
        camera.clock.advance(1.0)
        await camera.show(n)
        await camera.until(lambda n=n: len(camera.seen) == n - 299)
    assert camera.asked == asked


async def test_probes_before_the_first_picture_are_no_picture(camera):
    """A browser that feels for bandwidth sends padding on the SSRC of its retransmissions first (RFC 4588)."""
    rtx = RTCRtpCodecParameters(mimeType="video/rtx", clockRate=90_000, payloadType=97, parameters={"apt": 96})
    camera.receiver._RTCRtpReceiver__codecs[97] = rtx
    camera.receiver._RTCRtpReceiver__rtx_ssrc[2] = 1
    for n in range(3):
        await arrive(camera.receiver, RtpPacket(97, 0, n, 0, 2, b""))
        await asyncio.sleep(0)
        camera.clock.advance(1.0)
        await asyncio.sleep(0)
    await camera.show(0, lost=(1,))
    camera.clock.advance(await camera.clock.sleeper())
    await camera.until(lambda: camera.asked)
    await camera.show(40, key=True)
    await camera.until(lambda: camera.seen)


async def test_a_sender_that_starts_anew_all_the_time_is_not_asked_all_the_time(camera):
    await camera.show(0)
    await camera.until(lambda: camera.seen)
    camera.clock.advance(1.0)
    for n in range(300):
        packet = RtpPacket(96, 1, n, n * 3000, 1000 + n, b"\x10\x01rest")
        await arrive(camera.receiver, packet)
    while not camera.asked:  # not before the decoder has caught up
        camera.clock.advance(0.05)
        await asyncio.sleep(0)
    assert camera.asked == 1


async def test_other_payloads_than_pictures_are_survived(camera):
    chance = random.Random(1)
    for n in range(300):
        payload = chance.randbytes(chance.randrange(40))
        await arrive(camera.receiver, RtpPacket(96, 1, n, n * 3000, 1, payload))
    camera._sequence = 299
    for n in range(300, 320):  # what could not be read is missing, and waited for
        await camera.show(n, key=True)
    await camera.until(lambda: camera.seen and camera.seen[-1] == pytest.approx(20 + 319 % 200, abs=3))
