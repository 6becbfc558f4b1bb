"""What is measured: outliers do not count, and what lasts does."""

from __future__ import annotations

import pytest

from server.load.readings import Growth, Lateness, Reading, Waits


def beats(window: Lateness, *milliseconds: float) -> float:
    for one in milliseconds:
        window.add(one / 1000.0)
    return window.turn()


def test_what_lasts_counts():
    window = Lateness()
    for _ in range(4):
        late = beats(window, *[55.0] * 6)
    assert late == 60.0, "the upper bound of its class"


def test_one_long_pause_among_beats_counts_nothing():
    window = Lateness()
    for _ in range(4):
        beats(window, *[0.3] * 10)
    assert beats(window, 1900.0) == 1.0


def test_a_loop_that_is_blocked_again_and_again_beats_seldom_and_is_noticed_all_the_same():
    window = Lateness()
    for _ in range(4):
        late = beats(window, 600.0, 700.0)
    assert late == 1000.0


def test_a_few_are_no_proof_and_what_was_forgotten_is_none():
    window = Lateness()
    assert beats(window, 500.0) == 0.0
    beats(window, *[500.0] * 20)
    window.forget()
    assert beats(window, 1.0, 1.0, 1.0, 1.0) == 1.0


def test_what_comes_after_the_window_has_gone_by_counts_no_more():
    window = Lateness(periods=2)
    beats(window, *[90.0] * 10)
    beats(window, *[1.0] * 10)
    assert beats(window, *[1.0] * 10) == 1.0


def test_the_wait_is_what_is_queued_at_the_rate_of_late():
    waits = Waits()
    assert waits.expect("stt", 0.0, 0, 0) == 0.0
    assert waits.expect("stt", 1.0, 10, 5) == pytest.approx(0.5)
    assert waits.expect("stt", 2.0, 20, 0) == 0.0
    assert waits.expect("other", 2.0, 0, 3) == 0.0, "it has only been looked at once"


def test_a_worker_that_gets_nowhere_lets_wait_for_as_long_as_it_has():
    waits = Waits(periods=4)
    for second in range(4):
        wait = waits.expect("stt", float(second), 7, 2)
    assert wait == pytest.approx(3.0)
    waits.forget()
    assert waits.expect("stt", 9.0, 7, 2) == 0.0


def test_an_engine_is_slower_than_usual_only_while_others_are_served_too():
    growth = Growth()
    assert growth.beyond("llm", 0.2, 1) == 0.0
    assert growth.beyond("llm", 0.9, 1) == 0.0, "a long question"
    assert growth.beyond("llm", 0.9, 4) == pytest.approx(0.7, abs=0.01)
    assert growth.beyond("llm", 0.1, 4) == 0.0
    for _ in range(5000):
        growth.beyond("llm", 0.9, 4)
    assert growth.beyond("llm", 0.9, 4) < 0.01, "after a long while that is what is usual"


def test_a_reading_says_what_it_is():
    reading = Reading("engine_wait", 1234.5, 500.0, "ms", "moonshine")
    assert reading.pressure == pytest.approx(2.469)
    assert str(reading) == "engine_wait (moonshine) is 1234 ms, the limit 500 ms"
    assert (reading.cause.measure, reading.cause.value, reading.most) == ("engine_wait", 1234.5, 4)
    assert Reading("cpu", 99.0, 95.0, "%").most == 1
