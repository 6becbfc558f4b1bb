"""Starts are remembered for as long as somebody may come with an offer, and never too many."""

from __future__ import annotations

import pytest

from server.dialects.openai.fields import SessionPatch
from server.http.signaling.starts import MOST_STARTS, START_SECONDS, Start, Starts
from tests.fakes.clock import FakeClock

WISHES = SessionPatch()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def living() -> set[str]:
    return set()


@pytest.fixture
def starts(clock: FakeClock, living: set[str]) -> Starts:
    return Starts(clock, living.__contains__)


def test_a_start_waits_for_its_offer_and_is_then_forgotten(starts, clock):
    start = starts.add(WISHES)
    clock.advance(START_SECONDS - 1)
    assert starts.find(start.id) is start
    clock.advance(2)
    assert starts.find(start.id) is None
    assert starts.find("nobody") is None


def test_a_start_is_valid_while_its_session_may_go_on(starts, clock, living):
    start = starts.add(WISHES)
    living.add("sess")
    starts.begun(start, "sess")
    clock.advance(100 * START_SECONDS)
    assert starts.find(start.id) is start
    starts.add(WISHES)  # which tidies up
    assert starts.find(start.id) is start
    living.clear()
    assert starts.find(start.id) is None


def test_sessions_that_are_over_are_not_kept(starts, living):
    start = starts.add(WISHES)
    for name in ("one", "two", "three"):
        living.clear()
        living.add(name)
        starts.begun(start, name)
    assert start.sessions == ["three"]


def test_the_oldest_start_that_nobody_uses_makes_room(starts, living):
    made: list[Start] = [starts.add(WISHES) for _ in range(MOST_STARTS)]
    living.add("sess")
    starts.begun(made[0], "sess")
    starts.add(WISHES)
    assert starts.find(made[0].id) is made[0]
    assert starts.find(made[1].id) is None
    assert starts.find(made[2].id) is made[2]
    for start in made:
        starts.begun(start, "sess")
    starts.add(WISHES)
    assert len(starts._starts) == MOST_STARTS
