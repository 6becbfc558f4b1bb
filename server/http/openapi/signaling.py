"""The routes by which peers and sessions find each other: a part of :mod:`server.http.openapi.table`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from pipelines.routing.run import Priority
from server.dialects.live.models import LiveCreate
from server.dialects.openai.fields import SessionPatch
from server.dialects.openai.vision import VisionPatch
from server.http.openapi.rows import TEXT, Answer, Operation, json_answer
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


REALTIME = (
    Operation(
        "GET",
        "/v1/realtime",
        "calls",
        "OpenAI's Realtime protocol over a WebSocket",
        {101: Answer("the WebSocket: JSON events as text, sound in base64 in them")},
        query={
            "model": ({"type": "string"}, "a wish: one model serves all"),
            "intent": (
                {"type": "string", "enum": ["conversation", "transcription"]},
                "`transcription`: only write down",
            ),
            "call_id": ({"type": "string"}, "another client of the call of this id"),
            "events": ({"type": "string", "enum": ["all"]}, "`all`: those that OpenAI's service has not, too"),
        },
        refuses=(404, 426),
        words="Browsers offer the subprotocol `realtime`, and beside it their key as `openai-insecure-api-key.KEY`.",
    ),
)


_SDP = {"application/sdp": TEXT}
_FRAGMENT = {"application/trickle-ice-sdpfrag": TEXT}
_HEADERS = {
    "Location": "where it is changed (PATCH) and ended (DELETE)",
    "ETag": "of the ICE session; `If-Match` may be left out",
    "Accept-Patch": "in what candidates may follow",
    "Link": "a STUN or TURN server; once for each",
}


PIPELINE: dict[str, tuple[dict[str, Any], str]] = {
    "pipeline": ({"type": "string"}, "id of the pipeline that is run, if not the usual one")
}


def _begin(path: str, summary: str, *refuses: int) -> Operation:
    answers = {201: Answer("the SDP answer", _SDP, _HEADERS)}
    query = PIPELINE if path == "/whip" else {}
    return Operation("POST", path, "WHIP", summary, answers, _SDP, query, refuses=(406, 415, *refuses))


def _trickle(path: str) -> Operation:
    summary = "Candidates that come after the offer (RFC 8840)"
    return Operation("PATCH", path, "WHIP", summary, {204: Answer("taken")}, _FRAGMENT, refuses=(404, 412, 415, 422))


def _end(path: str) -> Operation:
    return Operation("DELETE", path, "WHIP", "End it", {200: Answer("it ends")}, refuses=(404,))


WHIP = (
    _begin("/whip", "Publish sound and pictures by WHIP (RFC 9725)", 404),
    _trickle("/whip/{session}"),
    _end("/whip/{session}"),
    _begin("/whep", "Watch the only session there is, by WHEP", 404, 409),
    _begin("/whep/{session}", "Watch a session by WHEP", 404),
    _trickle("/whep/{session}/{viewer}"),
    _end("/whep/{session}/{viewer}"),
)


class OfferedSession(BaseModel):
    """How the session wants to be seen, and how urgent it is."""

    vision: VisionPatch | None = None
    priority: Priority | None = None


class OfferBody(BaseModel):
    """An SDP offer, as in the examples of aiortc; other fields are ignored."""

    sdp: str
    type: Literal["offer"]
    session: OfferedSession | None = None
    pipeline: str | None = None
    """Id of the pipeline that is run, if not the usual one."""
    resume: str | None = None
    """The session whose conversation and settings this one goes on with, if they are still known."""


class OfferAnswer(Shape):
    """The SDP answer; ``resumed``: whether an earlier conversation goes on."""

    sdp: str
    type: Literal["answer"]
    session_id: str
    resumed: bool


class ExpiresAfter(Shape):
    """How long the secret is valid, from now on."""

    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(600, ge=10, le=7200)


class SecretBody(Shape):
    """What sessions that are opened with it begin with, and how long it is valid."""

    session: SessionPatch | None = None
    expires_after: ExpiresAfter | None = None


class Secret(Shape):
    """The secret, which is told once."""

    value: str
    expires_at: int
    session: dict[str, Any]
    id: str


class SecretRow(Shape):
    """What is known of a secret."""

    object: Literal["realtime.client_secret"]
    id: str
    status: str
    created_at: int
    expires_at: int
    calls: int


class SecretList(Shape):
    """The secrets that have been made."""

    object: Literal["list"]
    data: list[SecretRow]


class SecretGone(Shape):
    """It is not valid any more."""

    object: Literal["realtime.client_secret"]
    id: str
    deleted: Literal[True]


class IceServers(BaseModel):
    """As WebRTC's ``RTCConfiguration`` takes them."""

    ice_servers: list[dict[str, Any]]


SECRETS = (
    Operation(
        "POST",
        "/v1/realtime/client_secrets",
        "keys",
        "Make a short-lived key for a browser or an app",
        {200: json_answer("the secret, which is told once", Secret)},
        {"application/json": SecretBody},
        refuses=(415,),
    ),
    Operation(
        "GET",
        "/v1/realtime/client_secrets",
        "keys",
        "What secrets there are, without their values",
        {200: json_answer("the list", SecretList)},
    ),
    Operation(
        "DELETE",
        "/v1/realtime/client_secrets/{id}",
        "keys",
        "Revoke a secret",
        {200: json_answer("it is not valid any more", SecretGone)},
        refuses=(404,),
    ),
    Operation(
        "GET",
        "/v1/realtime/ice_servers",
        "keys",
        "STUN and TURN servers for a client, before it makes its offer",
        {200: json_answer("the servers", IceServers)},
    ),
)


class StartSession(BaseModel):
    """What the session begins with; other fields are the application's own."""

    session: SessionPatch | None = None
    pipeline: str | None = None
    """Id of the pipeline that is run, if not the usual one."""


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
    pipeline: str | None = None
    """Id of the pipeline that is run, if not the usual one."""


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


NEW_CALL = {"Location": "the call's own address: DELETE it, or POST to /hangup below it, to end the call"}


CALLS = (
    Operation(
        "POST",
        "/offer",
        "calls",
        "Begin a call with an SDP offer, as in the examples of aiortc",
        {200: json_answer("the SDP answer, and the id of the session", OfferAnswer)},
        {"application/json": OfferBody},
        refuses=(404, 415),
    ),
    Operation(
        "POST",
        "/v1/realtime/calls",
        "calls",
        "Begin a call as clients of OpenAI Realtime do",
        {201: Answer("the SDP answer", {"application/sdp": TEXT}, NEW_CALL)},
        {
            "application/sdp": TEXT,
            "multipart/form-data": {
                "type": "object",
                "required": ["sdp"],
                "properties": {"sdp": TEXT, "session": SessionPatch},
                "additionalProperties": True,
            },
        },
        query=PIPELINE,
        refuses=(404, 415),
        words="The body is the offer, or a form with the offer and, as JSON, the settings to begin with.",
    ),
    Operation(
        "POST", "/v1/realtime/calls/{id}/hangup", "calls", "End a call", {200: Answer("it ends")}, refuses=(404,)
    ),
    Operation("DELETE", "/v1/realtime/calls/{id}", "calls", "End a call", {200: Answer("it ends")}, refuses=(404,)),
)
