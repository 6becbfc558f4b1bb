"""What a peer sends costs little and ends nothing."""

from __future__ import annotations

import asyncio
import inspect
import random
import struct

import pytest
from aiortc import RTCRtpReceiver, RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters, RTCRtpReceiveParameters
from aiortc.rtp import HeaderExtensions, RtcpByePacket, RtpPacket

from media.aiortc_internals.guard import MOST_REPORTERS, MOST_RESENT, MOST_SOURCES, guard_peer, guard_receiver
from media.aiortc_internals.receive import take_audio

OPUS = RTCRtpCodecParameters("audio/opus", clockRate=48_000, channels=2, payloadType=96)
LEVEL = RTCRtpHeaderExtensionParameters(id=1, uri="urn:ietf:params:rtp-hdrext:ssrc-audio-level")
MID = RTCRtpHeaderExtensionParameters(id=2, uri="urn:ietf:params:rtp-hdrext:sdes:mid")


class Keys:
    """In place of an SRTP session: the SSRCs it has keys for."""

    def __init__(self) -> None:
        self.held: set[int] = set()

    def remove_stream(self, ssrc: int) -> None:
        self.held.discard(ssrc)


@pytest.fixture
async def audio(pc):
    """A guarded receiver, and what reached it."""
    receiver = pc.addTransceiver("audio").receiver
    register(receiver)
    receiver.got = []
    take_audio(receiver, lambda *packet: receiver.got.append(packet))
    receiver.transport._rx_srtp = Keys()
    return receiver


def register(receiver: RTCRtpReceiver, ssrcs: tuple[int, ...] = (), mid: str = "0") -> None:
    receiver._RTCRtpReceiver__codecs[96] = OPUS
    transport = receiver.transport
    transport._rtp_header_extensions_map.configure(RTCRtpReceiveParameters(headerExtensions=[LEVEL, MID]))
    transport._rtp_router.register_receiver(receiver, ssrcs=list(ssrcs), payload_types=[96], mid=mid)


async def arrive(receiver: RTCRtpReceiver, ssrc: int, sequence: int = 0, mid: str | None = None) -> None:
    """As from the network, decrypted."""
    packet = RtpPacket(96, 0, sequence, sequence * 960, ssrc, b"sound")
    transport = receiver.transport
    if transport._rx_srtp is not None:
        transport._rx_srtp.held.add(ssrc)
    packet.extensions = HeaderExtensions(mid=mid)
    await transport._handle_rtp_data(packet.serialize(transport._rtp_header_extensions_map), arrival_time_ms=0)


async def test_thousands_of_ssrcs_leave_little_behind(audio):
    for ssrc in range(4000):
        await arrive(audio, ssrc, ssrc % 2**16)
    assert len(audio.got) == 4000
    assert len(audio._RTCRtpReceiver__remote_streams) == MOST_SOURCES
    assert len(audio.transport._rtp_router.ssrc_table) == MOST_SOURCES
    assert audio.transport._rx_srtp.held == set(range(4000 - MOST_SOURCES, 4000))


async def test_the_ssrcs_of_the_description_are_not_forgotten_and_forgotten_ones_may_come_back(audio):
    register(audio, ssrcs=(7,))
    for ssrc in range(100, 200):
        await arrive(audio, ssrc)
    before = len(audio.got)
    await arrive(audio, 7, 1)
    await arrive(audio, 100, 2)
    assert [packet[0] for packet in audio.got[before:]] == [7, 100]


async def test_ssrcs_of_no_payload_type_of_ours_leave_nothing(audio):
    for ssrc in range(100):
        packet = RtpPacket(55, 0, 1, 960, ssrc, b"what")
        audio.transport._rx_srtp.held.add(ssrc)
        await audio.transport._handle_rtp_data(packet.serialize(), arrival_time_ms=0)
    assert not audio.got
    assert not audio.transport._rx_srtp.held


async def test_a_receiver_is_found_by_its_section_when_two_share_a_payload_type(pc, audio):
    """Browsers give the camera and the screen the same payload types."""
    other = pc.addTransceiver("audio").receiver
    other.setTransport(audio.transport)
    register(other, mid="1")
    other_got = []
    take_audio(other, lambda *packet: other_got.append(packet))
    await arrive(audio, 1)
    assert not audio.got and not other_got  # nobody can say whose it is
    await arrive(audio, 1, 2, mid="1")
    await arrive(audio, 1, 3)
    assert [packet[1] for packet in other_got] == [2, 3]
    assert not audio.got


async def test_reporters_leave_little_behind(audio):
    for ssrc in range(1000):
        audio.transport._rx_srtp.held.add(ssrc)
        await audio.transport._handle_rtcp_data(struct.pack("!BBHL", 0x80, 201, 1, ssrc))
    assert len(audio.transport._rx_srtp.held) == MOST_REPORTERS


async def test_a_goodbye_is_not_the_end_of_the_track(audio):
    await arrive(audio, 1, 1)
    await audio.transport._handle_rtcp_data(bytes(RtcpByePacket(sources=[1])))
    await arrive(audio, 1, 2)
    assert [packet[1] for packet in audio.got] == [1, 2]


async def test_the_end_of_the_transport_is_the_end_of_the_track(pc):
    receiver = pc.addTransceiver("audio").receiver
    ended = guard_receiver(receiver)
    assert not ended.is_set()
    receiver._handle_disconnect()
    assert ended.is_set()


@pytest.mark.parametrize("seed", range(20))
async def test_no_packet_is_an_exception_to_the_transport(audio, seed, caplog):
    chance = random.Random(seed)
    transport = audio.transport
    for _ in range(500):
        first = chance.choice([0x80, 0x90, 0xB0, 0x81, chance.randrange(256)])
        kind = chance.choice([96, 200, 201, 202, 203, 205, 206, chance.randrange(256)])
        body = chance.choice([b"", b"\xbe\xde\x00\x01\x13\x00\x00\x00", chance.randbytes(chance.randrange(40))])
        data = bytes([first, kind]) + chance.randbytes(10) + body
        data = data[: chance.choice([len(data), chance.randrange(len(data))])]
        await transport._handle_rtp_data(data, arrival_time_ms=0)
        await transport._handle_rtcp_data(data)
    await arrive(audio, 1, 5)
    assert audio.got[-1][1] == 5
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) <= 1


async def test_a_header_extension_of_the_wrong_length_is_survived(audio, caplog):
    """aiortc unpacks it with an error that it does not expect."""
    packet = RtpPacket(96, 0, 1, 960, 1, b"sound").serialize()
    header = bytes([packet[0] | 0x10]) + packet[1:12]
    broken = header + b"\xbe\xde\x00\x01" + bytes([0x12, 0, 0, 0]) + packet[12:]
    for _ in range(3):
        await audio.transport._handle_rtp_data(broken, arrival_time_ms=0)
    assert not audio.got
    assert len(caplog.records) == 1


async def test_a_request_to_send_again_is_bounded(pc):
    sender = pc.addTransceiver("audio").sender
    guard_peer(pc)
    asked = []

    async def note(packet) -> None:
        asked.extend(packet.lost)

    sender._handle_rtcp_packet = note
    sender.transport._rtp_router.register_sender(sender, ssrc=9)
    numbers = b"".join(struct.pack("!HH", n % 500, 0xFFFF) for n in range(0, 6000, 17))
    data = struct.pack("!BBHLL", 0x81, 205, 2 + len(numbers) // 4, 1, 9) + numbers
    await sender.transport._handle_rtcp_data(data)
    assert len(asked) == len(set(asked)) == MOST_RESENT


# ------------------------------------------------------------------------------------------------ reports


@pytest.mark.parametrize("kind", [RTCRtpReceiver, RTCRtpSender])
async def test_reports_that_fail_go_on_and_their_end_is_known(pc, kind, monkeypatch, caplog):
    rounds, enough = [], asyncio.Event()

    async def fail(self) -> None:
        getattr(self, f"_{kind.__name__}__rtcp_started").set()
        rounds.append(1)
        if len(rounds) == 5:
            enough.set()
        await asyncio.sleep(0)
        raise struct.error("too many reports")

    monkeypatch.setattr(kind, "_run_rtcp", fail)
    transceiver = pc.addTransceiver("audio")
    guard_receiver(transceiver.receiver)
    guard_peer(pc)
    guarded = transceiver.receiver if kind is RTCRtpReceiver else transceiver.sender
    task = asyncio.create_task(guarded._run_rtcp())
    await enough.wait()
    task.cancel()
    await asyncio.wait([task])
    assert getattr(guarded, f"_{kind.__name__}__rtcp_exited").is_set()
    assert len(caplog.records) == 1


async def test_the_private_names_are_there(pc):
    transceiver = pc.addTransceiver("video")
    receiver, sender, transport = transceiver.receiver, transceiver.sender, transceiver.receiver.transport
    for name in ("active_ssrc", "decoder_queue", "kind", "lsr", "lsr_time", "remote_bitrate_estimator"):
        assert f"_RTCRtpReceiver__{name}" in vars(receiver)
    assert vars(receiver)["_RTCRtpReceiver__remote_bitrate_estimator"].ssrcs == {}
    assert not vars(sender)["_RTCRtpSender__rtcp_exited"].is_set()
    assert not vars(receiver)["_RTCRtpReceiver__rtcp_exited"].is_set()
    for name in ("_rtp_router", "_rtp_header_extensions_map", "_rx_srtp"):
        assert name in vars(transport)
    for name in ("mid_table", "payload_type_table", "ssrc_table"):
        assert name in vars(transport._rtp_router)
    for owner, name in [
        (transport, "_handle_rtp_data"),
        (transport, "_handle_rtcp_data"),
        (receiver, "_handle_rtcp_packet"),
        (receiver, "_run_rtcp"),
        (sender, "_run_rtcp"),
        (sender, "_next_encoded_frame"),
    ]:
        assert inspect.iscoroutinefunction(getattr(owner, name))
