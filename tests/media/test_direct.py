"""Packets of a voice are handled as their datagram arrives, everything else goes aiortc's way; their time is cheap."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from types import SimpleNamespace

import aiortc.clock
import pylibsrtp
import pytest
from aioice.ice import StunProtocol
from aiortc import RTCPeerConnection
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from media.aiortc_internals import direct
from media.aiortc_internals.closing import close_peer
from media.aiortc_internals.direct import parse, take_directly
from media.aiortc_internals.receive import take_audio
from media.aiortc_internals.send import ntp_time

OPUS = RTCRtpCodecParameters("audio/opus", clockRate=48_000, channels=2, payloadType=96)
KNOWN, NEW = 7, 8


class Keys:
    """In place of an SRTP session: a datagram that ends in ``forged`` is none of the peer's."""

    def unprotect(self, data: bytes) -> bytes:
        if data.endswith(b"forged"):
            raise pylibsrtp.Error("not authentic")
        return data


class Call:
    """A receiver whose SSRC is known, and what reached it directly and by aiortc's queue."""

    def __init__(self, pc: RTCPeerConnection) -> None:
        self.receiver = pc.addTransceiver("audio").receiver
        self.receiver._RTCRtpReceiver__codecs[96] = OPUS
        self.transport = self.receiver.transport
        self.transport._rtp_router.register_receiver(self.receiver, ssrcs=[KNOWN], payload_types=[96], mid="0")
        self.connection = self.transport.transport._connection
        self.direct: list[bytes] = []
        self.error: Exception | None = None
        take_audio(self.receiver, self.take)
        self.transport._rx_srtp = Keys()

    def take(self, ssrc: int, sequence: int, timestamp: int, payload: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.direct.append(payload)

    def arrive(self, data: bytes) -> None:
        """As from the socket."""
        protocol = SimpleNamespace(receiver=self.connection, local_candidate=SimpleNamespace(component=1))
        StunProtocol.datagram_received(protocol, data, ("127.0.0.1", 9))

    def queued(self) -> list[bytes]:
        queue = self.connection._queue
        return [queue.get_nowait()[0] for _ in range(queue.qsize())]


def voice(payload: bytes, ssrc: int = KNOWN) -> bytes:
    return RtpPacket(96, 0, 1, 960, ssrc, payload).serialize()


@pytest.fixture
async def call(pc):
    return Call(pc)


async def test_what_nobody_takes_is_not_kept_without_end(call):
    dtls = b"\x16" + bytes(60)
    for _ in range(3000):
        call.arrive(dtls)
    assert len(call.queued()) == direct._MOST_WAITING


@pytest.mark.parametrize("length", [0, 2, 8])
async def test_stun_that_cannot_be_read_is_dropped(call, length):
    attribute = struct.pack("!HH", 0x0024, length) + bytes((length + 3) // 4 * 4)  # PRIORITY has four bytes
    call.arrive(struct.pack("!HHI", 0x0001, len(attribute), 0x2112A442) + bytes(12) + attribute)
    assert call.queued() == []


async def test_a_voice_is_handled_before_anything_else_runs_and_counted(call):
    call.arrive(voice(b"hello"))
    assert (call.direct, call.queued()) == ([b"hello"], [])
    assert call.transport._get_stats().popitem()[1].packetsReceived == 1
    assert call.receiver._RTCRtpReceiver__remote_streams[KNOWN].packets_received == 1


@pytest.mark.parametrize(
    "data",
    [voice(b"who", NEW), bytes([128, 200, *range(30)]), bytes([22, 254, 253, *range(30)]), b"\x80\x60"],
    ids=["a new SSRC", "RTCP", "DTLS", "too short"],
)
async def test_what_is_no_known_voice_goes_the_usual_way(call, data):
    call.arrive(data)
    assert (call.direct, call.queued()) == ([], [data])


async def test_before_the_keys_are_agreed_on_packets_wait(call):
    call.transport._rx_srtp = None
    call.arrive(voice(b"early"))
    assert (call.direct, call.queued()) == ([], [voice(b"early")])


async def test_forged_and_broken_packets_are_dropped(call):
    broken = bytes([0b10110000]) + voice(b"")[1:]  # an extension and padding that are not there
    for data in (voice(b"forged"), broken):
        call.arrive(data)
    assert (call.direct, call.queued()) == ([], [])


async def test_an_error_is_told_once_and_the_next_packet_is_handled(call, caplog):
    call.error = RuntimeError("broken sink")
    for _ in range(3):
        call.arrive(voice(b"lost"))
    call.error = None
    call.arrive(voice(b"heard"))
    assert call.direct == [b"heard"]
    assert [record.exc_info[1].args for record in caplog.records] == [("broken sink",)]


async def test_a_receiver_may_go_back_to_the_queue(call):
    take_directly(call.receiver, None)
    call.arrive(voice(b"hello"))
    assert call.queued() == [voice(b"hello")]


async def test_nothing_of_it_is_left_when_the_connection_is_closed(pc):
    call = Call(pc)
    assert "data_received" in vars(call.connection)
    await close_peer(pc)
    assert "data_received" not in vars(call.connection)
    assert not [name for name in vars(call.receiver) if name.startswith("_handle")]


@given(
    csrc=st.lists(st.integers(0, 2**32 - 1), max_size=15),
    payload=st.binary(max_size=40),
    padding=st.integers(0, 20),
    extension=st.none() | st.binary(max_size=24).filter(lambda value: len(value) % 4 == 0),
    cut=st.integers(0, 40),
    numbers=st.tuples(st.integers(0, 127), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)),
)
def test_packets_are_read_as_aiortc_reads_them(csrc, payload, padding, extension, cut, numbers):
    packet = RtpPacket(numbers[0], 1, numbers[1], numbers[2], 5, payload)
    packet.csrc, packet.padding_size = csrc, padding
    data = packet.serialize()
    if extension is not None:
        at = 12 + 4 * len(csrc)
        more = b"\x12\x34" + (len(extension) // 4).to_bytes(2, "big") + extension
        data = bytes([data[0] | 16]) + data[1:at] + more + data[at:]
    data = data[: len(data) - cut]
    try:
        expected = RtpPacket.parse(data)
    except ValueError:
        with pytest.raises(ValueError):
            parse(data)
        return
    read = parse(data)
    assert read.payload == expected.payload
    assert (read.payload_type, read.sequence_number) == (expected.payload_type, expected.sequence_number)
    assert (read.timestamp, read.ssrc) == (expected.timestamp, expected.ssrc)


async def test_the_private_names_are_there(pc):
    transport = pc.addTransceiver("audio").receiver.transport
    for name in ("_rtp_router", "_rx_srtp", "_RTCDtlsTransport__rx_bytes", "_RTCDtlsTransport__rx_packets"):
        assert name in vars(transport)
    assert callable(transport.transport._connection.data_received)
    assert {"receiver", "local_candidate", "data_received"} <= set(direct._stun_first.__code__.co_names)


def test_the_time_in_packets_is_what_aiortc_would_say(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.time_ns", lambda: 1_795_000_000_250_000_000)
    expected = aiortc.clock.datetime_to_ntp(datetime.fromtimestamp(1_795_000_000.25, UTC))
    assert aiortc.clock.current_ntp_time() == pytest.approx(expected, abs=2**12)
    assert aiortc.clock.current_ntp_time is ntp_time
