"""Results of scenarios: as JSON lines, as JUnit's XML, and in figures."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from xml.etree import ElementTree

from server.evaluation.observed import Observed, Verdict, judged
from server.evaluation.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Result:
    """One scenario played once."""

    name: str
    attempt: int
    verdicts: tuple[Verdict, ...]
    latencies_ms: tuple[float, ...]
    """Of the spoken turns that were answered with sound and came at no fixed moment."""
    stops_ms: tuple[float, ...]
    understood: tuple[str, ...]
    answered: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether all that was expected came about."""
        return all(verdict.passed for verdict in self.verdicts)

    def line(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "passed": self.passed}


def result_of(scenario: Scenario, observed: Observed, attempt: int) -> Result:
    """Judge what was observed."""
    turns = range(len(observed.spoken))
    latencies = [observed.latency_ms(n) for n in turns if scenario.turns[n].say and scenario.turns[n].is_answered]
    stops = [observed.stop_ms(n) for n in turns if any(word == "stopped" for word, _ in scenario.turns[n].expect)]
    return Result(
        scenario.name,
        attempt,
        tuple(judged(scenario, observed)),
        tuple(round(value, 1) for value in latencies if value is not None),
        tuple(round(value, 1) for value in stops if value is not None),
        tuple(observed.understood(n) for n in turns),
        tuple(observed.answered(n) for n in turns),
    )


def wilson(passed: int, number: int) -> tuple[float, float]:
    """The 95 % interval of a rate (Wilson 1927)."""
    if not number:
        return 0.0, 1.0
    z, rate = 1.96, passed / number
    middle = rate + z * z / (2 * number)
    spread = z * math.sqrt(rate * (1 - rate) / number + z * z / (4 * number * number))
    return max(0.0, (middle - spread) / (1 + z * z / number)), min(1.0, (middle + spread) / (1 + z * z / number))


def summary(values: Sequence[float]) -> dict[str, float] | None:
    """Median, 95th percentile, worst and count; ``None`` for no values."""
    ordered = sorted(values)
    if not ordered:
        return None
    p95 = ordered[round(0.95 * (len(ordered) - 1))]
    return {"median": statistics.median(ordered), "p95": p95, "worst": ordered[-1], "n": len(ordered)}


def figures(results: Sequence[Result]) -> dict[str, Any]:
    """Of all results together."""
    passed = sum(result.passed for result in results)
    return {
        "passed": passed,
        "scenarios": len(results),
        "pass_rate_interval": wilson(passed, len(results)),
        "voice_to_voice_ms": summary([value for result in results for value in result.latencies_ms if value >= 0]),
        "stop_ms": summary([value for result in results for value in result.stops_ms]),
        "early": sum(value < 0 for result in results for value in result.latencies_ms),
    }


def json_lines(results: Sequence[Result]) -> str:
    """A line for each result."""
    return "".join(json.dumps(result.line(), ensure_ascii=False) + "\n" for result in results)


def junit(results: Sequence[Result]) -> str:
    """A test case for each result, with a failure for each expectation that did not come about."""
    failed = sum(not result.passed for result in results)
    suite = ElementTree.Element("testsuite", name="visavis eval", tests=str(len(results)), failures=str(failed))
    for result in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname="visavis.eval", name=f"{result.name} {result.attempt}"
        )
        for one in result.verdicts:
            if not one.passed:
                message = f"turn {one.turn + 1}, {one.expected}: {one.message}"
                ElementTree.SubElement(case, "failure", type=one.kind, message=message)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
