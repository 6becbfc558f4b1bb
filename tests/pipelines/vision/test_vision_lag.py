"""When vision falls behind is told once, and when it has caught up; and how a session paces itself."""

from __future__ import annotations

import pytest

from pipelines.vision.detect import LagWatch, Pace, VisionCaughtUp, VisionFellBehind


def told(lags: list[float], watch: LagWatch, start: float = 0.0) -> list[tuple[str, float]]:
    events = [watch.update(lag, start + n / 10, 10.0) for n, lag in enumerate(lags)]
    return [(type(event).__name__, round(event.time, 1)) for event in events if event is not None]


def test_falling_behind_and_catching_up_are_told_once_each():
    watch = LagWatch()
    lags = [0.1] * 10 + [0.8] * 30 + [0.1] * 30
    assert told(lags, watch) == [(VisionFellBehind.__name__, 2.0), (VisionCaughtUp.__name__, 5.0)]
    assert not watch.behind


def test_one_slow_picture_is_no_news():
    assert told(([0.1] * 5 + [0.9] * 5) * 5, LagWatch()) == []


def test_lag_at_the_limit_does_not_flutter():
    watch = LagWatch(limit=0.4)
    assert len(told([0.55, 0.45] * 50, watch)) == 0
    assert len(told([0.6] * 20 + [0.45] * 50, watch, 20.0)) == 1
    assert watch.behind


def test_rare_looks_that_were_asked_for_are_no_lag():
    watch = LagWatch()
    assert [watch.update(1.2, n / 10, 1.0) for n in range(50)] == [None] * 50


def test_time_that_goes_back_is_survived():
    watch = LagWatch()
    watch.update(0.9, 100.0, 10.0)
    assert told([0.9] * 15, watch) == [(VisionFellBehind.__name__, 1.0)]


@pytest.mark.parametrize(("spent", "max_fps", "interval"), [(0.01, 10.0, 0.1), (0.2, 10.0, 0.4), (0.04, 100.0, 0.08)])
def test_the_interval_keeps_to_the_rate_and_to_the_share_of_the_time(spent, max_fps, interval):
    assert Pace(0.5).interval(spent, max_fps) == pytest.approx(interval)


def test_exact_looks_get_nearly_all_of_the_time():
    assert Pace(0.5).interval(0.09, 30.0, exact=True) == pytest.approx(0.1)


def test_an_overloaded_machine_is_looked_at_more_rarely_and_recovers():
    pace = Pace()
    for _ in range(5):
        pace.woke(0.1)
    strained = pace.interval(0.01, 10.0)
    assert strained > 0.2
    for _ in range(20):
        pace.woke(0.1)
    assert pace.interval(0.01, 10.0) == pytest.approx(0.3)  # not slower than this
    for _ in range(100):
        pace.woke(0.001)
    assert pace.interval(0.01, 10.0) == pytest.approx(0.1)
