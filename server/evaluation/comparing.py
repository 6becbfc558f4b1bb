"""Two runs side by side: ratios with bootstrap intervals, rates with Newcombe's, and which of them is a regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.evaluation.results import Result
from server.evaluation.statistics import difference, ratio, summary

LATENCY_MARGIN = 1.05
"""A ratio whose interval lies above it is a regression: less is what the same machine does to itself."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of two runs."""

    figure: str
    before: str
    now: str
    change: str
    """With its 95 % interval."""
    regressed: bool
    """Significantly worse."""


def compared(results: Sequence[Result], baseline: Sequence[Result]) -> list[Comparison]:
    """What can be compared: scenarios (with their variants) that both runs have played."""
    both = {one.title for one in results if not one.skipped} & {one.title for one in baseline if not one.skipped}
    new, old = ([one for one in run if one.title in both and not one.skipped] for run in (results, baseline))
    if not both:
        return []
    told = [_rate("passed", new, old)]
    for figure, field in (("end of speech → first sound", "latencies_ms"), ("interruption → silence", "stops_ms")):
        values, before = ([v for one in run for v in getattr(one, field) if v >= 0] for run in (new, old))
        found, now, then = ratio(values, before), summary(values), summary(before)
        if found is not None and now is not None and then is not None:
            middle, low, high = found
            change = f"× {middle:.2f} ({low:.2f} to {high:.2f})"
            told.append(Comparison(figure, _median(then), _median(now), change, low > LATENCY_MARGIN))
    told.append(_cutoffs(new, old))
    return told


def _median(one: dict[str, float]) -> str:
    return f"{one['median']:.0f} ms (n {one['n']})"


def _rate(figure: str, new: Sequence[Result], old: Sequence[Result]) -> Comparison:
    counts = [(sum(one.passed for one in run), len(run)) for run in (new, old)]
    low, high = difference(*counts[0], *counts[1])
    (now, number), (then, number_before) = counts
    change = f"{100 * (now / number - then / number_before):+.0f} points ({100 * low:+.0f} to {100 * high:+.0f})"
    return Comparison(figure, f"{then} of {number_before}", f"{now} of {number}", change, high < 0)


def _cutoffs(new: Sequence[Result], old: Sequence[Result]) -> Comparison:
    cuts, turns = ([sum(f(one) for one in run) for run in (new, old)] for f in (lambda r: r.cutoffs, _spoken))
    low, high = difference(min(cuts[0], turns[0]), turns[0], min(cuts[1], turns[1]), turns[1])
    change = f"({100 * low:+.0f} to {100 * high:+.0f} points)" if all(turns) else ""
    return Comparison(
        "turns cut off", f"{cuts[1]} of {turns[1]}", f"{cuts[0]} of {turns[0]}", change, bool(all(turns)) and low > 0
    )


def _spoken(result: Result) -> int:
    return max(len(result.wers), result.cutoffs)
