"""The route of WebSockets: a part of :mod:`server.http.openapi.table`."""

from __future__ import annotations

from server.http.openapi.rows import Answer, Operation

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
