"""What a soak, a thousand calls and a fault conclude from their records."""

from __future__ import annotations

import pytest

from tests.benchmarks import chaos, many_calls
from tests.benchmarks.faults import Fault, table
from tests.benchmarks.soak import log_counts
from tests.benchmarks.soak_report import Limits, broken, slope, slower, summary

HOUR = 3600.0


def record(growth: float = 0.0, late: float = 1.0, kept: int = 0) -> list[dict]:
    """An hour: memory grows by so many MB, answers get so many times as slow, and so much is kept."""

    def sample(at: float, phase: str, **more: object) -> dict:
        told = {"rss_mb": 1000 + growth * at / HOUR + (at * 7 % 5), "pss_mb": 1200, "objects": 9, "cpu_s": at / 10}
        held = {"tasks": 10, "threads": 40, "descriptors": 20, "late_ms": 5}
        return {"kind": "sample", "at": at, "phase": phase, **told, **held, **more}

    turns = [
        {"kind": "turn", "at": at, "did": "speak", "unanswered": False, "errors": [], "took": 5.0,
         "voice_ms": (700 + at % 90) * (late if at > 0.8 * HOUR else 1)}
        for at in range(5, 3600, 10)
    ]  # fmt: skip
    samples = [sample(at, "talking") for at in range(10, 3600, 10)]
    end = sample(HOUR + 20, "idle", tasks=10 + kept)
    return [sample(0, "idle"), *samples, *turns, end]


CLEAN = {"tracebacks": 0}


def test_an_hour_in_which_nothing_happens_breaks_nothing():
    assert broken(summary(record(), 0.0), CLEAN, Limits()) == []


@pytest.mark.parametrize(
    ("wrong", "log", "words"),
    [
        (record(growth=40), CLEAN, "rss_mb grows by"),
        (record(late=1.6), CLEAN, "answers come"),
        (record(kept=30), CLEAN, "tasks: 10 before, 40"),
        (record(), {"tracebacks": 2}, "2 tracebacks in the log"),
    ],
)
def test_what_grows_slows_or_stays_breaks_a_limit(wrong, log, words):
    (reason,) = broken(summary(wrong, 0.0), log, Limits())
    assert reason.startswith(words)


def test_a_model_that_is_used_for_the_first_time_is_no_growth_but_told():
    lines = record()
    for line in lines:
        if line["kind"] == "sample" and line["at"] > 1000:
            line["models_loaded"] = 1
            line["rss_mb"] += 200
    told = summary(lines, 0.0)
    assert (told["models_loaded_at"], told["slopes_from"]) == ([1010], 1130)
    assert told["rss_mb_of_all"][1] - told["rss_mb_of_all"][0] > 150
    assert broken(told, CLEAN, Limits()) == []
    late = [{**line, "models_loaded": int(line.get("at", 0) > 3000)} for line in record(growth=40)]
    assert "rss_mb grows by" in broken(summary(late, 0.0), CLEAN, Limits())[0], "too little comes after it"


def test_turns_that_nobody_answers_are_counted():
    lines = record()
    for turn in [line for line in lines if line["kind"] == "turn"][:20]:
        turn["unanswered"] = True
    assert any("turns unanswered" in reason for reason in broken(summary(lines, 0.0), CLEAN, Limits()))


def test_a_slope_has_an_interval_that_holds_what_is_true():
    noisy = [(at, 100 + 12 * at / HOUR + at * 7919 % 13) for at in range(0, 3600, 10)]
    point, low, high = slope(noisy)
    assert low < 12 < high and point == pytest.approx(12, abs=3)
    assert slope(noisy[:20])[1] < -1e9, "of three minutes nothing is said"
    ratio, low, high = slower([100.0, 110, 90] * 9, [200.0, 220, 180] * 9)
    assert low <= ratio == 2.0 <= high


def test_lines_of_the_log_that_must_not_be_there():
    log = b"[11/29/26 13:28:27] ERROR    no\n   INFO  an ERROR of somebody's\nTraceback (most recent call last):\n"
    assert log_counts(log) == {"tracebacks": 1, "errors": 1, "tasks never awaited": 0}


def test_killed_calls_are_spread_evenly_and_what_is_kept_is_told():
    assert [many_calls.is_killed(n, 25) for n in range(8)] == [False, False, False, True] * 2
    held = {"rss_mb": 300.0, "descriptors": 19, "tasks": 5, "threads": 39}
    assert many_calls.kept(held, held) == []
    (reason,) = many_calls.kept(held, {**held, "descriptors": 40})
    assert reason.startswith("descriptors: 21 more")


def test_every_fault_has_words_and_a_name_of_its_own(tmp_path):
    faults = table()
    assert len(faults) >= 18
    for name, fault in faults.items():
        assert fault.name == name and fault.words and fault(tmp_path).missing() is not None


def test_a_fault_may_do_what_its_class_allows_and_no_more(tmp_path):
    calm = {"alive": True, "recovered_s": 3.0, "turns_lost": 1, "turns_lost_after": 0, "calls_lost": 0, "log": CLEAN}
    calm["gap_ms"] = {"before": 25.0}
    fault = Fault(tmp_path)
    assert chaos.broken(calm, fault) == []
    for worse in (
        {"alive": False}, {"recovered_s": None}, {"turns_lost": 9}, {"turns_lost_after": 1}, {"calls_lost": 1},
        {"log": {"tracebacks": 1}}, {"held": dict.fromkeys(chaos.HELD, (5, 50))},
    ):  # fmt: skip
        assert chaos.broken({**calm, **worse}, fault), worse


def test_all_is_well_when_every_caller_had_an_answer_to_what_it_said_after():
    lines = [
        {"kind": "turn", "caller": caller, "at": at, "took": 5.0, "unanswered": lost}
        for caller, at, lost in ((0, 12.0, False), (0, 30.0, False), (1, 31.0, True), (1, 44.0, False))
    ]
    kept = type("Kept", (), {"lines": lines})()
    assert chaos.answered_since(kept, 2, 10.0) == 44.0
    assert chaos.answered_since(kept, 2, 40.0) is None


def test_the_report_has_each_fault_once_as_it_was_the_last_time():
    first = {
        "fault": "stopped-20", "load": 1.0, "gap_ms": {"before": 25.0, "during": 20100.0, "after": None},
        "recovered_s": None, "turns_met": 3, "turns_lost": 1, "turns_lost_after": 0, "calls_lost": 2,
    }  # fmt: skip
    text = chaos.markdown([first, {**first, "recovered_s": 9.5, "calls_lost": 0}], table())
    (line,) = text.splitlines()[2:]
    assert line == "| `stopped-20`: SIGSTOP to the server for 20 s | 25, 20100, – | 3, 1 | 0 | 9.5 s | 1 |"
