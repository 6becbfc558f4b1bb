"""What ``/v1/history`` and ``/v1/errors`` take and hold: a part of :mod:`server.http.openapi.table`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from server.http.openapi.rows import Operation, json_answer
from server.http.openapi.shapes import Shape


class HistorySeries(Shape):
    """One curve. ``kind`` ``rate``: how much the counter of that name grew in a second; ``gauge``: the value itself."""

    name: str
    labels: dict[str, str]
    kind: Literal["rate", "gauge"]
    values: list[float | None]
    """Means, one for each step from ``from`` on; ``null`` where nothing is known."""
    peaks: list[float | None]
    """The highest within each step."""


class HistoryAnswer(Shape):
    """Curves; times are seconds since 1970."""

    object: Literal["history"]
    from_: float = Field(alias="from")
    to: float
    step: float
    series: list[HistorySeries]


class HistoryRow(Shape):
    """A series that there is."""

    name: str
    labels: dict[str, str]
    kind: Literal["rate", "gauge"]
    about: str


class HistoryList(Shape):
    """All of them; ``gpu`` says why nothing is known about GPUs, or ``told``."""

    object: Literal["list"]
    data: list[HistoryRow]
    gpu: str


class ErrorHead(Shape):
    """One kind of error: what it was, and how often and when it came."""

    id: str
    type: str
    code: str | None
    engine: str
    stage: str | None
    count: int
    first_seen: float
    last_seen: float
    version: str


class ErrorList(Shape):
    """``enabled``: whether reports are written (setting ``error_reports``)."""

    object: Literal["list"]
    enabled: bool
    data: list[ErrorHead]


class ErrorCause(Shape):
    """An exception; ``trace`` has our frames by ``file``, ``line`` and ``function``, and counts those of others."""

    type: str
    code: str | None
    trace: list[dict[str, str | int]]


class ErrorReport(ErrorHead):
    """The latest of its kind, with what was known at that moment."""

    time: float
    trace: list[dict[str, str | int]]
    causes: list[ErrorCause]
    noticed_by: str
    session: str
    events: list[str]
    load: dict[str, float]
    settings: dict[str, bool | int | float | str]
    python: str
    system: str
    libraries: dict[str, str]


_SECONDS = {"type": "number"}
TRACKING = (
    Operation(
        "GET",
        "/v1/history",
        "state",
        "What the server used and how it fared",
        {200: json_answer("the curves; without `series` which there are", HistoryAnswer, HistoryList)},
        query={
            "series": ({"type": "string"}, "names as in `/metrics`, separated by commas, or `all`"),
            "from": (_SECONDS, "seconds since 1970, or before now such as -600"),
            "to": (_SECONDS, "seconds since 1970; else now"),
            "step": (_SECONDS, "seconds between two values, 1 to 86400; more where there would be too many"),
            "session": ({"type": "string"}, "only the curves of this session"),
        },
    ),
    Operation(
        "GET",
        "/v1/errors",
        "state",
        "Reports of unexpected errors, as far as they are written",
        {200: json_answer("their heads, the latest first", ErrorList)},
    ),
    Operation(
        "GET",
        "/v1/errors/{id}",
        "state",
        "One report",
        {200: json_answer("the whole report", ErrorReport)},
        refuses=(404,),
    ),
)
