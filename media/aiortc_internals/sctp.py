"""The one file that reaches into aiortc's SCTP: what a peer may do to the transport of its data channels.

aiortc trusts the other end of an association. What breaks an assumption raises in the task that reads the peer's
packets and ends it, so that a text that is no UTF-8, a channel that is opened twice or a chunk of random bytes makes
all channels mute for the rest of the call. A parameter of length zero is read for ever, and a message that never ends
is kept whole. So chunks and messages pass through here first: what is wrong goes no further and is told, and the
association lives. The names used are private to the release line that :mod:`media.aiortc_internals.version` insists
on; a test pins them.

References: RFC 9260 (SCTP), RFC 3758 (partial reliability), RFC 8831 and RFC 8832 (data channels and their opening).
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from struct import pack, unpack_from
from typing import Any, cast

from aiortc import RTCSctpTransport
from aiortc.rtcsctptransport import (
    DATA_CHANNEL_ACK,
    DATA_CHANNEL_OPEN,
    LOCAL_MAX_MESSAGE_SIZE,
    REMOTE_DEFAULT_MAX_MESSAGE_SIZE,
    SCTP_DATA_FIRST_FRAG,
    SCTP_DATA_LAST_FRAG,
    SCTP_DATA_UNORDERED,
    WEBRTC_DCEP,
    DataChunk,
    ForwardTsnChunk,
    InboundStream,
    InitChunk,
    SackChunk,
)
from OpenSSL import SSL

import media.aiortc_internals.version  # noqa: F401 - checked before anything here is used

log = logging.getLogger(__name__)

LARGEST_MESSAGE = LOCAL_MAX_MESSAGE_SIZE
"""Bytes of a message that are kept; our session description says so, too."""
MOST_FRAGMENTS = 1024
"""Chunks of one message: 256 bytes each would make up the largest one."""
MOST_WAITING = 2048
"""Chunks kept until those before them arrive, over all streams."""
WINDOW = 4096
"""Sequence numbers ahead of the last one in order that are taken; nothing honest comes near."""
MOST_STREAMS = 64
"""Streams of a peer that are kept at a time; each channel has one."""
MOST_WARNINGS = 5
"""Tracebacks logged in one session."""
_PARAMETERS = {1: 16, 2: 16, 4: 0, 5: 0, 6: 0, 9: 0, 130: 0}
"""Chunk types with parameters (RFC 9260 §3.2.1), and where these begin in the body."""
_UNLIMITED = sys.maxsize
_HALF = 1 << 31

FIRST_TIMEOUT, LEAST_TIMEOUT = 0.5, 0.4
"""Seconds without an acknowledgement after which an event is sent again: before a round trip is known, and at least.
The RFC's 3 and 1 (9260 §16) are for long-lived streams of bytes; events are few, so a lost one has nothing behind it
that would tell. 200 ms of it are the other end's, which may hold an acknowledgement back for so long. Browsers do the
same."""

Report = Callable[[str, str], None]
"""Gets a code and a message for the peer, on the event loop."""


class SctpGuard:
    """Stands between one association and its peer from now until :meth:`release`; ``report`` is told what was wrong."""

    def __init__(self, sctp: RTCSctpTransport, report: Report) -> None:
        self.refused = 0
        """Chunks, messages and packets that went no further."""
        self._sctp = cast(Any, sctp)
        self._report = report
        self._warned = 0
        self._cut: dict[int, int] = {}
        """Streams whose message was too large → the last sequence number of it that has been thrown away."""
        self._heard = asyncio.Event()
        self._on_packet = self._sctp._handle_data
        self._on_chunk = self._sctp._receive_chunk
        self._on_message = self._sctp._data_channel_receive
        self._on_transmit = self._sctp._transmit
        self._sctp._handle_data = self._packet
        self._sctp._receive_chunk = self._chunk
        self._sctp._data_channel_receive = self._message
        self._sctp._transmit = self._transmit
        self._on_round_trip = self._sctp._update_rto
        self._sctp._update_rto = self._round_trip
        if self._sctp.is_server:  # else it opens the association, and may try that only so often
            self._sctp._rto = FIRST_TIMEOUT

    def release(self) -> None:
        """Give the transport its own methods back, which ends the circle of references. Idempotent.

        But nothing is sent any more: the connection is over, and what is sent late by a part that did not end in time
        would be sent again and again, over a transport that is gone, by tasks that nobody waits for.
        """
        for name in ("_handle_data", "_receive_chunk", "_data_channel_receive", "_update_rto"):
            with suppress(AttributeError):
                delattr(self._sctp, name)
        self._sctp._transmit = _send_nothing

    @property
    def largest_message(self) -> int:
        """Bytes of a message that the peer takes (RFC 8841 §6); nonsense counts as if it had said nothing."""
        size: int = self._sctp._remote_max_message_size
        return size if size > 0 else _UNLIMITED if size == 0 else REMOTE_DEFAULT_MAX_MESSAGE_SIZE

    async def flushed(self, timeout: float) -> bool:
        """Wait until the peer has acknowledged all that was sent; ``False`` when it has not within ``timeout`` s."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._unsent:
                    self._heard.clear()
                    await self._heard.wait()
        return not self._unsent

    @property
    def _unsent(self) -> bool:
        sctp = self._sctp
        if sctp.state == "closed":
            return False
        return bool(sctp._data_channel_queue or sctp._outbound_queue or sctp._sent_queue)

    def _round_trip(self, seconds: float) -> None:
        sctp = self._sctp
        self._on_round_trip(seconds)
        sctp._rto = min(sctp._rto, max(LEAST_TIMEOUT, sctp._srtt + 4 * sctp._rttvar))

    async def _transmit(self) -> None:
        """Send what waits. aiortc starts this as a task that nobody waits for: a transport that ends meanwhile, whose
        end is told elsewhere, would be logged as an error of the server's, with the whole connection tied to it."""
        with suppress(ConnectionError, SSL.Error):
            await self._on_transmit()

    # ------------------------------------------------------------------------------------------------ packets

    async def _packet(self, data: bytes) -> None:
        if not _parameters_end(data):
            self.refused += 1
            return
        try:
            await self._on_packet(data)
        except ConnectionError:  # of the transport below, which knows what that means
            raise
        except Exception:
            if self._may_warn():
                log.warning("SCTP: a packet could not be handled", exc_info=True)

    async def _chunk(self, chunk: Any) -> None:
        try:
            if not self._is_sound(chunk):
                self.refused += 1
            elif isinstance(chunk, DataChunk):
                await self._data(chunk)
            else:
                await self._on_chunk(chunk)
        except ConnectionError:
            raise
        except Exception:
            if self._may_warn():
                log.warning("SCTP: a chunk could not be handled", exc_info=True)
        self._heard.set()

    def _may_warn(self) -> bool:
        self.refused += 1
        self._warned += 1
        return self._warned <= MOST_WARNINGS

    def _is_sound(self, chunk: Any) -> bool:
        """Whether the chunk can be meant: numbers out of bounds would make the association mute, or the loop slow."""
        sctp = self._sctp
        if isinstance(chunk, SackChunk):
            return self._is_sound_sack(chunk)
        if isinstance(chunk, DataChunk):
            return sctp._last_received_tsn is not None and not WINDOW < self._ahead(chunk.tsn) < _HALF
        if isinstance(chunk, ForwardTsnChunk):
            if sctp._last_received_tsn is None or WINDOW < self._ahead(chunk.cumulative_tsn) < _HALF:
                return False
            return len(sctp._inbound_streams.keys() | {stream for stream, _ in chunk.streams}) <= MOST_STREAMS
        if isinstance(chunk, InitChunk):  # a restart, which is not for data channels; a late duplicate needs no answer
            return sctp._association_state is not sctp.State.ESTABLISHED
        return True

    def _ahead(self, tsn: int) -> int:
        """How far ``tsn`` is ahead of the last one received in order; those behind it are more than ``_HALF``."""
        last: int = self._sctp._last_received_tsn
        return (tsn - last) % (1 << 32)

    def _is_sound_sack(self, chunk: SackChunk) -> bool:
        """Only what was sent can be acknowledged, in gaps that follow each other (RFC 9260 §3.3.4)."""
        outstanding: int = (self._sctp._local_tsn - 1 - chunk.cumulative_tsn) % (1 << 32)
        if outstanding >= _HALF:
            return False
        end = 0
        for first, last in chunk.gaps:
            if not end < first <= last:
                return False
            end = last
        return end <= outstanding

    # ------------------------------------------------------------------------------------------------ fragments

    async def _data(self, chunk: DataChunk) -> None:
        sctp = self._sctp
        stream = sctp._inbound_streams.get(chunk.stream_id)
        if stream is None and len(sctp._inbound_streams) >= MOST_STREAMS:
            self._drop(chunk)
            self._report("too_many_channels", f"a peer may use {MOST_STREAMS} streams: this one is not listened to")
            return
        if self._continues_cut(chunk):
            self._drop(chunk)
        else:
            await self._on_chunk(chunk)
        stream = sctp._inbound_streams.get(chunk.stream_id)
        if stream is None or not stream.reassembly:
            return
        if chunk.stream_id in self._cut:
            self._absorb(chunk.stream_id, stream)
        elif not (chunk.flags & SCTP_DATA_FIRST_FRAG and chunk.flags & SCTP_DATA_LAST_FRAG):
            self._cut_too_large(chunk.stream_id, stream)
        await self._bound()

    def _drop(self, chunk: DataChunk) -> None:
        """Acknowledge a chunk without keeping it."""
        self.refused += 1
        self._sctp._sack_needed = True
        self._sctp._mark_received(chunk.tsn)

    def _continues_cut(self, chunk: DataChunk) -> bool:
        """Whether the chunk belongs to a message that is being thrown away; that ends with its last fragment."""
        cut = self._cut.get(chunk.stream_id)
        if cut is None or chunk.tsn != (cut + 1) % (1 << 32):
            return False
        if chunk.flags & SCTP_DATA_FIRST_FRAG:  # the old message was never ended: this is another one
            del self._cut[chunk.stream_id]
            return False
        if chunk.flags & SCTP_DATA_LAST_FRAG:
            del self._cut[chunk.stream_id]
        else:
            self._cut[chunk.stream_id] = chunk.tsn
        return True

    def _absorb(self, stream_id: int, stream: InboundStream) -> None:
        """Throw away what had come too early and turns out to continue a message that is being thrown away."""
        kept = []
        for chunk in stream.reassembly:
            if self._continues_cut(chunk):
                self._sctp._advertised_rwnd += len(chunk.user_data)
            else:
                kept.append(chunk)
        stream.reassembly = kept

    def _cut_too_large(self, stream_id: int, stream: InboundStream) -> None:
        """Throw away a message in the making that has become too large, and remember to do so with the rest of it."""
        run: list[DataChunk] = []
        size = 0
        for chunk in stream.reassembly:
            if chunk.flags & SCTP_DATA_FIRST_FRAG or not run or chunk.tsn != (run[-1].tsn + 1) % (1 << 32):
                run, size = ([chunk], len(chunk.user_data)) if chunk.flags & SCTP_DATA_FIRST_FRAG else ([], 0)
            else:
                run.append(chunk)
                size += len(chunk.user_data)
            if size > LARGEST_MESSAGE or len(run) > MOST_FRAGMENTS:
                break
        else:
            return
        gone = {chunk.tsn for chunk in run}
        stream.reassembly = [chunk for chunk in stream.reassembly if chunk.tsn not in gone]
        self._sctp._advertised_rwnd += size
        if not run[0].flags & SCTP_DATA_UNORDERED:
            stream.sequence_number = (run[0].stream_seq + 1) % (1 << 16)
        self._cut[stream_id] = run[-1].tsn
        self.refused += 1
        self._report("event_too_large", f"a message may have {LARGEST_MESSAGE} bytes: this one was thrown away")

    async def _bound(self) -> None:
        """Give the association up when more waits for its beginning than any window of ours has ever allowed."""
        sctp = self._sctp
        waiting = sum(len(stream.reassembly) for stream in sctp._inbound_streams.values())
        if waiting > MOST_WAITING or sctp._advertised_rwnd < -LARGEST_MESSAGE:
            log.warning("SCTP: %d chunks wait for those before them: the data channels are closed", waiting)
            self._report("data_channel_flooded", "too much was sent out of order: the data channels are closed")
            await sctp._data_channel_flush()
            await sctp.stop()

    # ------------------------------------------------------------------------------------------------ messages

    async def _message(self, stream_id: int, protocol: int, data: bytes) -> None:
        channels = self._sctp._data_channels
        if protocol == WEBRTC_DCEP and data:
            if data[0] == DATA_CHANNEL_ACK and stream_id not in channels:
                self.refused += 1
                return
            if data[0] == DATA_CHANNEL_OPEN:
                if not self._may_open(stream_id):
                    return
                data = _readable(data)
        try:
            await self._on_message(stream_id, protocol, data)
        except UnicodeDecodeError:  # of a text: whoever listens is given its bytes, and answers
            self.refused += 1
            channels[stream_id].emit("message", data)

    def _may_open(self, stream_id: int) -> bool:
        channels = self._sctp._data_channels
        if stream_id in channels:
            self._report("invalid_channel_open", f"the data channel {stream_id} is open already: it stays as it is")
        elif len(channels) >= MOST_STREAMS:
            self._report("too_many_channels", f"{MOST_STREAMS} data channels are open: no other one is answered")
        else:
            return True
        self.refused += 1
        return False


async def _send_nothing() -> None:
    """Of an association that is over."""


def _parameters_end(packet: bytes) -> bool:
    """Whether all parameters in an SCTP packet have a length: one of zero would be read for ever."""
    place = 12
    while place + 4 <= len(packet):
        kind, _, length = unpack_from("!BBH", packet, place)
        if length < 4:
            return True  # no chunk at all: aiortc refuses the packet
        if kind in _PARAMETERS:
            inner, end = place + 4 + _PARAMETERS[kind], min(place + length, len(packet))
            while inner + 4 <= end:
                size = unpack_from("!H", packet, inner + 2)[0]
                if size < 4:
                    return False
                inner += size + -size % 4
        place += length + -length % 4
    return True


def _readable(opening: bytes) -> bytes:
    """A DATA_CHANNEL_OPEN (RFC 8832 §5.1) whose label and protocol are UTF-8; what is none is replaced."""
    if len(opening) < 12:
        return opening
    label_size, protocol_size = unpack_from("!HH", opening, 8)
    label, protocol = opening[12 : 12 + label_size], opening[12 + label_size : 12 + label_size + protocol_size]
    texts = [part.decode("utf-8", "replace")[:256].encode() for part in (label, protocol)]
    return opening[:8] + pack("!HH", *map(len, texts)) + b"".join(texts)
