"""The routes by which peers and sessions find each other: a part of :mod:`server.http.openapi.table`."""

from __future__ import annotations

from server.dialects.openai.fields import SessionPatch
from server.http.openapi import call_shapes as shapes
from server.http.openapi.rows import TEXT, Answer, Operation, json_answer

NEW_CALL = {"Location": "the call's own address: DELETE it, or POST to /hangup below it, to end the call"}


CALLS = (
    Operation(
        "POST",
        "/offer",
        "calls",
        "Begin a call with an SDP offer, as in the examples of aiortc",
        {200: json_answer("the SDP answer, and the id of the session", shapes.OfferAnswer)},
        {"application/json": shapes.OfferBody},
        refuses=(415,),
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
        refuses=(415,),
        words="The body is the offer, or a form with the offer and, as JSON, the settings to begin with.",
    ),
    Operation(
        "POST", "/v1/realtime/calls/{id}/hangup", "calls", "End a call", {200: Answer("it ends")}, refuses=(404,)
    ),
    Operation("DELETE", "/v1/realtime/calls/{id}", "calls", "End a call", {200: Answer("it ends")}, refuses=(404,)),
)
