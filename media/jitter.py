"""RTP packets into order with no standing delay. Pure: packets and arrival times in, order out.

:class:`MarkerBuffer` makes whole frames of a video's packets and tells which to ask for again; :class:`ReorderBuffer`
brings audio packets into playing order. An audio packet that comes in order leaves at once: recognition needs no smooth
playout, so nothing is held back to hide jitter. Only behind a gap do packets wait, for as long as reordering on this
path has been seen to take; then the gap is given up. A burst of delay or loss therefore leaves no delay behind. What is
missing between two packets is told by their RTP timestamps, so the packets that leave need no markers between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from aiortc.jitterbuffer import JitterFrame

FIRST_SECONDS = 0.3
"""What an answer may take: a round trip, and the picture. The first frame of a stream is mostly one by itself."""
LONGEST_SECONDS = 5.0
"""Seconds between two requests for a key frame."""
GROWTH = 1.2
"""Each further request waits so many times as long as the one before: key frames are large and crowd each other out."""


class KeyFrameRequests:
    """A stream begins without its key frame, so one is wanted from the first packet on."""

    def __init__(self) -> None:
        self.asked = 0
        """Requests so far."""
        self._wanted = False
        self._pause = FIRST_SECONDS
        self._due = float("-inf")

    def begin(self, now: float) -> None:
        """The stream's first packet has come."""
        self._wanted, self._due = True, now + FIRST_SECONDS

    def want(self) -> None:
        """The picture is spoilt."""
        self._wanted = True

    def came(self) -> None:
        """A key frame has come whole."""
        self._wanted, self._pause = False, FIRST_SECONDS

    def delay(self, now: float) -> float | None:
        """Seconds until the next request is due, 0 for now; ``None`` when no key frame is wanted."""
        return max(0.0, self._due - now) if self._wanted else None

    def sent(self, now: float) -> None:
        """A request has been sent."""
        self.asked += 1
        self._due = now + self._pause
        self._pause = min(self._pause * GROWTH, LONGEST_SECONDS)


REMEMBERED = 128
"""Packets that senders keep for being asked again."""
_LARGEST_STEP = 512
"""Packets: a larger step of the sequence numbers is a sender that started anew."""
_SHORT_PATIENCE = 4_500
"""50 ms at 90 kHz, in RTP units: a packet that was merely overtaken comes within it."""
_HOPELESS = 3
"""Gaps given up in a row after which nothing is expected to be sent again."""


class MarkerBuffer:
    """Reassembles video frames; takes the place of ``aiortc.jitterbuffer.JitterBuffer`` (same ``add``).

    A frame is complete when it starts right after the end of the one before and every packet up to its own marker is
    there. Frames leave in order. A gap that the sender does not fill (NACK) within ``patience`` RTP units, or before
    ``capacity`` packets, is given up with the frames it tore, and a key frame is asked for. To a sender that never
    sends anything again the patience is short, until a packet of it comes late after all.
    """

    def __init__(self, capacity: int = 1024, patience: int = 45_000) -> None:
        self.capacity = capacity
        self.patience = patience
        """0.5 s at 90 kHz: a retransmission comes within it or was lost, too."""
        self._packets: dict[int, Any] = {}
        self._next: int | None = None
        self._scanned = 0
        """All packets from ``_next`` to this one are there and belong to the front frame."""
        self._ssrc = 0
        self._torn: int | None = None
        """Timestamp of the frame that was given up last: should the rest of it come, it is no frame."""
        self._newest: tuple[int, int] = 0, 0
        """Number and timestamp of the packet furthest ahead."""
        self._given_up = 0
        """Gaps given up since one was filled."""

    def add(self, packet: Any) -> tuple[bool, JitterFrame | None]:
        """A packet; returns whether to ask for a key frame, and the frame that is complete now, if any."""
        lost = self._next is not None and self._begins_anew(packet)
        if self._next is None or lost:
            self._packets.clear()
            self._start_at(packet.sequence_number)
            self._newest = packet.sequence_number, packet.timestamp
            self._ssrc, self._torn = packet.ssrc, None
        assert self._next is not None
        number = self._next + signed(packet.sequence_number - self._next, 16)
        if number >= self._newest[0]:
            self._newest = number, packet.timestamp
        elif signed(self._newest[1] - packet.timestamp, 32) > _SHORT_PATIENCE:
            self._given_up = 0
        if number < self._next or number in self._packets:
            return lost, None
        self._packets[number] = packet
        while (complete := self.take()) is None and self._overdue(number):
            self._give_up_front()
            lost = True
        return lost, complete[1] if complete is not None else None

    def take(self) -> tuple[int, JitterFrame] | None:
        """The frame at the front, with its payload type, if all of it is there."""
        while (end := self._end_of_front()) is not None:
            assert self._next is not None
            packets = [self._packets.pop(number) for number in range(self._next, end)]
            self._start_at(end)
            first, data = packets[0], b"".join(packet._data for packet in packets)
            if first.timestamp == self._torn or not data:  # nothing but padding: would tell the codec it is the end
                continue
            self._torn = None
            return first.payload_type, JitterFrame(data=data, timestamp=first.timestamp)
        return None

    def _start_at(self, number: int) -> None:
        self._next = self._scanned = number

    def _begins_anew(self, packet: Any) -> bool:
        assert self._next is not None
        behind = signed(self._next - packet.sequence_number, 16)
        return packet.ssrc != self._ssrc or behind > _LARGEST_STEP

    def _end_of_front(self) -> int | None:
        """The number after the front frame's last packet, once all of it is there.

        Some senders do not set the marker: a new timestamp ends a frame, too.
        """
        if self._next is None or (first := self._packets.get(self._next)) is None:
            return None
        while (packet := self._packets.get(self._scanned)) is not None:
            if packet.timestamp != first.timestamp:
                return self._scanned
            self._scanned += 1
            if packet.marker:
                return self._scanned
        return None

    def _overdue(self, newest: int) -> bool:
        """Whether what is at the front has been waited for long enough, seen from packet ``newest``."""
        if newest not in self._packets:
            return False
        assert self._next is not None
        first = self._packets[self._next if self._next in self._packets else min(self._packets)]
        age = signed(self._packets[newest].timestamp - first.timestamp, 32)
        patience = self.patience if self._given_up < _HOPELESS else min(self.patience, _SHORT_PATIENCE)
        return newest - self._next >= self.capacity or age > patience

    def _give_up_front(self) -> None:
        """Give up everything before the next packet that certainly begins a frame.

        That may be more than what is torn, but pictures between a lost one and the key frame are spoilt anyway.
        """
        waiting = sorted(self._packets)
        self._given_up += 1
        self._start_at(next((number for number in waiting if self._begins_a_frame(number)), waiting[-1] + 1))
        assert self._next is not None
        for number in waiting:
            if number < self._next:
                self._torn = self._packets.pop(number).timestamp

    def _begins_a_frame(self, number: int) -> bool:
        before = self._packets.get(number - 1)
        return before is not None and (before.marker or before.timestamp != self._packets[number].timestamp)


class Missing:
    """Which packets to ask for again; takes the place of ``aiortc.rtcrtpreceiver.NackGenerator``.

    That one counts through whatever lies between two sequence numbers, up to 32,767 for each packet.
    """

    def __init__(self) -> None:
        self.missing: set[int] = set()
        """Sequence numbers (16 bits), of the last :data:`REMEMBERED` ones."""
        self._newest: int | None = None
        self._ssrc = 0

    def add(self, packet: Any) -> bool:
        """A packet has arrived; whether others turn out to be missing."""
        if self._newest is None or packet.ssrc != self._ssrc:
            self._start(packet)
            return False
        ahead = signed(packet.sequence_number - self._newest, 16)
        if ahead <= 0:
            self.missing.discard(packet.sequence_number)
            return False
        if ahead > _LARGEST_STEP:
            self._start(packet)
            return False
        self._newest = packet.sequence_number
        if self.missing:
            self.missing = {number for number in self.missing if signed(self._newest - number, 16) <= REMEMBERED}
        if ahead == 1:
            return False
        self.missing.update((self._newest - behind) % 2**16 for behind in range(1, min(ahead, REMEMBERED + 1)))
        return True

    def _start(self, packet: Any) -> None:
        self.missing.clear()
        self._newest, self._ssrc = packet.sequence_number, packet.ssrc


_LARGEST_JUMP = 500
"""Packets (10 s): a larger jump of the sequence numbers is a sender that started anew. SRTP lets no forged or replayed
packet through (RFC 3711 §3.3.2), so one is proof enough where RFC 3550 A.1 asks for two."""
_MOST_GIVEN_UP = 64
"""Lost packets remembered, to tell one that is late from one that comes twice."""


SHORTEST_WAIT = 0.02
"""Seconds that a gap is waited for at least: a neighbour that was overtaken comes within one packet time."""
LONGEST_WAIT = 0.08
"""Seconds: a packet that comes later than this is not worth waiting for."""
_MEMORY = 10.0
"""Seconds that a wait that was needed once is kept up."""
MOST_HELD = 16
"""Packets that may wait behind a gap, whatever the clock says."""


@dataclass(frozen=True, slots=True)
class Received:
    """A packet in its place."""

    payload: bytes
    timestamp: int
    """As the sender wrote it: 32 bits."""


class ReorderBuffer:
    """One stream (SSRC). ``deadline`` tells when :meth:`expire` has something to do."""

    def __init__(self) -> None:
        self.deadline: float | None = None
        """When the gap in front is given up; ``None`` while there is none."""
        self.wait = SHORTEST_WAIT
        """Seconds a gap is waited for at present."""
        self.received = 0
        """Packets that arrived, whatever became of them."""
        self.lost = 0
        """Packets given up; a late one still counts, since it was not played."""
        self.late = 0
        """Packets that came after their place had been given up."""
        self._next: int | None = None
        self._held: dict[int, tuple[Received, float]] = {}
        self._given_up: dict[int, float] = {}
        self._relax_at = 0.0

    def add(self, sequence: int, timestamp: int, payload: bytes, now: float) -> list[Received]:
        """Take a packet (16-bit sequence number) that arrived at ``now`` (seconds); returns what can be played."""
        self.received += 1
        if now >= self._relax_at:
            self.wait = SHORTEST_WAIT
        if self._next is None:
            self._next = sequence
        ahead = signed(sequence - self._next, 16)
        before: list[Received] = []
        if abs(ahead) > _LARGEST_JUMP:
            before, self._next, ahead = self.restart(), sequence, 0
        number = self._next + ahead
        if number < self._next:
            self._too_late(number, now)
        elif number not in self._held:  # else it came twice
            if ahead == 0 and self._held:
                self._adapt(now - self._gap_since(), now)
            self._held[number] = Received(payload, timestamp), now
        return before + self._release(now)

    def expire(self, now: float) -> list[Received]:
        """Give up the gap in front if its time has come."""
        return self._release(now)

    def restart(self) -> list[Received]:
        """Another stream begins, or none: what was held leaves, and the next packet may have any number."""
        rest = self._release(math.inf)
        self._next = None
        self._given_up.clear()
        return rest

    def _release(self, now: float) -> list[Received]:
        out: list[Received] = []
        while self._held:
            assert self._next is not None
            if self._next not in self._held:
                due = self._gap_since() + self.wait
                if now < due - 1e-9 and len(self._held) < MOST_HELD:
                    self.deadline = due
                    return out
                self._give_up()
            out.append(self._held.pop(self._next)[0])
            self._next += 1
        self.deadline = None
        return out

    def _gap_since(self) -> float:
        """When the first packet behind the gap in front arrived."""
        return min(arrival for _, arrival in self._held.values())

    def _give_up(self) -> None:
        assert self._next is not None
        since, first = self._gap_since(), min(self._held)
        self.lost += first - self._next
        self._given_up.update(dict.fromkeys(range(self._next, first), since))
        for number in list(self._given_up)[:-_MOST_GIVEN_UP]:
            del self._given_up[number]
        self._next = first

    def _too_late(self, number: int, now: float) -> None:
        since = self._given_up.pop(number, None)
        if since is not None:  # else it came twice, or preceded the first one
            self.late += 1
            self._adapt(now - since, now)

    def _adapt(self, needed: float, now: float) -> None:
        """A gap was filled after ``needed`` seconds: wait a quarter more than that for a while, if it can help."""
        if needed * 1.25 > SHORTEST_WAIT and needed <= LONGEST_WAIT:
            self.wait = max(self.wait, min(needed * 1.25, LONGEST_WAIT))
            self._relax_at = now + _MEMORY


def signed(value: int, bits: int) -> int:
    """``value`` modulo 2**bits, in −2**(bits−1) … 2**(bits−1)−1 (serial number arithmetic, RFC 1982)."""
    half = 1 << (bits - 1)
    return (value + half) % (1 << bits) - half
