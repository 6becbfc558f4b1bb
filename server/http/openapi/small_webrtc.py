"""The routes of Pipecat's SmallWebRTC clients: a part of :mod:`server.http.openapi.table`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from server.dialects.openai.fields import SessionPatch
from server.http.openapi.rows import Operation, json_answer
from server.http.openapi.shapes import Shape


class StartSession(BaseModel):
    """What the session begins with; other fields are the application's own."""

    session: SessionPatch | None = None


class StartBody(BaseModel):
    """What the client wants to start; other fields are ignored."""

    transport: Literal["webrtc", "smallwebrtc"] | None = None
    body: StartSession | None = None


class StartAnswer(Shape):
    """The session, whose offers go to ``/sessions/{sessionId}/api/offer``."""

    sessionId: str
    iceConfig: dict[str, Any] | None = None


class SmallOffer(BaseModel):
    """An SDP offer; other fields are ignored."""

    sdp: str
    type: Literal["offer"]
    pc_id: str | None = None
    restart_pc: bool | None = None
    requestData: StartSession | None = None


class SmallAnswer(Shape):
    """The SDP answer, and the id of the connection."""

    sdp: str
    type: Literal["answer"]
    pc_id: str


class SmallCandidate(BaseModel):
    """A candidate; an empty one says that there are no more."""

    candidate: str
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None


class SmallCandidates(BaseModel):
    """Candidates that come after the offer."""

    pc_id: str
    candidates: list[SmallCandidate] = []


class SmallTaken(Shape):
    """They were taken."""

    status: Literal["success"]


def _offers(path: str) -> tuple[Operation, Operation]:
    answer = {200: json_answer("the SDP answer", SmallAnswer)}
    taken = {200: json_answer("taken", SmallTaken)}
    offer = {"application/json": SmallOffer}
    more = {"application/json": SmallCandidates}
    return (
        Operation("POST", path, "Pipecat", "Begin a call, or go on with one", answer, offer, refuses=(404, 415, 501)),
        Operation("PATCH", path, "Pipecat", "Candidates after the offer", taken, more, refuses=(404, 415, 422)),
    )


SMALL_WEBRTC = (
    Operation(
        "POST",
        "/start",
        "Pipecat",
        "Ask for a session",
        {200: json_answer("its id", StartAnswer)},
        {"application/json": StartBody},
        refuses=(415,),
    ),
    *_offers("/api/offer"),
    *_offers("/sessions/{start}/api/offer"),
)
