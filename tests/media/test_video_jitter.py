"""Packets into video frames: on the marker, in order, through gaps; and which packets are asked for again."""

from __future__ import annotations

import random

import pytest
from aiortc.rtp import RtpPacket

from media.jitter import MarkerBuffer

FRAME_UNITS = 3000
"""30 frames per second at 90 kHz."""
PATIENCE_FRAMES = 45_000 // FRAME_UNITS


def video(frames: int, size: int = 3, first: int = 0, start: int = 0, marker: bool = True) -> list[RtpPacket]:
    """Frames of ``size`` packets each; the data says which frame and part it is."""
    packets = []
    for n in range(frames * size):
        frame, part = divmod(n, size)
        packet = RtpPacket(
            sequence_number=(first + n) % 2**16,
            timestamp=(start + frame * FRAME_UNITS) % 2**32,
            marker=int(marker and part == size - 1),
            ssrc=1,
        )
        packet._data = b"%d.%d " % (frame, part)
        packets.append(packet)
    return packets


def whole(frame: int, size: int = 3) -> str:
    return " ".join(f"{frame}.{part}" for part in range(size))


class Screen:
    """Adds packets as the receiver does, and collects what is released."""

    def __init__(self, **settings) -> None:
        self.buffer = MarkerBuffer(**settings)
        self.frames: list[str] = []
        self.timestamps: list[int] = []
        self.asked = 0
        """Key frames asked for."""

    def add(self, *packets: RtpPacket) -> list[str]:
        before = len(self.frames)
        for packet in packets:
            lost, frame = self.buffer.add(packet)
            self.asked += lost
            while frame is not None:
                self.frames.append(frame.data.decode().strip())
                self.timestamps.append(frame.timestamp)
                complete = self.buffer.take()
                frame = complete[1] if complete is not None else None
        return self.frames[before:]


@pytest.fixture
def screen():
    return Screen()


@pytest.mark.parametrize("first", [0, 65_530], ids=["plain", "wraps"])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_frame_leaves_with_its_last_packet(screen, first, size):
    packets = video(5, size, first, 2**32 - 2 * FRAME_UNITS)
    for n, packet in enumerate(packets):
        assert screen.add(packet) == ([whole(n // size, size)] if n % size == size - 1 else [])
    assert screen.timestamps == [packet.timestamp for packet in packets[::size]]
    assert screen.asked == 0


def test_packets_of_a_frame_may_come_in_any_order(screen):
    a = video(1, 4)
    assert screen.add(a[0], a[3], a[1]) == []
    assert screen.add(a[2]) == [whole(0, 4)]


def test_a_frame_waits_for_the_one_before(screen):
    p = video(3)
    assert screen.add(p[0], p[2], *p[3:]) == []
    assert screen.add(p[1]) == [whole(0), whole(1), whole(2)]  # retransmitted: all that waited leave, in order
    assert screen.asked == 0


def test_copies_and_what_is_out_of_date_are_ignored(screen):
    p = video(3)
    assert screen.add(p[0], p[0], p[1], p[2]) == [whole(0)]
    assert screen.add(p[1], p[2], p[0]) == []
    assert screen.add(*p[3:]) == [whole(1), whole(2)]
    assert screen.asked == 0


def test_without_markers_a_frame_leaves_when_the_next_begins(screen):
    p = video(3, marker=False)
    assert screen.add(*p[:3]) == []
    assert screen.add(p[3]) == [whole(0)]
    assert screen.add(p[4], p[5], p[6]) == [whole(1)]


@pytest.mark.parametrize("lost", [3, 4, 5], ids=["its start", "its middle", "its end"])
def test_a_gap_never_filled_costs_the_torn_frame_and_a_moment(screen, lost):
    p = video(60)
    screen.add(*(packet for n, packet in enumerate(p) if n != lost))
    torn = {1} if lost != 5 else {1, 2}  # a lost end may have been the next one's start
    assert set(range(60)) - {int(frame.split(".")[0]) for frame in screen.frames} <= torn
    assert all(frame == whole(int(frame.split(".")[0])) for frame in screen.frames)
    assert screen.asked == 1


def test_the_wait_for_a_retransmission_is_bounded_in_media_time(screen):
    p = video(60)
    screen.add(*p[:4])
    assert screen.add(*p[5 : 3 * (PATIENCE_FRAMES + 2)]) == []
    assert screen.asked == 0
    assert len(screen.add(p[3 * (PATIENCE_FRAMES + 2)])) == PATIENCE_FRAMES
    assert screen.asked == 1
    assert screen.add(p[4]) == []  # now it is too late


def test_the_wait_is_bounded_in_packets():
    screen = Screen(capacity=8, patience=2**30)
    p = video(10)
    assert screen.add(*p[:4], *p[5:11]) == [whole(0)]
    assert screen.asked == 0
    screen.add(*p[11:])
    assert screen.frames == [whole(n) for n in range(10) if n != 1]
    assert screen.asked == 1


def test_a_frame_longer_than_the_capacity_is_dropped_to_its_very_end():
    screen = Screen(capacity=8)
    long, after = video(1, 20), video(3, first=20, start=FRAME_UNITS)
    assert screen.add(*long) == []
    assert screen.add(*after) == [whole(0), whole(1), whole(2)]
    assert screen.asked >= 1


def test_two_torn_frames_in_a_row(screen):
    p = video(60)
    screen.add(*(packet for n, packet in enumerate(p) if n not in (4, 6)))
    assert screen.frames == [whole(n) for n in range(60) if n not in (1, 2)]


def test_the_rest_of_a_torn_frame_is_not_taken_for_a_frame(screen):
    """A sender that pauses in mid-frame, and whose frame has been given up meanwhile."""
    p = video(60)
    q = video(1, 5, first=180, start=200 * FRAME_UNITS)
    screen.add(*p, q[0], q[2])
    screen.buffer.patience = -1  # whatever comes is overdue
    screen.add(q[3])
    assert screen.asked == 1
    screen.buffer.patience = 45_000
    assert screen.add(q[1], q[4]) == []
    assert screen.add(*video(1, first=185, start=201 * FRAME_UNITS)) == [whole(0)]


@pytest.mark.parametrize("first", [30_000, 65_000], ids=["ahead", "behind"])
@pytest.mark.parametrize("ssrc", [1, 2])
def test_a_sender_that_starts_anew_is_followed(screen, first, ssrc):
    p, q = video(3), video(60, first=first, start=77_777)
    for packet in q:
        packet.ssrc = ssrc
    screen.add(*p[:-1])
    screen.add(*q)
    expected = [whole(0), whole(1)] + [whole(n) for n in range(60)]
    missing = [frame for frame in expected if frame not in screen.frames]
    assert missing == []
    assert screen.asked == 1


def test_another_ssrc_with_close_numbers_is_another_stream(screen):
    p, q = video(10), video(3, first=5)
    for packet in q:
        packet.ssrc = 2
    screen.add(*p)
    assert screen.add(*q) == [whole(0), whole(1), whole(2)]


def test_padding_is_no_frame(screen):
    """Packets without data keep the bandwidth estimate alive; an empty frame would end the decoder for good."""
    p = video(4)
    for n in (3, 4, 5):
        p[n]._data = b""
        p[n].timestamp, p[n].marker = p[2].timestamp, 0
    assert screen.add(*p) == [whole(0), whole(2), whole(3)]
    assert screen.asked == 0


@pytest.mark.parametrize("seed", range(100))
def test_terrible_network(seed):
    """Drops, copies, delays and retransmissions: what leaves is whole, in order, once; then the picture is back."""
    chance = random.Random(seed)
    size = chance.choice([1, 2, 5])
    p = video(200, size, chance.randrange(2**16), chance.randrange(2**32))
    good = 150 * size
    arrivals = []
    for n in range(len(p)):
        for _ in range(chance.choices([0, 1, 2], [5, 90, 5])[0] if 0 < n < good else 1):
            late = chance.choice([0, 0, chance.uniform(0, 3), chance.uniform(0, 40)]) if 0 < n < good else 0
            arrivals.append((n + late * size, n))
    screen = Screen()
    screen.add(*(p[n] for _, n in sorted(arrivals)))
    numbers = [int(frame.split(".")[0]) for frame in screen.frames]
    assert numbers == sorted(set(numbers))
    assert screen.frames == [whole(n, size) for n in numbers]
    assert numbers[-20:] == list(range(180, 200))
