"""Figures with their uncertainty: Wilson's interval of a rate, medians, bootstrap intervals of a comparison. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

BOOTSTRAPS = 2000
_Z = 1.96


def wilson(passed: int, number: int) -> tuple[float, float]:
    """The 95 % interval of a rate (Wilson 1927)."""
    if not number:
        return 0.0, 1.0
    rate = passed / number
    middle = rate + _Z * _Z / (2 * number)
    spread = _Z * math.sqrt(rate * (1 - rate) / number + _Z * _Z / (4 * number * number))
    whole = 1 + _Z * _Z / number
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def difference(passed: int, number: int, before: int, number_before: int) -> tuple[float, float]:
    """The 95 % interval of how much higher the first rate is than the second (Newcombe 1998, method 10)."""
    if not (number and number_before):
        return -1.0, 1.0
    one, two = passed / number, before / number_before
    (low, high), (low_before, high_before) = wilson(passed, number), wilson(before, number_before)
    down = math.sqrt((one - low) ** 2 + (high_before - two) ** 2)
    up = math.sqrt((high - one) ** 2 + (two - low_before) ** 2)
    return one - two - down, one - two + up


def summary(values: Sequence[float]) -> dict[str, float] | None:
    """Median, 95th percentile, worst and count; ``None`` for no values."""
    ordered = sorted(values)
    if not ordered:
        return None
    return {"median": statistics.median(ordered), "p95": p95(ordered), "worst": ordered[-1], "n": len(ordered)}


def p95(values: Sequence[float]) -> float:
    """The 95th percentile."""
    ordered = sorted(values)
    return ordered[round(0.95 * (len(ordered) - 1))]


def ratio(values: Sequence[float], before: Sequence[float]) -> tuple[float, float, float] | None:
    """Median over median, and the 95 % interval of it by bootstrap (2000 draws, always the same); ``None`` for less
    than three values on a side."""
    if len(values) < 3 or len(before) < 3 or statistics.median(before) <= 0:
        return None
    chance = np.random.default_rng(1)
    new, old = np.array(values), np.array(before)
    ratios = np.median(chance.choice(new, (BOOTSTRAPS, len(new))), axis=1) / np.maximum(
        1e-9, np.median(chance.choice(old, (BOOTSTRAPS, len(old))), axis=1)
    )
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(np.median(new) / np.median(old)), float(low), float(high)
