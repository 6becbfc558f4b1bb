"""Like :mod:`media.receive` for what leaves: the bitrate of outgoing video, for which aiortc has no setting.

aiortc starts VP8 at 0.5 Mbit/s and H264 at 1, and follows the receiver's estimate (REMB) up to 1.5 and 3. The private
names used here are those of the release line that :func:`media.receive.check_version` insists on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiortc import RTCRtpSender, RTCRtpTransceiver
from aiortc.codecs import get_encoder
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, unpack_remb_fci

_LEAST = 50_000
"""Bits per second: less than this is no video at all."""


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


def preferring(name: str) -> list[RTCRtpCodecCapability]:
    """All video codecs, those called ``name`` (``vp8``, ``h264``) first."""
    codecs = RTCRtpSender.getCapabilities("video").codecs
    return sorted(codecs, key=lambda codec: codec.mimeType.lower() != f"video/{name}")


def codec_sent(transceiver: RTCRtpTransceiver) -> str | None:
    """The codec that was agreed on for sending, such as ``vp8``; ``None`` before that."""
    codecs = transceiver._codecs
    return codecs[0].name.lower() if codecs else None
