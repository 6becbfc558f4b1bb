"""Timestamps that can be relied on, whatever a camera says."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.video_timing import FrameRate, RateMeter, Timeline


def placed(*pictures: tuple[float | None, float]) -> tuple[list[float], int]:
    timeline = Timeline()
    return [timeline.place(seconds, arrived) for seconds, arrived in pictures], timeline.repaired


def test_good_timestamps_pass_unchanged_even_after_a_pause():
    times = [7.0, 7.033, 7.067, 7.1, 19.5]
    assert placed(*[(time, time + 100.2) for time in times]) == (times, 0)


def test_jitter_of_arrival_does_not_matter():
    times = [0.0, 0.033, 0.067, 0.1]
    assert placed(*zip(times, [5.0, 5.5, 5.51, 5.52], strict=True)) == (times, 0)


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (None, 1.1),
        (1.0, 1.1),  # the same again
        (0.4, 1.1),  # backwards
        (900.0, 1.1),  # a jump
        (-3.0, 1.1),
    ],
)
def test_a_broken_timestamp_becomes_the_time_of_arrival(broken, expected):
    times, repaired = placed((1.0, 50.0), (broken, 50.1))
    assert times == pytest.approx([1.0, expected])
    assert repaired == 1


def test_after_a_jump_the_distances_are_kept():
    times, repaired = placed((1.0, 50.0), (1.1, 50.1), (900.0, 50.2), (900.1, 50.31), (900.2, 50.39))
    assert times == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4])
    assert repaired == 1


def test_a_clock_that_stands_still_follows_arrival():
    times, repaired = placed(*[(1.0, 50.0 + 0.04 * n) for n in range(5)])
    assert times == pytest.approx([1.0, 1.04, 1.08, 1.12, 1.16])
    assert repaired == 4


def test_nothing_to_begin_with():
    assert placed((None, 3.0), (None, 3.5), (0.2, 3.6)) == (pytest.approx([0.0, 0.5, 0.6]), 3)


@given(st.lists(st.tuples(st.none() | st.floats(-1e6, 1e6), st.floats(0, 10)), min_size=2))
def test_media_time_always_increases_and_never_leaves_real_time(pictures):
    timeline, arrived, times, arrivals = Timeline(), 0.0, [], []
    for seconds, pause in pictures:
        arrived += pause
        times.append(timeline.place(seconds, arrived))
        arrivals.append(arrived)
    assert all(after > before for before, after in itertools.pairwise(times))
    drift = (times[-1] - times[0]) - (arrivals[-1] - arrivals[0])
    assert abs(drift) <= 1.0 * len(times)


def test_a_frame_rate_thins_out_evenly():
    rate = FrameRate()
    taken = [n for n in range(30) if rate.takes(n / 30, 10.0)]
    assert taken == list(range(0, 30, 3))
    assert all(rate.takes(1.0 + n / 30, None) for n in range(5))


def test_a_camera_slower_than_the_frame_rate_loses_nothing():
    rate = FrameRate()
    assert all(rate.takes(n / 15 + (0.004 if n % 2 else 0.0), 15.0) for n in range(30))


def test_after_a_pause_the_frame_rate_does_not_catch_up():
    rate = FrameRate()
    assert [rate.takes(time, 10.0) for time in (0.0, 5.0, 5.02, 5.1)] == [True, True, False, True]


def test_rate():
    meter = RateMeter(over=4)
    assert meter.rate is None
    for n in range(10):
        meter.tick(n * 0.1)
    assert meter.rate == pytest.approx(10.0)
