"""Pins the private names of aiortc's SCTP, and shows the guard on an association without a network."""

from __future__ import annotations

import asyncio
import inspect
from struct import pack

import pytest
from aiortc import rtcsctptransport
from aiortc.rtcsctptransport import DataChunk, ForwardTsnChunk, RTCSctpTransport, SackChunk
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from media.aiortc_internals.sctp import (
    FIRST_TIMEOUT,
    LEAST_TIMEOUT,
    MOST_STREAMS,
    WINDOW,
    SctpGuard,
    _parameters_end,
    _readable,
)


class FakeDtls:
    """Takes what the association sends and sends it nowhere."""

    state = "connected"
    _role = "server"

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def _send_data(self, data: bytes) -> None:
        self.sent.append(data)

    def _register_data_receiver(self, receiver: object) -> None: ...

    def _unregister_data_receiver(self, receiver: object) -> None: ...


@pytest.fixture
async def sctp() -> RTCSctpTransport:
    sctp = RTCSctpTransport(FakeDtls())
    sctp._remote_port, sctp._last_received_tsn = 5000, 99
    sctp._set_state(sctp.State.ESTABLISHED)
    return sctp


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def guard(sctp: RTCSctpTransport, told: list[str]) -> SctpGuard:
    return SctpGuard(sctp, lambda code, message: told.append(code))


def data(tsn: int, flags: int = 3, payload: bytes = b"x", stream: int = 0, seq: int = 0) -> DataChunk:
    chunk = DataChunk(flags)
    chunk.tsn, chunk.stream_id, chunk.stream_seq, chunk.protocol, chunk.user_data = tsn, stream, seq, 51, payload
    return chunk


def test_the_names_that_are_relied_on(sctp):
    for name in ("_handle_data", "_receive_chunk", "_data_channel_receive", "_data_channel_flush", "_transmit", "stop"):
        assert inspect.iscoroutinefunction(getattr(sctp, name))
    assert sctp._advertised_rwnd == 1 << 20
    assert sctp._remote_max_message_size == rtcsctptransport.REMOTE_DEFAULT_MAX_MESSAGE_SIZE == 65_536
    assert rtcsctptransport.LOCAL_MAX_MESSAGE_SIZE == 262_144
    assert list(inspect.signature(sctp._data_channel_receive).parameters) == ["stream_id", "pp_id", "data"]
    assert sctp._mark_received(100) is False
    assert sctp._last_received_tsn == 100
    empty = (sctp._inbound_streams, sctp._data_channels, sctp._data_channel_queue, sctp._outbound_queue)
    assert [len(part) for part in (*empty, sctp._sent_queue)] == [0] * 5
    stream = sctp._get_inbound_stream(0)
    assert (stream.reassembly, stream.sequence_number) == ([], 0)


async def test_released_it_is_as_it_was_and_sends_nothing_any_more(sctp, guard):
    guard.release()
    guard.release()
    assert not {"_handle_data", "_receive_chunk", "_data_channel_receive"} & set(vars(sctp))
    sctp._outbound_queue.append(data(1))
    await sctp._transmit()
    assert not sctp.transport.sent and sctp._t3_handle is None


@pytest.mark.parametrize(("said", "largest"), [(1_000, 1_000), (0, 1 << 40), (65_536, 65_536), (-5, 65_536)])
def test_what_the_peer_takes(sctp, guard, said, largest):
    sctp._remote_max_message_size = said
    assert guard.largest_message >= largest if said == 0 else guard.largest_message == largest


def test_a_parameter_without_length_is_never_read():
    def packet(kind: int, body: bytes) -> bytes:
        return b"\0" * 12 + pack("!BBH", kind, 0, 4 + len(body)) + body

    assert not _parameters_end(packet(4, b"\0\1\0\0"))
    assert not _parameters_end(packet(1, b"\0" * 16 + b"\0\1\0\0"))
    assert not _parameters_end(packet(130, b"\0\x0d\0\4" + b"\0\1\0\3"))
    assert _parameters_end(packet(4, b"\0\1\0\x08abcd"))
    assert _parameters_end(packet(0, b"\0" * 16))  # DATA has none


@given(st.binary(max_size=200))
def test_packets_of_any_bytes_are_looked_at(packet):
    _parameters_end(packet)
    _readable(packet)


@given(st.binary(min_size=12, max_size=80))
def test_an_opening_becomes_one_that_can_be_read(opening):
    read = _readable(opening)
    label, protocol = read[8:10], read[10:12]
    sizes = int.from_bytes(label, "big"), int.from_bytes(protocol, "big")
    read[12 : 12 + sizes[0]].decode()
    read[12 + sizes[0] :].decode()
    assert len(read) == 12 + sum(sizes)


@pytest.mark.parametrize("ahead", [WINDOW + 1, 1 << 30])
async def test_numbers_far_ahead_are_not_taken(sctp, guard, ahead):
    forward = ForwardTsnChunk()
    forward.cumulative_tsn = 99 + ahead
    for chunk in (data(99 + ahead), forward):
        await sctp._receive_chunk(chunk)
    assert sctp._last_received_tsn == 99
    assert not sctp._sack_misordered
    assert guard.refused == 2


@pytest.mark.parametrize(
    ("cumulative", "gaps"),
    [
        (1, []),
        (-1, [(1, 1)]),
        (-3, [(2, 1)]),
        (-3, [(1, 3)]),
        (-3, [(1, 1), (1, 1)]),
        (-3, [(0, 1)]),
        (-3, [(1, 65_535)]),
    ],
)
async def test_only_what_was_sent_can_be_acknowledged(sctp, guard, cumulative, gaps):
    sack = SackChunk()
    sack.cumulative_tsn, sack.gaps = (sctp._local_tsn + cumulative) % (1 << 32), gaps
    before = sctp._last_sacked_tsn
    await sctp._receive_chunk(sack)
    assert sctp._last_sacked_tsn == before
    assert guard.refused == 1


async def test_an_endless_message_is_cut_also_when_its_pieces_come_out_of_order(sctp, guard, told):
    size, tsn = 50_000, 100
    await sctp._receive_chunk(data(tsn, flags=2, payload=b"x" * size))
    for n in range(1, 12, 2):  # in pairs, the later first
        await sctp._receive_chunk(data(tsn + n + 1, flags=0, payload=b"x" * size))
        await sctp._receive_chunk(data(tsn + n, flags=0, payload=b"x" * size))
    assert told == ["event_too_large"]
    assert sctp._inbound_streams[0].reassembly == []
    assert sctp._advertised_rwnd == 1 << 20
    heard: list[bytes] = []
    guard._on_message = lambda stream, protocol, payload: heard.append(payload) or asyncio.sleep(0)
    await sctp._receive_chunk(data(tsn + 14, payload=b"the next one", seq=1))  # ahead of the end of the one before
    await sctp._receive_chunk(data(tsn + 13, flags=1, payload=b"x"))
    await sctp._receive_chunk(data(tsn + 15, payload=b"and another", seq=2))
    assert heard == [b"the next one", b"and another"]


async def test_streams_are_bounded(sctp, guard, told):
    for n in range(MOST_STREAMS + 10):
        await sctp._receive_chunk(data(100 + n, stream=n))
    assert len(sctp._inbound_streams) == MOST_STREAMS
    assert told == ["too_many_channels"] * 10
    assert sctp._last_received_tsn == 100 + MOST_STREAMS + 9  # what is not kept is acknowledged


async def test_flushed_waits_for_the_acknowledgement_and_not_for_ever(sctp, guard):
    assert await guard.flushed(1.0)
    await sctp._send(0, 51, b"hello")
    assert not await guard.flushed(0.01)
    waiting = asyncio.create_task(guard.flushed(30.0))
    await asyncio.sleep(0)
    sack = SackChunk()
    sack.cumulative_tsn = (sctp._local_tsn - 1) % (1 << 32)
    await sctp._receive_chunk(sack)
    assert await waiting
    await sctp._send(0, 51, b"never heard")
    await sctp.stop()
    assert await guard.flushed(30.0)


@pytest.mark.parametrize(
    "ends_with", [ConnectionError("not connected"), SSL.Error([("SSL routines", "", "shut down")])]
)
async def test_what_is_sent_again_on_a_transport_that_has_ended_is_no_error_of_the_server(sctp, guard, ends_with):
    await sctp._send(0, 51, b"hello")

    async def ended(data: bytes) -> None:
        raise ends_with

    sctp.transport._send_data = ended
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.append(context["message"]))
    sctp._t3_expired()  # starts a task that nobody waits for
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
    assert sctp._sent_queue[0]._sent_count == 2
    assert not failed
    sctp._t3_cancel()


async def test_a_lost_event_is_sent_again_soon(sctp, guard):
    assert sctp._rto == FIRST_TIMEOUT < rtcsctptransport.SCTP_RTO_INITIAL
    sctp._update_rto(0.02)
    assert sctp._rto == LEAST_TIMEOUT < rtcsctptransport.SCTP_RTO_MIN
    sctp._update_rto(0.02)
    guard.release()
    sctp._srtt = None
    sctp._update_rto(0.02)
    assert sctp._rto == rtcsctptransport.SCTP_RTO_MIN


async def test_a_far_peer_is_waited_for(sctp, guard):
    sctp._update_rto(0.3)
    assert sctp._rto == pytest.approx(0.9), "0.3 and four times 0.15"
