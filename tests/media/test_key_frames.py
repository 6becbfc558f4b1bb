"""When a key frame is asked for, and how often."""

from __future__ import annotations

from itertools import pairwise

import pytest

from media.jitter import FIRST_SECONDS, LONGEST_SECONDS, KeyFrameRequests


def test_a_stream_that_begins_with_its_key_frame_is_not_asked():
    requests = KeyFrameRequests()
    assert requests.delay(0.0) is None
    requests.begin(10.0)
    assert requests.delay(10.0) == pytest.approx(FIRST_SECONDS)
    requests.came()
    assert requests.delay(99.0) is None


def test_a_spoilt_picture_is_told_at_once_and_again_more_and_more_rarely_until_a_key_frame_comes():
    requests, now, times = KeyFrameRequests(), 100.0, []
    requests.begin(0.0)
    requests.came()
    requests.want()
    while len(times) < 30:
        delay = requests.delay(now)
        now += delay
        assert requests.delay(now) == pytest.approx(0.0)
        requests.sent(now)
        times.append(now - 100.0)
    assert times[:2] == pytest.approx([0.0, FIRST_SECONDS])
    assert sum(time <= 8.0 for time in times) >= 10  # one of them is answered whole at 10 % of loss
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses == sorted(pauses) and pauses[-1] == pytest.approx(LONGEST_SECONDS)
    requests.came()
    assert requests.delay(now) is None


def test_pictures_that_are_spoilt_all_the_time_are_not_told_all_the_time():
    requests, asked = KeyFrameRequests(), 0
    for tick in range(1000):
        requests.want()
        if requests.delay(tick / 100) == 0.0:
            requests.sent(tick / 100)
            requests.came()
            asked += 1
    assert asked <= 10.0 / FIRST_SECONDS + 1
    assert requests.asked == asked
