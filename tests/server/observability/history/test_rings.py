"""Rings: what is recent is fine, what is old is coarse, nothing grows, and a gap is a gap."""

from __future__ import annotations

import math

from server.observability.history.book import KEPT_SECONDS, MOST_BYTES, MOST_CURVES, MOST_SESSIONS, Book, Question
from server.observability.history.rings import RESOLUTIONS, Curve, Point, Ring, bytes_of
from server.observability.history.series import Sample, key


def values(points: list[Point]) -> list[tuple[float, float]]:
    return [(point.time, round(point.mean, 3)) for point in points]


def test_a_ring_keeps_the_mean_and_the_peak_of_its_last_slots():
    ring = Ring(10.0, 3)
    for time, value in ((0, 1.0), (4, 3.0), (12, 5.0), (25, 7.0), (31, 9.0)):
        ring.add(time, value)
    assert ring.between(0, 40, 10.0) == [Point(10.0, 5.0, 5.0), Point(20.0, 7.0, 7.0), Point(30.0, 9.0, 9.0)]
    assert (ring.knows(9.0), ring.knows(10.0)) == (False, True)
    other = Ring(10.0, 3)
    other.add(1, 1.0)
    other.add(4, 3.0)
    assert other.between(0, 10, 10.0) == [Point(0.0, 2.0, 3.0)]


def test_a_pause_longer_than_the_ring_leaves_nothing_old_behind():
    ring = Ring(1.0, 4)
    for time in range(4):
        ring.add(time, 1.0)
    ring.add(1_000_000, 2.0)
    assert values(ring.between(0, 2_000_000, 1.0)) == [(1_000_000.0, 2.0)]


def test_a_time_that_goes_back_counts_for_the_latest_slot():
    ring = Ring(1.0, 4)
    ring.add(10, 1.0)
    ring.add(3, 3.0)
    assert values(ring.between(0, 20, 1.0)) == [(10.0, 2.0)]


def test_three_days_are_known_and_the_last_minutes_by_the_second():
    curve = Curve()
    for time in range(0, 4 * 86_400, 30):
        curve.add(time, time)
    end = 4 * 86_400
    assert len(curve.between(end - 60, end, 1)) == 2
    hours = curve.between(end - 3 * 86_400 + 240, end, 3600)
    assert len(hours) == 72
    assert math.isclose(hours[-1].mean, hours[-2].mean + 3600, rel_tol=0.01)
    assert curve.between(0, end, 120)[0].time >= end - 3 * 86_400, "no more than it says"


def test_a_step_finer_than_what_is_left_gets_what_is_left():
    curve = Curve()
    for time in range(3000):
        curve.add(time, 1.0)
    points = curve.between(0, 3000, 1)
    assert points[0].time == 0
    assert len(points) == 300, "of ten seconds each: the second ones reach back ten minutes only"


def test_the_memory_of_the_book_is_bounded_and_stated():
    book, sample = Book(), Sample()
    for n in range(3 * MOST_CURVES):
        sample.put("visavis_engine_errors_total", 1.0, engine=f"engine {n}")
    for n in range(3 * MOST_SESSIONS):
        sample.put("visavis_session_latency_ms", 1.0, session=f"sess_{n}")
    book.add(0.0, sample)
    assert len(book.keys()) == MOST_CURVES + MOST_SESSIONS
    assert book.refused == 2 * (MOST_CURVES + MOST_SESSIONS)
    assert bytes_of(RESOLUTIONS) == 8 * (600 + 1080 + 2160)
    assert MOST_BYTES < 9 << 20


def test_a_session_is_forgotten_some_time_after_its_end_and_makes_room():
    book, sample = Book(), Sample()
    sample.put("visavis_session_latency_ms", 300.0, session="sess_a")
    sample.put("visavis_sessions", 1.0)
    book.add(0.0, sample, ["sess_a"])
    only = Question((), 0.0, 10.0, 1.0, "sess_a")
    assert list(book.ask(only)) == [key("visavis_session_latency_ms", session="sess_a")]
    book.add(KEPT_SECONDS - 1, Sample())
    assert book.ask(only)
    book.add(KEPT_SECONDS + 1, Sample())
    assert not book.ask(only)
    assert book.keys() == [key("visavis_sessions")]
