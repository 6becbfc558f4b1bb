"""``GET /v1/history``: curves of what the server used and how it fared, with the names of ``/metrics``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aiohttp import hdrs, web

from pipelines.text import unknown
from server.http.errors import HttpError
from server.observability.history.book import MOST_POINTS, Question
from server.observability.history.history import History
from server.observability.history.rings import Point
from server.observability.history.series import SERIES, Key

HISTORY = "/v1/history"
LONGEST_SECONDS = 366 * 86_400.0
USUAL_SECONDS = 600.0
"""What is told without ``from``."""
Json = dict[str, Any]


class HistoryRoutes:
    """The handlers."""

    def __init__(self, history: History, wall: Callable[[], float] = time.time) -> None:
        self._history = history
        self._wall = wall

    def add_to(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get(HISTORY, self.get)

    async def get(self, request: web.Request) -> web.Response:
        """The curves that are asked for; without ``series`` which there are."""
        question = asked(request.query, self._wall())
        if question is None:
            body = listed(await self._history.keys(), self._history.gpu_reason)
        else:
            body = told(question, curves(await self._history.ask(question), question))
        return web.json_response(body, headers={hdrs.CACHE_CONTROL: "no-store"})


def asked(query: Mapping[str, str], now: float) -> Question | None:
    """The question of a query; ``None`` where no series are named. Raises :class:`HttpError`."""
    names = [name for name in query.get("series", "").split(",") if name]
    for name in names:
        if name not in SERIES and name != "all":
            raise HttpError(400, "invalid_value", f"series: {unknown('series', name, ('all', *SERIES))}", "series")
    begin = _number(query, "from", -USUAL_SECONDS)
    begin = now + begin if begin < 0 else begin
    if not now - LONGEST_SECONDS <= begin < now:
        message = "from: legal values are seconds since 1970 of the last year, or seconds before now such as -600"
        raise HttpError(400, "invalid_value", message, "from")
    end = min(now, _number(query, "to", now))
    if end <= begin:
        raise HttpError(400, "invalid_value", "to: legal values are seconds since 1970 after `from`", "to")
    step = _number(query, "step", 1.0)
    if not 1.0 <= step <= 86_400.0:
        raise HttpError(400, "invalid_value", "step: legal values are seconds from 1 to 86400", "step")
    if not names:
        return None
    step = max(step, float(math.ceil((end - begin) / MOST_POINTS)))
    return Question(() if "all" in names else names, begin, end, step, query.get("session"))


def curves(points: Mapping[Key, Sequence[Point]], question: Question) -> list[Json]:
    """Each series as JSON: means and peaks from ``question.begin`` on, ``None`` where nothing is known."""
    count = max(1, math.ceil((question.end - question.begin) / question.step))
    return [curve(key, some, question, count) for key, some in sorted(points.items())]


def curve(key: Key, points: Iterable[Point], question: Question, count: int) -> Json:
    """One of them."""
    means: list[float | None] = [None] * count
    peaks: list[float | None] = [None] * count
    for point in points:
        place = int((point.time - question.begin) / question.step + 0.5)
        if 0 <= place < count:
            means[place], peaks[place] = short(point.mean), short(point.peak)
    return {**head(key), "values": means, "peaks": peaks}


def head(key: Key) -> Json:
    """What a series is."""
    name, labels = key
    return {"name": name, "labels": dict(labels), "kind": SERIES[name].kind}


def told(question: Question, series: Sequence[Json]) -> Json:
    """The whole answer."""
    return {
        "object": "history",
        "from": round(question.begin, 3),
        "to": round(question.end, 3),
        "step": question.step,
        "series": list(series),
    }


def listed(keys: Iterable[Key], gpu_reason: str) -> Json:
    """The answer without ``series``."""
    known = [{**head(key), "about": SERIES[key[0]].text} for key in sorted(keys)]
    return {"object": "list", "data": known, "gpu": gpu_reason or "told"}


def short(value: float) -> float:
    """Digits that mean something: the curves are float32, and more would make the answer twice as long."""
    return round(value, 5) if abs(value) < 1000 else round(value, 1)


def _number(query: Mapping[str, str], name: str, usual: float) -> float:
    text = query.get(name)
    try:
        value = usual if text is None else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise HttpError(400, "invalid_value", f"{name}: legal values are numbers of seconds, not {text!r:.40}", name)
    return value
