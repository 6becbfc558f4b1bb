"""What a client's offer must be, checked before a peer connection is built for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiortc.sdp import MediaDescription, SessionDescription
from pydantic import ValidationError

from server.dialects.vision_client import VisionPatch
from server.sdp import normalise_offer

LARGEST_SDP = 256 * 1024
"""Characters; a browser's offer has about 8,000."""


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

    sdp: str
    """Normalised: see :func:`server.sdp.normalise_offer`."""
    wants_audio: bool
    """Whether the peer can receive our voice."""
    wants_video: bool
    """Whether the peer can receive the annotated camera."""
    vision: VisionPatch = field(default_factory=VisionPatch)
    """How the session wants to be seen."""


def read_offer(body: object) -> Offer:
    """Validate ``{"sdp", "type"}`` and ``session.vision``, if given; further fields are ignored.

    Raises :class:`OfferError`.
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
    media = _parse(sdp)
    audio = [m for m in media if m.kind == "audio"]
    video = [m for m in media if m.kind == "video"]
    if not audio and not video:
        raise OfferError("no_media", "the offer has neither an audio nor a video section (m=audio, m=video)", "sdp")
    first = media[0]
    if first.ice is None or not first.ice.usernameFragment or not first.ice.password:
        raise OfferError("invalid_sdp", "sdp lacks ICE credentials (a=ice-ufrag, a=ice-pwd)", "sdp")
    if first.dtls is None or not first.dtls.fingerprints:
        raise OfferError("invalid_sdp", "sdp lacks a certificate fingerprint (a=fingerprint)", "sdp")
    if audio and not _has_opus(audio[0]):
        raise OfferError("no_opus", "the offer's audio must include Opus at 48 kHz", "sdp")
    return Offer(normalise_offer(sdp), _receives(audio), _receives(video), _vision(body))


def _parse(sdp: str) -> list[MediaDescription]:
    try:
        return SessionDescription.parse(sdp).media
    except Exception as error:
        raise OfferError("invalid_sdp", "sdp cannot be read as a session description (RFC 8866)", "sdp") from error


def _vision(body: Mapping[str, Any]) -> VisionPatch:
    session = body.get("session")
    wish = session.get("vision") if isinstance(session, Mapping) else None
    if wish is None:
        return VisionPatch()
    try:
        return VisionPatch.model_validate(wish)
    except ValidationError as error:
        problem = error.errors()[0]
        path = ".".join(["session", "vision", *map(str, problem["loc"])])
        raise OfferError("invalid_value", f"{path}: {problem['msg']}", path) from error


def _has_opus(media: MediaDescription) -> bool:
    return any(codec.name.lower() == "opus" for codec in media.rtp.codecs)


def _receives(media: list[MediaDescription]) -> bool:
    return bool(media) and media[0].direction in ("sendrecv", "recvonly") and media[0].port != 0


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
