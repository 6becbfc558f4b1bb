"""The level that follows measurements: up quickly, down slowly, and no flapping, whatever is measured."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.load.level import (
    CALM,
    FALL_SECONDS,
    FORGIVE_SECONDS,
    GAP_SECONDS,
    LONGEST_FALL_SECONDS,
    QUICK_SECONDS,
    REGRET_SECONDS,
    RISE_SECONDS,
    Level,
)
from server.load.readings import HIGHEST, Measure, Reading

TICK = 0.5


def reading(pressure: float, measure: Measure = "event_loop") -> Reading:
    return Reading(measure, 40.0 * pressure, 40.0, "ms")


class Driven:
    """A level, fed twice a second."""

    def __init__(self, level: Level | None = None) -> None:
        self.level = level or Level()
        self.now = 100.0
        self.changes: list[tuple[float, int]] = []

    def feed(self, seconds: float, *readings: Reading) -> int:
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            if self.level.update(self.now, readings):
                self.changes.append((self.now, self.level.value))
        return self.level.value


def test_it_rises_one_step_after_another_and_waits_what_each_has_brought():
    driven = Driven()
    assert driven.feed(60.0, reading(1.1)) == HIGHEST
    assert [value for _, value in driven.changes] == [1, 2, 3, 4]
    apart = [b - a for (a, _), (b, _) in zip(driven.changes, driven.changes[1:], strict=False)]
    assert apart == pytest.approx([RISE_SECONDS] * 3)


def test_far_above_the_limit_it_rises_faster():
    driven = Driven()
    driven.feed(6.0, reading(3.0))
    assert driven.level.value == HIGHEST
    assert driven.changes[-1][0] - driven.changes[0][0] < 3 * RISE_SECONDS


def test_it_stays_while_the_load_is_neither_too_much_nor_calm():
    driven = Driven()
    before = driven.feed(3.0, reading(1.2))
    assert before > 0
    assert driven.feed(120.0, reading((1 + CALM) / 2)) == before


def test_it_falls_slowly_and_the_reason_goes_with_the_last_step():
    driven = Driven()
    driven.feed(20.0, reading(2.5))
    assert driven.level.reason is not None and driven.level.reason.measure == "event_loop"
    driven.changes.clear()
    driven.feed(60.0, reading(0.1))
    assert [value for _, value in driven.changes] == [3, 2, 1, 0]
    apart = [b - a for (a, _), (b, _) in zip(driven.changes, driven.changes[1:], strict=False)]
    assert apart == pytest.approx([FALL_SECONDS] * 3)
    assert driven.level.reason is None


def test_the_reason_is_the_strongest_measurement_as_it_is_now():
    driven = Driven()
    driven.feed(3.0, reading(1.5, "sound"), reading(1.1))
    driven.feed(1.0, reading(0.9, "sound"), reading(0.9))
    assert driven.level.reason == reading(0.9, "sound")
    assert str(driven.level.reason) == "sound is 36 ms, the limit 40 ms"


def test_a_busy_processor_alone_leads_no_further_than_its_own_level():
    driven = Driven()
    assert driven.feed(60.0, Reading("cpu", 100.0, 95.0, "%")) == 1
    assert driven.feed(60.0, Reading("cpu", 400.0, 95.0, "%"), reading(0.1)) == 1


def test_a_busy_processor_does_not_hold_a_level_that_it_would_not_lead_to():
    driven = Driven()
    cpu = Reading("cpu", 100.0, 95.0, "%")
    driven.feed(30.0, reading(2.0), cpu)
    assert driven.feed(120.0, reading(0.1), cpu) == 1


def test_one_reading_proves_nothing():
    driven = Driven()
    driven.feed(10.0, reading(0.1))
    driven.feed(TICK, reading(50.0))
    assert driven.feed(10.0, reading(0.1)) == 0
    assert not driven.changes


@pytest.mark.parametrize("jump", [GAP_SECONDS + 1.0, 3600.0, -50.0])
def test_a_machine_that_was_suspended_proves_nothing(jump: float):
    driven = Driven()
    driven.feed(1.5, reading(1.2))
    driven.now += jump
    assert driven.feed(RISE_SECONDS - TICK, reading(1.2)) == 0, "it begins to wait anew"
    assert driven.feed(3 * TICK, reading(1.2)) == 1


def test_a_level_that_was_left_too_soon_is_left_later_the_next_time():
    driven = Driven()
    waits: list[float] = []
    for _ in range(6):
        driven.feed(RISE_SECONDS + TICK, reading(1.2))
        assert driven.level.value == 1
        begun = driven.now
        while driven.feed(TICK, reading(0.1)):
            pass
        waits.append(driven.now - begun)
    assert waits[1] > 1.5 * waits[0]
    assert waits == sorted(waits)
    assert waits[-1] <= LONGEST_FALL_SECONDS + 2 * TICK
    driven.feed(FORGIVE_SECONDS + 1.0, reading(0.1))
    driven.feed(RISE_SECONDS + TICK, reading(1.2))
    begun = driven.now
    while driven.feed(TICK, reading(0.1)):
        pass
    assert driven.now - begun <= FALL_SECONDS + 2 * TICK


PRESSURES = st.lists(st.tuples(st.sampled_from((0.1, 0.5, 0.69, 0.8, 1.0, 1.5, 5.0)), st.integers(1, 30)), max_size=40)


@given(PRESSURES)
@settings(max_examples=40, deadline=None)
def test_whatever_is_measured_it_takes_single_steps_and_never_flaps(course: list[tuple[float, int]]):
    driven = Driven()
    seen: list[float] = []
    for pressure, ticks in course:
        for _ in range(ticks):
            driven.feed(TICK, reading(pressure))
            seen.append(pressure)
    values = [0, *(value for _, value in driven.changes)]
    assert all(abs(b - a) == 1 for a, b in itertools.pairwise(values))
    assert all(0 <= value <= HIGHEST for value in values)
    for (then, before), (now, after) in zip(driven.changes, driven.changes[1:], strict=False):
        assert now - then >= (QUICK_SECONDS if after > before else FALL_SECONDS) - 1e-9
    falls = [now for (_, a), (now, b) in zip(driven.changes, driven.changes[1:], strict=False) if b < a]
    assert all(b - a >= FALL_SECONDS - 1e-9 for a, b in itertools.pairwise(falls))
    if seen and max(seen) < 1.0:
        assert not driven.changes


@given(st.integers(1, 6), st.integers(1, 60))
@settings(max_examples=15, deadline=None)
def test_a_load_that_swings_is_answered_ever_more_seldom(up: int, down: int):
    driven = Driven()
    for _ in range(40):
        driven.feed(up, reading(1.5))
        driven.feed(down, reading(0.1))
    lasting = driven.now - 100.0
    rounds = sum(1 for (_, a), (_, b) in zip(driven.changes, driven.changes[1:], strict=False) if b > a)
    assert len(driven.changes) <= 2 * HIGHEST + lasting / FALL_SECONDS * 2
    if down < REGRET_SECONDS / 2:
        assert rounds <= HIGHEST + lasting / 8
