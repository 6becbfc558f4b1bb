"""``/v1/history`` of all workers as one answer: each series with its worker, and those that add up in sum."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from aiohttp import hdrs, web

from server.http.tracking.history import HISTORY, asked, curves, listed, short, told
from server.http.tracking.start import add_upkeep, history_of
from server.observability.history.book import Question
from server.observability.history.history import History
from server.observability.history.series import SERIES
from server.settings import Settings

log = logging.getLogger(__name__)

LABEL, ALL, FRONT = "worker", "all", "front"
OF_MACHINE = ("visavis_machine_", "visavis_gpu_")
"""Beginnings of series that every process of a machine would tell alike: the front's are taken. Of GPUs that is so of
NVIDIA's, which have numbers; of the others each process tells its own share (:mod:`server.observability.history.drm`).
"""
Json = dict[str, Any]
FetchAll = Callable[[str], Awaitable[Mapping[int, bytes]]]
"""Asks every worker that serves for a path, and gives the answers of those that have one, by number."""


class TrackedWorkers:
    """The handler; ``history`` is the front's own."""

    def __init__(self, history: History, fetch: FetchAll, wall: Callable[[], float] = time.time) -> None:
        self._history = history
        self._fetch = fetch
        self._wall = wall

    async def get(self, request: web.Request) -> web.Response:
        """``GET /v1/history``."""
        question = asked(request.query, self._wall())
        if question is None:
            rows = [{**row, "labels": {**row["labels"], LABEL: FRONT}} for row in await self._own_list()]
            for number, body in (await self._fetch(HISTORY)).items():
                rows += [_of(row, str(number)) for row in json.loads(body)["data"] if not _is_of_machine(row)]
            answer = listed((), self._history.gpu_reason) | {"data": rows}
        else:
            answer = told(question, merged(await self._all(question), question))
        return web.json_response(answer, headers={hdrs.CACHE_CONTROL: "no-store"})

    async def _own_list(self) -> list[Json]:
        return list(listed(await self._history.keys(), "")["data"])

    async def _all(self, question: Question) -> dict[str, Sequence[Json]]:
        """The curves of every process, by its name: of workers that are gone those on disk."""
        answers = await self._fetch(f"{HISTORY}?{urlencode(_query(question))}")
        found: dict[str, Sequence[Json]] = {FRONT: curves(await self._history.ask(question), question)}
        for number, body in answers.items():
            found[str(number)] = [row for row in json.loads(body)["series"] if not _is_of_machine(row)]
        gone: dict[str, dict[Any, Any]] = {}
        for (number, key), points in (await self._history.on_disk(question)).items():
            if number and number not in answers:
                gone.setdefault(str(number), {})[key] = points
        return found | {name: curves(points, question) for name, points in gone.items()}


def add_front_tracking(app: web.Application, settings: Settings, fetch: FetchAll) -> None:
    """Sample the front itself, and tell of it and of its workers."""
    history = history_of(settings)
    app.router.add_get(HISTORY, TrackedWorkers(history, fetch).get)
    add_upkeep(app, history, settings)


def merged(processes: Mapping[str, Iterable[Json]], question: Question) -> list[Json]:
    """All series with the label ``worker``; those that add up once more for ``all``, where anything is known."""
    rows: list[Json] = []
    sums: dict[tuple[str, str], Json] = {}
    for process, series in processes.items():
        for row in series:
            rows.append(_of(row, process))
            if SERIES[row["name"]].adds and "session" not in row["labels"]:
                key = row["name"], json.dumps(row["labels"], sort_keys=True)
                if (known := sums.get(key)) is None:
                    sums[key] = {**_of(row, ALL), "values": list(row["values"]), "peaks": list(row["peaks"])}
                    continue
                for name in ("values", "peaks"):
                    known[name] = [_sum(one, other) for one, other in zip(known[name], row[name], strict=False)]
    return [*sums.values(), *rows]


def _of(row: Json, process: str) -> Json:
    return {**row, "labels": {**row["labels"], LABEL: process}}


def _is_of_machine(row: Json) -> bool:
    return str(row["name"]).startswith(OF_MACHINE) and str(row["labels"].get("gpu", "0")).isdigit()


def _sum(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return short(one + other)


def _query(question: Question) -> dict[str, str]:
    series = ",".join(question.names) or ALL
    query = {
        "series": series,
        "from": f"{question.begin:.3f}",
        "to": f"{question.end:.3f}",
        "step": f"{question.step:g}",
    }
    return query | ({"session": question.session} if question.session is not None else {})
