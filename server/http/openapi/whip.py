"""The routes of WHIP and WHEP: a part of :mod:`server.http.openapi.table`."""

from __future__ import annotations

from server.http.openapi.rows import TEXT, Answer, Operation

_SDP = {"application/sdp": TEXT}
_FRAGMENT = {"application/trickle-ice-sdpfrag": TEXT}
_HEADERS = {
    "Location": "where it is changed (PATCH) and ended (DELETE)",
    "ETag": "of the ICE session; `If-Match` may be left out",
    "Accept-Patch": "in what candidates may follow",
    "Link": "a STUN or TURN server; once for each",
}


def _begin(path: str, summary: str, *refuses: int) -> Operation:
    answers = {201: Answer("the SDP answer", _SDP, _HEADERS)}
    return Operation("POST", path, "WHIP", summary, answers, _SDP, refuses=(406, 415, *refuses))


def _trickle(path: str) -> Operation:
    summary = "Candidates that come after the offer (RFC 8840)"
    return Operation("PATCH", path, "WHIP", summary, {204: Answer("taken")}, _FRAGMENT, refuses=(404, 412, 415, 422))


def _end(path: str) -> Operation:
    return Operation("DELETE", path, "WHIP", "End it", {200: Answer("it ends")}, refuses=(404,))


WHIP = (
    _begin("/whip", "Publish sound and pictures by WHIP (RFC 9725)"),
    _trickle("/whip/{session}"),
    _end("/whip/{session}"),
    _begin("/whep", "Watch the only session there is, by WHEP", 404, 409),
    _begin("/whep/{session}", "Watch a session by WHEP", 404),
    _trickle("/whep/{session}/{viewer}"),
    _end("/whep/{session}/{viewer}"),
)
