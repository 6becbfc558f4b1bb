"""What the bodies and responses of calls hold; see :mod:`server.http.openapi.shapes`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from server.dialects.openai.vision import VisionPatch
from server.http.openapi.shapes import Shape


class OfferedSession(BaseModel):
    """How the session wants to be seen."""

    vision: VisionPatch | None = None


class OfferBody(BaseModel):
    """An SDP offer, as in the examples of aiortc; other fields are ignored."""

    sdp: str
    type: Literal["offer"]
    session: OfferedSession | None = None


class OfferAnswer(Shape):
    """The SDP answer."""

    sdp: str
    type: Literal["answer"]
    session_id: str
