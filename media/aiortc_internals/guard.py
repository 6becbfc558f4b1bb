"""What a peer sends costs little and ends nothing: aiortc's transports and receivers, guarded from inside.

aiortc keeps something for every SSRC it has ever met, reports on all of them in one packet that has room for 31
(RFC 3550 §6.4.1), joins its decoder thread on the event loop, takes a BYE for the end of the track, and lets an
exception in a packet's handler end the transport. The names used are private to the release line that
:mod:`media.aiortc_internals.version` insists on; tests pin them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pylibsrtp
from aiortc import RTCDtlsTransport, RTCPeerConnection, RTCRtpReceiver
from aiortc.rtp import AnyRtcpPacket, RtcpByePacket, RtcpPacket, RtcpRtpfbPacket, RtpPacket

import media.aiortc_internals.version  # noqa: F401 - checked before anything here is used
from media.aiortc_internals.consent import guard_consent
from media.aiortc_internals.direct import arrive_directly

log = logging.getLogger(__name__)

MOST_SOURCES = 16
"""SSRCs followed at a time on one transport, besides those its description names. A camera with simulcast and
retransmission has six; a sender that starts anew takes another one each time, and the oldest is forgotten."""
MOST_REPORTERS = 32
"""SSRCs that RTCP comes from, likewise."""
MOST_RESENT = 128
"""Packets sent again for one request: as many as aiortc keeps."""


def guard_peer(pc: RTCPeerConnection) -> None:
    """Guard what there is of a connection. To be called once its tracks are known, before anything arrives."""
    for transceiver in pc.getTransceivers():
        guard_transport(transceiver.receiver.transport)
        _outlive_errors(transceiver.sender, transceiver.sender._ssrc)
    if pc.sctp is not None:
        guard_transport(pc.sctp.transport)


def guard_transport(transport: RTCDtlsTransport) -> None:
    """From now on RTP and RTCP are bounded in what they leave behind, and no packet ends the transport. Idempotent."""
    internals: Any = transport
    if "_handle_rtp_data" not in vars(internals):
        guard_consent(transport)
        guard = _Guard(internals)
        internals._handle_rtp_data, internals._handle_rtcp_data = guard.rtp, guard.rtcp
        arrive_directly(transport, guard.tell)


class _NoDecoder:
    """In place of the queue that aiortc's decoder thread reads: it ends at once, for nothing is decoded on it."""

    def put(self, item: object) -> None:
        """Nothing is decoded."""

    def get(self) -> None:
        """The end."""


def guard_receiver(receiver: RTCRtpReceiver) -> asyncio.Event:
    """From now on the receiver outlives a BYE and its own reports, and decodes nothing. Before it is started.

    Returns what is set when it stops, or its transport is gone.
    """
    internals: Any = receiver
    ended = asyncio.Event()
    guard_transport(receiver.transport)
    handle = internals._handle_rtcp_packet

    async def handle_but_bye(packet: AnyRtcpPacket) -> None:
        # a sender that says goodbye may come back, with this SSRC or another: the track ends with the connection
        if not isinstance(packet, RtcpByePacket):
            await handle(packet)

    internals._handle_rtcp_packet = handle_but_bye
    internals._RTCRtpReceiver__decoder_queue = _NoDecoder()
    internals._RTCRtpReceiver__stop_decoder = ended.set  # aiortc would join its thread on the event loop
    _outlive_errors(internals, internals._RTCRtpReceiver__kind)
    return ended


def _outlive_errors(reporter: Any, name: object) -> None:
    """RTCP of a sender or receiver goes on after an error, and its end is always known: ``stop`` waits for it."""
    run: Callable[[], Coroutine[Any, Any, None]] = reporter._run_rtcp
    if "_run_rtcp" in vars(reporter):
        return
    exited: asyncio.Event = getattr(reporter, f"_{type(reporter).__name__}__rtcp_exited")

    async def run_on() -> None:
        task, told = asyncio.current_task(), False
        try:
            while task is not None and not task.cancelling():
                try:
                    await run()  # returns when it is cancelled
                except Exception:
                    if not told:
                        log.exception("RTCP of %s %s failed; it goes on", type(reporter).__name__, name)
                    told = True
        finally:
            exited.set()

    reporter._run_rtcp = run_on


class _Guard:
    """Handles the packets of one transport in place of aiortc's own two methods."""

    def __init__(self, internals: Any) -> None:
        self._internals = internals
        self._router = internals._rtp_router
        self._extensions = internals._rtp_header_extensions_map
        self._learned: deque[int] = deque()
        """SSRCs whose receiver was found by their payload type, the oldest first."""
        self._reporters: deque[int] = deque()
        self._failed = False

    async def rtp(self, data: bytes, arrival_time_ms: int) -> None:
        """An RTP packet, decrypted."""
        try:
            packet = RtpPacket.parse(data, self._extensions)
            known = packet.ssrc in self._router.ssrc_table
            receiver = self._router.route_rtp(packet)
            if not known:
                receiver = self._meet(packet, receiver)
            if receiver is not None:
                await receiver._handle_rtp_packet(packet, arrival_time_ms=arrival_time_ms)
        except ConnectionError:  # how aiortc tells that the transport is over
            raise
        except ValueError:  # not RTP
            return
        except Exception:  # noqa: BLE001 - logged; on its way out it would end the transport
            self.tell("RTP")

    async def rtcp(self, data: bytes) -> None:
        """A compound RTCP packet, decrypted."""
        self._meet_reporter(int.from_bytes(data[4:8], "big"))
        try:
            for packet in RtcpPacket.parse(data):
                if isinstance(packet, RtcpRtpfbPacket):
                    packet.lost = list(dict.fromkeys(packet.lost))[:MOST_RESENT]
                for recipient in self._router.route_rtcp(packet):
                    await recipient._handle_rtcp_packet(packet)
        except ConnectionError:
            raise
        except ValueError:
            return
        except Exception:  # noqa: BLE001 - logged; on its way out it would end the transport
            self.tell("RTCP")

    def tell(self, what: str) -> None:
        """Once: a peer that can do it can do it a thousand times a second."""
        if not self._failed:
            log.exception("a peer's %s could not be handled; further ones are dropped without a word", what)
        self._failed = True

    def _meet(self, packet: RtpPacket, receiver: Any) -> Any:
        """An SSRC that was not known: find its receiver by the section it names, and forget the oldest one met."""
        if receiver is None:
            receiver = self._router.mid_table.get(packet.extensions.mid)
            if receiver not in self._router.payload_type_table.get(packet.payload_type, ()):
                self._forget_key(packet.ssrc)
                return None
            self._router.ssrc_table[packet.ssrc] = receiver
        self._learned.append(packet.ssrc)
        if len(self._learned) > MOST_SOURCES:
            self._forget(self._learned.popleft())
        return receiver

    def _forget(self, ssrc: int) -> None:
        receiver = self._router.ssrc_table.pop(ssrc, None)
        if receiver is not None:
            for name in ("active_ssrc", "lsr", "lsr_time", "remote_streams"):
                getattr(receiver, f"_RTCRtpReceiver__{name}").pop(ssrc, None)
            if (estimator := receiver._RTCRtpReceiver__remote_bitrate_estimator) is not None:
                estimator.ssrcs.pop(ssrc, None)
        self._forget_key(ssrc)

    def _meet_reporter(self, ssrc: int) -> None:
        if ssrc not in self._reporters:
            self._reporters.append(ssrc)
            if len(self._reporters) > MOST_REPORTERS:
                self._forget_key(self._reporters.popleft())

    def _forget_key(self, ssrc: int) -> None:
        """libsrtp derives keys for every SSRC and looks through all it has for each packet."""
        session = self._internals._rx_srtp
        if session is not None and ssrc not in self._router.ssrc_table:
            with suppress(pylibsrtp.Error):
                session.remove_stream(ssrc)
