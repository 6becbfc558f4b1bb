"""What a client's offer must be, checked before a peer connection is built for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from server.transports.webrtc.candidates import DEFAULT_RANGES, AddressRange
from server.transports.webrtc.negotiation import Negotiation, negotiate
from server.transports.webrtc.sdp import LARGEST_SDP, Description, SdpError, parse


class OfferError(Exception):
    """The offer cannot be answered. ``param`` names the field, ``status`` is the HTTP status."""

    def __init__(self, code: str, message: str, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.status = status


@dataclass(frozen=True, slots=True)
class Offer:
    """A valid offer."""

    negotiation: Negotiation
    published: bool = False
    """Whether its peer need not take the voice itself, for viewers may (WHIP)."""

    @property
    def wants_audio(self) -> bool:
        """Whether the peer can receive our voice."""
        return any(one.sends and one.kind == "audio" for one in self.negotiation.media)

    @property
    def wants_video(self) -> bool:
        """Whether the peer can receive the annotated camera."""
        return any(one.sends and one.kind == "video" for one in self.negotiation.media)


def read_offer(body: object, ranges: Collection[AddressRange] = DEFAULT_RANGES) -> Offer:
    """Validate ``{"sdp", "type"}``; further fields are ignored.

    Candidates of the peer outside of ``ranges`` are left out. Raises :class:`OfferError`. What it lets pass can be
    answered: an exception after that is a defect of this program.
    """
    if not isinstance(body, Mapping):
        raise OfferError("invalid_body", 'the body must be a JSON object like {"sdp": "…", "type": "offer"}')
    if body.get("type") != "offer":
        raise OfferError("invalid_type", f'type must be "offer", not {_shown(body.get("type"))}', "type")
    sdp = body.get("sdp")
    if not isinstance(sdp, str) or not sdp.strip():
        raise OfferError("invalid_sdp", "sdp must be the text of a session description", "sdp")
    if len(sdp) > LARGEST_SDP:
        raise OfferError("sdp_too_large", f"sdp may have {LARGEST_SDP} characters, not {len(sdp)}", "sdp", 413)
    try:
        description = parse(sdp)
        _check_media(description)
        negotiation = negotiate(description, ranges)
    except SdpError as error:
        raise OfferError("invalid_sdp", str(error), "sdp") from error
    _check_codecs(negotiation)
    return Offer(negotiation)


def _check_media(description: Description) -> None:
    if not any(section.kind in ("audio", "video") and section.is_offered for section in description.sections):
        raise OfferError("no_media", "the offer has neither an audio nor a video section (m=audio, m=video)", "sdp")


def _check_codecs(negotiation: Negotiation) -> None:
    if negotiation.media:
        return
    if any(section.kind == "audio" for section in negotiation.description.sections):
        raise OfferError("no_opus", "the offer's audio must include Opus at 48 kHz", "sdp")
    raise OfferError("no_codec", "the offer's video must include VP8 or H264 (packetization-mode 1, baseline)", "sdp")


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
