"""The routes of OpenAI's Live: a part of :mod:`server.http.openapi.table`."""

from __future__ import annotations

from typing import Literal

from server.dialects.live.models import LiveCreate
from server.http.openapi.rows import Answer, Operation
from server.http.openapi.shapes import Shape


class LiveId(Shape):
    """A session of Live."""

    id: str


class LiveAnswer(Shape):
    """The SDP answer."""

    type: Literal["webrtc"]
    sdp: str


class LiveCreated(Shape):
    """The session that has begun."""

    session: LiveId
    transport: LiveAnswer


LIVE = (
    Operation(
        "POST",
        "/v1/live/sessions",
        "calls",
        "Begin a session of OpenAI's Live over WebRTC (experimental)",
        {201: Answer("it begins", {"application/json": LiveCreated}, {"Location": "the session's own address"})},
        {"application/json": LiveCreate},
        refuses=(415,),
    ),
    Operation(
        "POST", "/v1/live/sessions/{session}/hangup", "calls", "End it", {200: Answer("it ends")}, refuses=(404,)
    ),
)
