"""What a soak says: is memory growing, are answers getting slower, is anything kept? Pure functions of its record.

The record is a list of JSON objects, each with ``kind`` and ``at`` (seconds since the start): ``sample`` (what the
server's process held), ``turn`` (what became of a turn), ``trouble``, ``connected``.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

Record = list[dict[str, Any]]
DRAWS = 2000
BLOCK_SECONDS = 300.0
"""Samples that are drawn together: memory a minute ago says much of memory now."""
LEAST_BLOCKS = 3
"""Of less nothing is said."""
LOADED_SECONDS = 120.0
"""After a model has been loaded on first use memory is as it will be."""
HELD = ("tasks", "threads", "descriptors")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a soak may show at most."""

    mb_per_hour: float = 8.0
    """The lower end of the 95 % interval of the slope of memory."""
    slower: float = 1.25
    """The lower end of the interval of: median time to answer in the last tenth, over that of the first."""
    unanswered_percent: float = 2.0
    kept: int = 8
    """Tasks, threads or descriptors more than before, when all have hung up."""


def slope(samples: Sequence[tuple[float, float]], seed: int = 1) -> tuple[float, float, float]:
    """Of ``(seconds, value)``: units an hour by least squares, and its 95 % interval from a bootstrap of blocks."""
    if len(samples) < 3 or samples[-1][0] - samples[0][0] < LEAST_BLOCKS * BLOCK_SECONDS:
        return math.nan, -math.inf, math.inf
    times, values = (np.array(column, float) for column in zip(*samples, strict=True))
    hours = times / 3600
    weights = (hours - hours.mean()) / ((hours - hours.mean()) ** 2).sum()  # of least squares: the slope is linear
    point = float(weights @ values)
    rest = values - values.mean() - point * (hours - hours.mean())
    step = max(float(np.median(np.diff(times))), 1e-9)
    length = min(len(values), max(1, round(BLOCK_SECONDS / step)))
    starts = np.random.default_rng(seed).integers(0, len(values) - length + 1, (DRAWS, math.ceil(len(values) / length)))
    places = (starts[:, :, None] + np.arange(length)).reshape(DRAWS, -1)[:, : len(values)]
    low, high = np.percentile(point + rest[places] @ weights, (2.5, 97.5))
    return point, float(low), float(high)


def slower(first: Sequence[float], last: Sequence[float], seed: int = 1) -> tuple[float, float, float]:
    """Ratio of the medians, last over first, and its 95 % interval."""
    if not first or not last:
        return math.nan, -math.inf, math.inf
    random = np.random.default_rng(seed)
    early, late = (np.median(random.choice(one, (DRAWS, len(one))), axis=1) for one in (first, last))
    low, high = np.percentile(late / early, (2.5, 97.5))
    return median(last) / median(first), float(low), float(high)


def summary(record: Record, warm_seconds: float) -> dict[str, Any]:
    """All figures; the first ``warm_seconds`` (models are loaded, caches fill) are no part of slopes.

    Neither is what comes before the last model that is used for the first time, where enough comes after it: what that
    takes, it takes once, and it is told by itself.
    """
    samples = [one for one in record if one["kind"] == "sample"]
    talking = [one for one in samples if one["at"] >= warm_seconds and one["phase"] == "talking"]
    warm, loads = _after_loading(talking)
    turns = [one for one in record if one["kind"] == "turn"]
    voices = [(one["at"], one["voice_ms"]) for one in turns if one.get("voice_ms", -1) > 0]
    ended = samples[-1]["at"] if samples else 0.0
    begun, tenth = warm_seconds, (ended - warm_seconds) / 10
    first = [ms for at, ms in voices if begun <= at < begun + tenth]
    last = [ms for at, ms in voices if at >= ended - tenth]
    told: dict[str, Any] = {"seconds": round(ended), "models_loaded_at": loads}
    told["slopes_from"] = round(warm[0]["at"]) if warm else None
    told["rss_mb_of_all"] = [one["rss_mb"] for one in (talking[0], talking[-1])] if talking else []
    for name in ("rss_mb", "pss_mb"):
        told[f"{name}_per_hour"] = [round(x, 2) for x in slope([(one["at"], one[name]) for one in warm])]
        told[name] = [one[name] for one in (warm[0], warm[-1])] if warm else []
    told["objects_per_hour"] = [round(x, 1) for x in slope([(one["at"], one["objects"]) for one in warm])]
    told["voice_ms"] = _spread([ms for _, ms in voices])
    told["voice_ms_first_tenth"], told["voice_ms_last_tenth"] = _spread(first), _spread(last)
    told["slower"] = [round(x, 3) for x in slower(first, last)]
    told["turns"] = dict(Counter(one["did"] for one in turns))
    told["unanswered"] = dict(Counter(one["did"] for one in turns if one["unanswered"]))
    told["early"] = sum(one.get("voice_ms", 1) <= 0 for one in turns)
    told["stopped_ms"] = _spread([one["stopped_ms"] for one in turns if "stopped_ms" in one])
    told["connections"] = sum(one["kind"] == "connected" for one in record)
    resumes = [one for one in record if one["kind"] == "connected" and one["resume"]]
    told["resumes"] = {"asked": len(resumes), "known": sum(one["resumed"] for one in resumes)}
    told["trouble"] = dict(Counter(one["what"][:80] for one in record if one["kind"] == "trouble"))
    told["event_errors"] = dict(Counter(error[:80] for one in turns for error in one["errors"]).most_common(8))
    told["held"] = _held(samples)
    told["cores"] = _cores(warm)
    told["late_ms"] = _spread([one["late_ms"] for one in warm])
    told["collected_ms"] = _spread([one["collected_ms"] for one in warm if "collected_ms" in one])
    told["heaps"] = [one["heaps"] for one in (warm[0], warm[-1])] if warm and "heaps" in warm[0] else []
    return told


def _after_loading(talking: Record) -> tuple[Record, list[int]]:
    """The samples after the last model was loaded, if they are enough for a slope, and when models were."""
    loads = [
        round(now["at"])
        for before, now in itertools.pairwise(talking)
        if now.get("models_loaded", 0) > before.get("models_loaded", 0)
    ]
    after = [one for one in talking if not loads or one["at"] >= loads[-1] + LOADED_SECONDS]
    enough = len(after) > 1 and after[-1]["at"] - after[0]["at"] >= LEAST_BLOCKS * BLOCK_SECONDS
    return (after if enough else talking), loads


def broken(told: dict[str, Any], log: dict[str, int], limits: Limits) -> list[str]:
    """The limits that do not hold, in words."""
    wrong = []
    for name in ("rss_mb", "pss_mb"):
        point, low, high = told[f"{name}_per_hour"]
        if low > limits.mb_per_hour:
            wrong.append(f"{name} grows by {point} MB an hour ({low} to {high}); at most {limits.mb_per_hour:g}")
    ratio, low, high = told["slower"]
    if low > limits.slower:
        wrong.append(f"answers come {ratio} times as late at the end ({low} to {high}); at most {limits.slower:g}")
    turns, missed = sum(told["turns"].values()), sum(told["unanswered"].values())
    if 100 * missed > limits.unanswered_percent * turns:
        wrong.append(f"{missed} of {turns} turns unanswered; at most {limits.unanswered_percent:g} %")
    if not turns:
        wrong.append("not one turn was taken")
    for name, (before, after) in told["held"].items():
        if after - before > limits.kept:
            wrong.append(f"{name}: {before} before, {after} when all had hung up; at most {limits.kept} more")
    wrong += [f"{count} {name} in the log" for name, count in log.items() if count]
    if told["resumes"]["known"] < told["resumes"]["asked"]:
        wrong.append(f"only {told['resumes']['known']} of {told['resumes']['asked']} conversations went on")
    return wrong


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"n": 0}
    median_, p95 = np.percentile(values, (50, 95))
    return {"median": round(float(median_)), "p95": round(float(p95)), "worst": round(max(values)), "n": len(values)}


def _held(samples: Record) -> dict[str, tuple[int, int]]:
    """What was held after the first calls had been there and gone, and at the end."""
    idle = [one for one in samples if one["phase"] == "idle"]
    if len(idle) < 2:
        return {}
    return {name: (idle[0][name], idle[-1][name]) for name in HELD}


def _cores(samples: Record) -> float | None:
    """Of the server's own process, on the mean."""
    if len(samples) < 2 or samples[-1]["at"] <= samples[0]["at"]:
        return None
    return round((samples[-1]["cpu_s"] - samples[0]["cpu_s"]) / (samples[-1]["at"] - samples[0]["at"]), 3)
