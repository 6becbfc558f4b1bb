"""Outgoing tracks: one that goes on after an error, the bitrate of video, what is lost, and the time in packets.

aiortc stops a track for good when it raises. It starts VP8 at 0.5 Mbit/s and H264 at 1, and follows the receiver's
estimate (REMB) up to 1.5 and 3; there is no setting. Its packets of video are larger than some paths let through. The
private names used here are those of the release line that
:mod:`media.aiortc_internals.version` insists on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiortc.clock
from aiortc import RTCRtpSender, RTCRtpTransceiver
from aiortc.codecs import get_encoder, h264, vpx
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, RtcpRrPacket, RtcpSrPacket, unpack_remb_fci

LARGEST_PAYLOAD = 1180
"""Bytes of video in a packet: with RTP, its extensions, SRTP, TURN, UDP and IPv6 these are 1280, which every path lets
through whole (RFC 8200 §5). aiortc's 1300 come in pieces out of a VPN, and routers drop those."""
for _codec in (h264, vpx):
    vars(_codec)["PACKET_MAX"] = LARGEST_PAYLOAD

_NTP_EPOCH = 2_208_988_800
"""Seconds from 1900 to 1970 (RFC 5905 §6)."""


def ntp_time() -> int:
    """Now, as 32 bits of seconds and 32 of their fraction. aiortc asks twice for each packet, by way of a date."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return (seconds + _NTP_EPOCH) << 32 | (nanoseconds << 32) // 10**9


vars(aiortc.clock)["current_ntp_time"] = ntp_time

_LEAST = 50_000
"""Bits per second: less than this is no video at all."""
FIRST_REST_SECONDS = 0.02
"""After an error of a track or its encoder; twice as long after each further one …"""
LONGEST_REST_SECONDS = 1.0
"""… up to this."""


def keep_sending(sender: RTCRtpSender, failed: Callable[[Exception], object]) -> None:
    """From now on what the track or its encoder raises is told, and the next frame is tried after a rest."""
    internals: Any = sender
    next_encoded = internals._next_encoded_frame
    rest = FIRST_REST_SECONDS

    async def encode(codec: Any) -> Any:
        nonlocal rest
        try:
            frame = await next_encoded(codec)
        except (MediaStreamError, ConnectionError):  # how a track, and a transport, tell that they have ended
            raise
        except Exception as error:  # noqa: BLE001 - told; aiortc would stop the track for good
            failed(error)
            internals._RTCRtpSender__encoder = None
            await asyncio.sleep(rest)
            rest = min(2 * rest, LONGEST_REST_SECONDS)
            return None
        rest = FIRST_REST_SECONDS
        return frame

    internals._next_encoded_frame = encode


def limit_bitrate(sender: RTCRtpSender, wanted: Callable[[], int | None]) -> None:
    """From now on video is sent with ``wanted()`` bits per second, or what the receiver estimates if that is less.

    While it is ``None`` aiortc decides.
    """
    internals: Any = sender
    next_encoded, handle_rtcp = internals._next_encoded_frame, internals._handle_rtcp_packet
    estimate: int | None = None

    async def handle(packet: Any) -> None:
        nonlocal estimate
        await handle_rtcp(packet)
        if isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            try:
                estimate, _ = unpack_remb_fci(packet.fci)
            except ValueError:  # not an estimate
                return

    async def encode(codec: Any) -> Any:
        encoder = internals._RTCRtpSender__encoder
        if encoder is None:
            encoder = internals._RTCRtpSender__encoder = get_encoder(codec)
        bits = wanted()
        if bits is not None:
            bits = bits if estimate is None else max(_LEAST, min(bits, estimate))
            setattr(encoder, f"_{type(encoder).__name__}__target_bitrate", bits)  # the setter has limits of its own
        return await next_encoded(codec)

    internals._next_encoded_frame = encode
    internals._handle_rtcp_packet = handle


def tell_loss(sender: RTCRtpSender, told: Callable[[float], object]) -> None:
    """From now on the receiver's reports are told: the share of packets, 0–1, that was lost since the one before (RFC
    3550 §6.4.1)."""
    internals: Any = sender
    handle_rtcp = internals._handle_rtcp_packet

    async def handle(packet: Any) -> None:
        await handle_rtcp(packet)
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == internals._ssrc:
                    told(report.fraction_lost / 256)

    internals._handle_rtcp_packet = handle


def preferring(name: str) -> list[RTCRtpCodecCapability]:
    """All video codecs, those called ``name`` (``vp8``, ``h264``) first."""
    codecs = RTCRtpSender.getCapabilities("video").codecs
    return sorted(codecs, key=lambda codec: codec.mimeType.lower() != f"video/{name}")


def codec_sent(transceiver: RTCRtpTransceiver) -> str | None:
    """The codec that was agreed on for sending, such as ``vp8``; ``None`` before that."""
    codecs = transceiver._codecs
    return codecs[0].name.lower() if codecs else None
