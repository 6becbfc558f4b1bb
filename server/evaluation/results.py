"""Results of scenarios: one played once, all attempts of one together, and all of a run in figures; as JSON lines and
as JUnit's XML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from server.evaluation.judging.observed import Observed
from server.evaluation.judging.verdicts import Verdict, cut_off, judged
from server.evaluation.judging.words import word_error_rate
from server.evaluation.scenario import Scenario, Score
from server.evaluation.statistics import p95, summary, wilson
from server.evaluation.steps import PAUSE_MARK
from server.settings import SettingsError


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
    variant: str = ""
    """Which of the scenario's matrix."""
    config: str = ""
    """The settings file of the server, or its address."""
    cutoffs: int = 0
    """Turns that were ended before their last word."""
    ducks_ms: tuple[float, ...] = ()
    wers: tuple[float, ...] = ()
    """Share of words misunderstood, of each spoken turn."""
    hearer: str = ""
    """The client's recogniser, where one was needed."""
    skipped: str = ""
    """Why it was not played; empty when it was."""

    @property
    def passed(self) -> bool:
        """Whether all that was expected came about; opinions do not count."""
        return all(verdict.passed or verdict.soft for verdict in self.verdicts)

    @property
    def title(self) -> str:
        """Its name, and what of the matrix it is."""
        return f"{self.name} ({self.variant})" if self.variant else self.name

    def line(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "passed": self.passed}


def result_of(scenario: Scenario, observed: Observed, attempt: int, config: str = "") -> Result:
    """Judge what was observed."""
    turns = range(len(observed.spoken))
    free = [n for n in turns if scenario.turns[n].spoken and scenario.turns[n].is_answered]
    latencies = [observed.latency_ms(n) for n in free]
    barged = [n for n in turns if scenario.turns[n].wants("stopped")]
    stops, ducks = [observed.stop_ms(n) for n in barged], [observed.duck_ms(n) for n in barged]
    cuts = [n for n in turns if scenario.turns[n].spoken and cut_off(observed, n)[0]]
    texts = {n: observed.texts.get(n, scenario.turns[n].words or "").replace(PAUSE_MARK, " ") for n in free}
    return Result(
        scenario.name,
        attempt,
        tuple(judged(scenario, observed)),
        tuple(round(value, 1) for value in latencies if value is not None),
        tuple(round(value, 1) for value in stops if value is not None),
        tuple(observed.understood(n) for n in turns),
        tuple(observed.answered(n) for n in turns),
        variant=scenario.variant,
        config=config,
        cutoffs=len(cuts),
        ducks_ms=tuple(round(value, 1) for value in ducks if value is not None),
        wers=tuple(round(word_error_rate(text, observed.understood(n)), 3) for n, text in texts.items() if text),
        hearer=observed.hearer,
    )


def skipped(scenario: Scenario, reason: str, config: str = "") -> Result:
    """One that was not played."""
    return Result(scenario.name, 1, (), (), (), (), (), scenario.variant, config, skipped=reason)


@dataclass(frozen=True, slots=True)
class Group:
    """All attempts and variants of one scenario with one server, held to its score."""

    name: str
    config: str
    results: tuple[Result, ...]
    missed: tuple[Verdict, ...]
    """What of the score was not reached."""

    @property
    def passed(self) -> bool:
        """Whether enough of them passed, and the score was reached."""
        return not self.missed

    @property
    def rate(self) -> tuple[int, int]:
        """How many passed, and how many there are."""
        return sum(one.passed for one in self.results), len(self.results)


def grouped(results: Sequence[Result], scores: dict[str, Score]) -> list[Group]:
    """The results that were played, by scenario and server, in the order of their first."""
    keys = dict.fromkeys((one.name, one.config) for one in results if not one.skipped)
    groups = []
    for name, config in keys:
        own = tuple(one for one in results if (one.name, one.config) == (name, config))
        groups.append(Group(name, config, own, tuple(_missed(own, scores.get(name, Score())))))
    return groups


def _missed(results: Sequence[Result], score: Score) -> list[Verdict]:
    missed: list[Verdict] = []
    passed = sum(one.passed for one in results)
    least = 1.0 if score.pass_rate_min is None else score.pass_rate_min
    if passed < least * len(results) - 1e-9:
        kinds = [verdict.kind for one in results for verdict in one.verdicts if not (verdict.passed or verdict.soft)]
        first = kinds[0] if kinds else "refused"
        missed.append(Verdict(-1, "score pass_rate_min", False, first, f"{passed} of {len(results)} passed"))
    latencies = [value for one in results for value in one.latencies_ms if value >= 0]
    if score.latency_p95_ms is not None and latencies and p95(latencies) > score.latency_p95_ms:
        told = f"the 95th percentile of the latency is {p95(latencies):.0f} ms, not {score.latency_p95_ms:.0f}"
        missed.append(Verdict(-1, "score latency_p95_ms", False, "late", told, "samples/1"))
    cuts = sum(one.cutoffs for one in results)
    if score.false_cutoffs_max is not None and cuts > score.false_cutoffs_max:
        told = f"{cuts} turns were ended before their last word"
        missed.append(Verdict(-1, "score false_cutoffs_max", False, "cut_off", told, "samples/1"))
    return missed


def figures(results: Sequence[Result]) -> dict[str, Any]:
    """Of all results together; those that were skipped do not count."""
    played = [result for result in results if not result.skipped]
    passed = sum(result.passed for result in played)
    return {
        "passed": passed,
        "scenarios": len(played),
        "skipped": len(results) - len(played),
        "pass_rate_interval": wilson(passed, len(played)),
        "voice_to_voice_ms": summary([value for result in played for value in result.latencies_ms if value >= 0]),
        "stop_ms": summary([value for result in played for value in result.stops_ms]),
        "duck_ms": summary([value for result in played for value in result.ducks_ms]),
        "early": sum(value < 0 for result in played for value in result.latencies_ms),
        "cutoffs": sum(result.cutoffs for result in played),
        "wer": summary([value for result in played for value in result.wers]),
    }


def json_lines(results: Sequence[Result]) -> str:
    """A line for each result."""
    return "".join(json.dumps(result.line(), ensure_ascii=False) + "\n" for result in results)


def read_lines(path: Path) -> list[Result]:
    """Results of an earlier run. Raises :class:`SettingsError` for a file that holds none."""
    try:
        found = []
        for line in path.read_text("utf-8").splitlines():
            told: dict[str, Any] = json.loads(line)
            told.pop("passed", None)
            told["verdicts"] = tuple(Verdict(**one) for one in told["verdicts"])
            fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in told.items()}
            found.append(Result(**fields))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SettingsError(f"--baseline: {path} holds no results of visavis eval: {error}") from error
    if not found:
        raise SettingsError(f"--baseline: {path} is empty")
    return found


def junit(results: Sequence[Result], groups: Sequence[Group] = ()) -> str:
    """A test case for each result, with a failure for each expectation that did not come about, and one for each group
    whose score was not reached though its results passed, or some of them."""
    scores = [group for group in groups if group.missed and any(one.passed for one in group.results)]
    failed = sum(not result.passed for result in results) + len(scores)
    skips = sum(bool(one.skipped) for one in results)
    told = {"tests": len(results) + len(scores), "failures": failed, "skipped": skips}
    suite = ElementTree.Element("testsuite", {"name": "visavis eval", **{k: str(v) for k, v in told.items()}})
    for result in results:
        name = f"{result.title} {result.attempt}"
        case = ElementTree.SubElement(suite, "testcase", classname=_owner(result.config), name=name)
        if result.skipped:
            ElementTree.SubElement(case, "skipped", message=result.skipped)
        for one in result.verdicts:
            if not (one.passed or one.soft):
                message = f"turn {one.turn + 1}, {one.expected}: {one.message}"
                ElementTree.SubElement(case, "failure", type=one.kind, message=message)
    for group in scores:
        case = ElementTree.SubElement(suite, "testcase", classname=_owner(group.config), name=f"{group.name} score")
        for one in group.missed:
            ElementTree.SubElement(case, "failure", type=one.kind, message=f"{one.expected}: {one.message}")
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _owner(config: str) -> str:
    return f"visavis.eval.{config}" if config else "visavis.eval"
