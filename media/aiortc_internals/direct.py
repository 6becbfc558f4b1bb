"""Packets of a voice are handled where their datagram arrives, fifty times a second for each session.

aiortc tries first whether a datagram is STUN, puts it into a queue, wakes a task that decrypts it, and goes through
four coroutines, its clock of dates, and header extensions that nobody reads. For a camera that is little beside the
decoding; for a voice it is more than the decoding. What is not a voice's goes aiortc's way. The names used are private
to the release line that :mod:`media.aiortc_internals.version` insists on; a test pins them.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import pylibsrtp
from aioice.ice import StunProtocol
from aiortc import RTCDtlsTransport, RTCRtpReceiver

import media.aiortc_internals.version  # noqa: F401 - checked before anything here is used

log = logging.getLogger(__name__)

_HEADER = struct.Struct("!BBHLL")
_ARRIVES = "data_received"
"""Of the ICE connection, which its sockets call."""
_MOST_WAITING = 1024
"""Datagrams that aiortc has not taken yet; while ICE has agreed on nothing, nobody takes any, and anybody may send."""
_TAKE = "_handle_voice"
"""Of a receiver: a :data:`Take`. With the handlers that are replaced it is taken away when the connection ends."""


class VoicePacket(NamedTuple):
    """What is needed of an RTP packet."""

    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes


Take = Callable[[VoicePacket], None]


def parse(data: bytes) -> VoicePacket:
    """An RTP packet (RFC 3550 §5.1) without its header extensions. Raises ``ValueError`` for what is none."""
    if len(data) < _HEADER.size:
        raise ValueError("an RTP packet has at least 12 bytes")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    start, end = _HEADER.size + 4 * (first & 15), len(data)
    if first & 16:
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if first & 32:
        end -= data[-1] or end  # no padding is shorter than the byte that tells its length
    if first >> 6 != 2 or start > end:
        raise ValueError("not an RTP packet")
    return VoicePacket(second & 127, sequence, timestamp, ssrc, data[start:end])


def take_directly(receiver: RTCRtpReceiver, take: Take | None) -> None:
    """From now on packets of this receiver, once its SSRC is known, go to ``take`` and past aiortc's queue.

    ``None``: they go through aiortc's again.
    """
    setattr(receiver, _TAKE, take)


def arrive_directly(transport: RTCDtlsTransport, failed: Callable[[str], object]) -> None:
    """From now on voices are looked for among what arrives at this transport. Idempotent.

    ``failed`` is told of an error in handling one, while it is handled.
    """
    internals: Any = transport
    connection = internals.transport._connection
    if _ARRIVES not in vars(connection):
        setattr(connection, _ARRIVES, _Arrivals(internals, connection.data_received, failed).datagram)


def release_directly(transport: RTCDtlsTransport) -> None:
    """Give the connection its own method back, which ends the circle of references. Idempotent."""
    internals: Any = transport
    vars(internals.transport._connection).pop(_ARRIVES, None)


class _Arrivals:
    """What arrives at one transport."""

    def __init__(self, internals: Any, queue: Callable[[bytes, int], None], failed: Callable[[str], object]) -> None:
        self._internals = internals
        self._receivers: dict[int, Any] = internals._rtp_router.ssrc_table
        self._queue = queue
        self._failed = failed

    def datagram(self, data: bytes, component: int) -> None:
        """As the connection's: whatever is not STUN."""
        take = self._whose(data)
        if take is None:
            self._queue(data, component)
            return
        self._internals._RTCDtlsTransport__rx_bytes += len(data)
        self._internals._RTCDtlsTransport__rx_packets += 1
        try:
            take(parse(self._internals._rx_srtp.unprotect(data)))
        except (pylibsrtp.Error, ValueError):  # forged, repeated, or not RTP
            return
        except Exception:  # noqa: BLE001 - told; nothing above would outlive it
            self._failed("RTP")

    def _whose(self, data: bytes) -> Take | None:
        """Who takes this datagram directly; an SSRC that is new makes itself known on aiortc's way."""
        if len(data) < _HEADER.size or not is_media(data) or 191 < data[1] < 224 or self._internals._rx_srtp is None:
            return None
        receiver = self._receivers.get(int.from_bytes(data[8:12], "big"))
        return None if receiver is None else vars(receiver).get(_TAKE)


def is_media(data: bytes) -> bool:
    """Whether a datagram is RTP or RTCP, and not STUN, TURN or DTLS (RFC 7983 §7)."""
    return bool(data) and 127 < data[0] < 192


def _is_stun(data: bytes) -> bool:
    """As :func:`is_media`, for STUN."""
    return bool(data) and data[0] < 4


_stun_first = StunProtocol.datagram_received


def _media_first(self: Any, data: bytes, addr: tuple[Any, ...]) -> None:
    """aioice's parses every datagram as STUN, and learns from an exception that it is none. It keeps whatever comes,
    and answers attributes of a wrong length, which anybody may send, with an exception of another kind."""
    if not _is_stun(data) and self.receiver._queue.qsize() >= _MOST_WAITING:
        return
    if is_media(data):
        self.receiver.data_received(data, self.local_candidate.component)
        return
    try:
        _stun_first(self, data, addr)
    except Exception:
        log.debug("a datagram from %s cannot be read", addr[0], exc_info=True)


setattr(StunProtocol, "datagram_received", _media_first)  # noqa: B010 - a method of somebody else's class
