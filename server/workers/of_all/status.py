"""``GET /v1/status`` of several workers as one: what is worse in one of them is told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

Json = dict[str, Any]


def joined(first: Json, others: Mapping[int, Json]) -> Json:
    """The status of the oldest worker, with what the ``others`` (by their numbers) lack or still fetch."""
    told = deepcopy(first)
    for number, other in others.items():
        _engines(told.get("engines"), other.get("engines"), number)
        _detectors(told.get("detectors"), other.get("detectors"), number)
        known = {(row.get("engine"), row.get("name")) for row in told.get("warming_up", ())}
        for row in other.get("warming_up", ()) if "warming_up" in told else ():
            if (row.get("engine"), row.get("name")) not in known:
                told["warming_up"].append(row)
    _load(told, others)
    return told


def _load(told: Json, others: Mapping[int, Json]) -> None:
    """How much there is to do for a new session: it goes to the worker that has the least."""
    loads = [one["load"] for one in (told, *others.values()) if isinstance(one.get("load"), dict)]
    if loads:
        told["load"] = deepcopy(min(loads, key=lambda load: load.get("level", 0)))


def _engines(rows: Any, others: Any, number: int) -> None:
    """A stage that works in the oldest and not in another is told as that one tells it."""
    by_stage = {row.get("stage"): row for row in others or () if isinstance(row, dict)}
    for row in rows or ():
        other = by_stage.get(row.get("stage"))
        if row.get("ok") and other is not None and not other.get("ok"):
            row |= other
            row["reason"] = f"worker {number}: {other.get('reason', '')}"


def _detectors(rows: Any, others: Any, number: int) -> None:
    by_name = {row.get("name"): row for row in others or () if isinstance(row, dict)}
    for row in rows or ():
        other = by_name.get(row.get("name"))
        if row.get("available") and other is not None and not other.get("available"):
            row |= {"available": False, "reason": f"worker {number}: {other.get('reason', '')}"}
