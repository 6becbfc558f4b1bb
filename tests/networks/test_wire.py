"""The wire of the tests does what it says: without that, no figure that is measured on it means anything."""

from __future__ import annotations

import pytest

from tests.fakes.wire import Conditions, Way, protocol_of

UDP4 = bytes([0x45, *(0 for _ in range(8)), 17, *(0 for _ in range(90))])
TCP6 = bytes([0x60, *(0 for _ in range(5)), 6, *(0 for _ in range(93))])


def test_it_knows_what_is_udp():
    assert protocol_of(UDP4) == 17
    assert protocol_of(TCP6) == 6
    closed = Way(Conditions(udp=False))
    assert closed.arrivals(UDP4, 0.0) == []
    assert closed.arrivals(TCP6, 0.0) == [0.0]


def test_a_tenth_is_lost_and_the_rest_is_late():
    way = Way(Conditions(loss=0.1, delay=0.02, jitter=0.1))
    came = [at for n in range(10_000) for at in way.arrivals(UDP4, n * 0.02)]
    assert way.sent == 10_000
    assert way.lost == 10_000 - len(came) == pytest.approx(1000, abs=100)
    assert came != sorted(came), "they overtake each other"
    late = [at - n * 0.02 for n in range(100) for at in Way(Conditions(jitter=0.1), n).arrivals(UDP4, n * 0.02)]
    assert min(late) >= 0.0
    assert 0.03 < sum(late) / len(late) < 0.07


def test_some_come_twice():
    way = Way(Conditions(duplicate=0.5))
    assert {len(way.arrivals(UDP4, 0.0)) for _ in range(50)} == {1, 2}


def test_a_narrow_way_makes_packets_wait_and_loses_what_is_too_much():
    way = Way(Conditions(rate=8 * len(UDP4) * 10, queue=0.25))
    arrivals = [way.arrivals(UDP4, 0.0) for _ in range(5)]
    assert arrivals == [[pytest.approx(0.1)], [pytest.approx(0.2)], [pytest.approx(0.3)], [], []]
    assert way.arrivals(UDP4, 10.0) == [pytest.approx(10.1)]


def test_nothing_passes_when_it_is_down():
    assert Way(Conditions(down=True)).arrivals(TCP6, 0.0) == []
