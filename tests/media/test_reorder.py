"""Packets into order: at once when they come in order, after a short wait behind a gap, and never lagging for good."""

import heapq
import random

import pytest

from media.jitter import LONGEST_WAIT, MOST_HELD, SHORTEST_WAIT, ReorderBuffer, signed

PTIME = 0.02
SHORTEST, LONGEST = SHORTEST_WAIT, LONGEST_WAIT


class Line:
    """A buffer, and what left it when. Packets are known by their number, which may exceed 16 bits."""

    def __init__(self) -> None:
        self.buffer = ReorderBuffer()
        self.played: list[int] = []
        self.at: dict[int, float] = {}

    def arrive(self, number: int, now: float) -> list[int]:
        self.until(now)
        return self._note(self.buffer.add(number % 2**16, number * 960 % 2**32, str(number).encode(), now), now)

    def until(self, now: float) -> None:
        """Let gaps expire when they are due."""
        while self.buffer.deadline is not None and self.buffer.deadline <= now:
            due = self.buffer.deadline
            self._note(self.buffer.expire(due), due)

    def _note(self, packets, now: float) -> list[int]:
        numbers = [int(packet.payload) for packet in packets]
        assert [packet.timestamp for packet in packets] == [number * 960 % 2**32 for number in numbers]
        self.played += numbers
        self.at.update(dict.fromkeys(numbers, now))
        return numbers


@pytest.fixture
def line():
    return Line()


@pytest.mark.parametrize("first", [0, 65_500, 2**32 // 960 - 30], ids=["zero", "sequence wraps", "timestamp wraps"])
def test_in_order_packets_leave_at_once(line, first):
    for n in range(first, first + 100):
        assert line.arrive(n, n * PTIME) == [n]
        assert line.buffer.deadline is None
    assert (line.buffer.received, line.buffer.lost) == (100, 0)


def test_duplicates_are_dropped_whether_played_or_waiting(line):
    assert line.arrive(1, 0.00) == [1]
    assert line.arrive(1, 0.00) == []
    assert line.arrive(3, 0.01) == []
    assert line.arrive(3, 0.01) == []
    assert line.arrive(2, 0.02) == [2, 3]
    assert (line.buffer.received, line.buffer.late, line.buffer.lost) == (5, 0, 0)


@pytest.mark.parametrize("first", [10, 65_533])
def test_reordering_within_the_wait_is_undone(line, first):
    line.arrive(first, 0.0)
    assert line.arrive(first + 3, 0.001) == []
    assert line.arrive(first + 2, 0.010) == []
    assert line.buffer.deadline == pytest.approx(0.001 + SHORTEST)  # counts from the first packet behind the gap
    assert line.arrive(first + 1, 0.020) == [first + 1, first + 2, first + 3]
    assert line.buffer.deadline is None
    assert line.buffer.lost == 0


def test_a_gap_is_given_up_when_its_time_has_come_and_not_before(line):
    line.arrive(1, 0.0)
    line.arrive(3, 0.04)
    line.until(0.04 + SHORTEST - 0.001)
    assert line.played == [1]
    line.until(0.04 + SHORTEST)
    assert line.played == [1, 3]
    assert line.buffer.lost == 1


def test_each_gap_has_its_own_time(line):
    line.arrive(1, 0.0)
    line.arrive(3, 0.040)
    line.arrive(5, 0.059)
    line.until(0.060)
    assert line.played == [1, 3]  # the gap before 5 is only 1 ms old
    assert line.arrive(4, 0.070) == [4, 5]
    assert line.buffer.lost == 1


def test_a_burst_of_five_lost_leaves_no_delay(line):
    for n in [*range(10), *range(15, 100)]:
        line.arrive(n, n * PTIME)
    assert line.buffer.lost == 5
    assert [n for n in line.played if line.at[n] > n * PTIME] == [15]


def test_packets_behind_a_gap_are_bounded_whatever_the_clock_says(line):
    line.arrive(0, 0.0)
    for n in range(2, 2 + MOST_HELD):
        assert line.buffer.lost == 0
        line.arrive(n, 0.0)
    assert line.played == [0, *range(2, 2 + MOST_HELD)]
    assert line.buffer.lost == 1


def test_the_wait_grows_to_what_a_late_packet_needed_and_relaxes(line):
    line.arrive(0, 0.0)
    line.arrive(2, 0.04)
    line.arrive(3, 0.06)
    assert line.arrive(1, 0.08) == []  # 40 ms after the gap was seen, 20 ms too late
    assert (line.buffer.late, line.buffer.lost) == (1, 1)
    assert line.buffer.wait == pytest.approx(0.05)
    line.arrive(5, 0.10)
    line.arrive(6, 0.12)
    assert line.arrive(4, 0.14) == [4, 5, 6]  # the next one is waited for
    line.arrive(7, 10.13)
    assert line.buffer.wait == pytest.approx(0.05)  # needed less than 10 s ago
    line.arrive(8, 10.15)
    assert line.buffer.wait == SHORTEST


def test_what_waiting_could_not_have_saved_is_not_waited_for(line):
    line.arrive(0, 0.0)
    line.arrive(2, 0.04)
    line.until(0.06)
    line.arrive(1, 0.04 + LONGEST + 0.01)
    assert line.buffer.late == 1
    assert line.buffer.wait == SHORTEST


@pytest.mark.parametrize("new", [20_000, 65_000, 600], ids=["ahead", "behind", "just far enough"])
def test_a_sender_that_starts_anew_is_followed_at_once(line, new):
    line.arrive(1, 0.0)
    line.arrive(3, 0.01)
    assert line.arrive(new, 0.02) == [3, new]  # what had arrived is still played
    assert line.arrive(new + 1, 0.04) == [new + 1]
    assert line.buffer.deadline is None


def test_restart_releases_what_waits_and_accepts_any_number(line):
    line.arrive(100, 0.0)
    line.arrive(102, 0.01)
    assert [packet.payload for packet in line.buffer.restart()] == [b"102"]
    assert line.buffer.deadline is None
    assert line.arrive(90, 0.02) == [90]  # another stream (SSRC), whose numbers happen to lie close


@pytest.mark.parametrize("seed", range(100))
def test_terrible_network(seed, line):
    """20 s of drops, copies and delays; then the network is good again, and nothing of it is left."""
    chance = random.Random(seed)
    first = chance.randrange(2**16)
    sent = range(first, first + 1600)
    good = sent[-600]
    on_the_way: list[tuple[float, int]] = [(0.0, first)]
    for n in sent[1:]:
        for _ in range(chance.choices([0, 1, 2], [10, 85, 5])[0] if n < good else 1):
            delay = chance.choice([0.0, chance.uniform(0, 0.03), chance.uniform(0, 0.3)]) if n < good else 0.0
            heapq.heappush(on_the_way, ((n - first) * PTIME + delay, n))
    arrived: dict[int, float] = {}
    while on_the_way:
        now, n = heapq.heappop(on_the_way)
        line.arrive(n, now)
        arrived.setdefault(n, now)

    buffer = line.buffer
    assert line.played == sorted(set(line.played))
    assert len(line.played) + buffer.lost == len(sent)
    assert buffer.received >= len(line.played) + buffer.late
    assert all(line.at[n] - arrived[n] <= LONGEST + 1e-6 for n in line.played)
    assert all(line.at[n] == arrived[n] for n in range(good + 20, sent[-1] + 1))
    assert buffer.wait == SHORTEST
    assert buffer.deadline is None


def test_signed_is_the_shortest_way_round():
    assert [signed(value, 16) for value in (0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x10000, -1)] == [
        0,
        1,
        0x7FFF,
        -0x8000,
        -1,
        0,
        -1,
    ]
