"""The operations of predictions: a part of :mod:`server.http.openapi.table`."""

from __future__ import annotations

from typing import Literal

from server.http.foresight.routes import PREDICT, VIDEO, WATCH, PredictBody
from server.http.openapi.rows import BYTES, TEXT, Answer, Operation, json_answer
from server.http.openapi.shapes import Shape


class PredictionBegun(Shape):
    """Where it can be watched, and its video read."""

    session_id: str
    quality: Literal["low", "medium", "high"]
    ws_url: str
    video_url: str


FORESIGHT = (
    Operation(
        "GET",
        "/foresight",
        "page",
        "The page of predictions",
        {200: Answer("its HTML", {"text/html": TEXT}), 304: Answer("you have it")},
    ),
    Operation(
        "POST",
        PREDICT,
        "foresight",
        "Say and show what comes next",
        {200: json_answer("it has begun", PredictionBegun)},
        {"application/json": PredictBody},
        refuses=(415,),
    ),
    Operation(
        "GET",
        WATCH,
        "foresight",
        "All messages of a prediction, over a WebSocket",
        {101: Answer("the WebSocket: JSON messages as text (docs/how-to/foresight.md)")},
        refuses=(404, 426),
    ),
    Operation(
        "GET",
        VIDEO,
        "foresight",
        "Its video: as it grows, then whole or a range of it",
        {200: Answer("the file", {"video/mp4": BYTES}), 206: Answer("the range", {"video/mp4": BYTES})},
        headers={"Range": ({"type": "string"}, "of bytes, of a video that is finished")},
        refuses=(404, 416),
    ),
)
