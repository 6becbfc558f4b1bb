"""RTP audio packets into playing order with no standing delay. Pure: packets and arrival times in, order out.

A packet that comes in order leaves at once: recognition needs no smooth playout, so nothing is held back to hide
jitter. Only behind a gap do packets wait, for as long as reordering on this path has been seen to take; then the gap
is declared lost. A burst of delay or loss therefore leaves no delay behind (RFC 3550 §6.4.1 for the jitter estimate).
"""

from __future__ import annotations

from dataclasses import dataclass

_LARGEST_JUMP = 500
"""Packets (10 s): a larger jump of the sequence numbers is a sender that started anew."""


@dataclass(frozen=True, slots=True)
class ReorderSettings:
    """How long a gap is waited for, in seconds."""

    shortest_wait: float = 0.02
    """One packet time: a neighbour that was overtaken comes within it."""
    longest_wait: float = 0.08
    most_held: int = 16
    """Packets that may wait behind a gap, whatever the clock says."""


@dataclass(frozen=True, slots=True)
class Received:
    """A packet in its place."""

    payload: bytes
    timestamp: int
    """RTP units since the first packet; never goes back."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Packets that did not come in time."""

    packets: int


class ReorderBuffer:
    """One stream (SSRC). ``deadline`` tells when :meth:`expire` has something to do."""

    def __init__(self, settings: ReorderSettings | None = None) -> None:
        self.settings = settings or ReorderSettings()
        self.deadline: float | None = None
        """When the gap in front is given up; ``None`` while there is none."""
        self.wait = self.settings.shortest_wait
        """Seconds a gap is waited for at present."""
        self.received = 0
        self.lost = 0
        """Packets declared lost, less those that came too late after all."""
        self.late = 0
        """Packets that came after their place had been given up."""
        self.duplicates = 0
        self._next: int | None = None
        self._held: dict[int, tuple[int, bytes, float]] = {}
        self._timestamp: int | None = None
        self._origin = 0
        self._first = 0
        self._given_up: dict[int, float] = {}

    def add(self, sequence: int, timestamp: int, payload: bytes, now: float) -> list[Received | Lost]:
        """Take a packet (16-bit sequence number, 32-bit timestamp) that arrived at ``now`` (seconds)."""
        self.received += 1
        if self._next is None:
            self._next = sequence
        number = self._next + _signed(sequence - self._next, 16)
        if abs(number - self._next) > _LARGEST_JUMP:
            return self._restart(sequence, timestamp, payload, now)
        if number < self._next:
            self._too_late(number, now)
            return []
        if number in self._held:
            self.duplicates += 1
            return []
        self._held[number] = (timestamp, payload, now)
        return self._release(now)

    def expire(self, now: float) -> list[Received | Lost]:
        """Give up the gap in front if its time has come."""
        return self._release(now)

    def _release(self, now: float) -> list[Received | Lost]:
        assert self._next is not None
        out: list[Received | Lost] = []
        while self._held:
            if self._next not in self._held:
                waited_enough = self.deadline is not None and now >= self.deadline - 1e-9
                if not waited_enough and len(self._held) < self.settings.most_held:
                    break
                out.append(self._give_up(now))
            timestamp, payload, _ = self._held.pop(self._next)
            self._next += 1
            out.append(Received(payload, self._unwrap(timestamp)))
        self._set_deadline()
        return out

    def _give_up(self, now: float) -> Lost:
        assert self._next is not None
        first = min(self._held)
        missing = first - self._next
        self.lost += missing
        for number in range(self._next, first):
            self._given_up[number] = now
        while len(self._given_up) > 64:
            self._given_up.pop(next(iter(self._given_up)))
        self._next = first
        return Lost(missing)

    def _set_deadline(self) -> None:
        if not self._held:
            self.deadline = None
            return
        first = min(self._held)
        self.deadline = self._held[first][2] + self.wait

    def _too_late(self, number: int, now: float) -> None:
        given_up = self._given_up.pop(number, None)
        if given_up is None:
            self.duplicates += 1
            return
        self.late += 1
        self.lost -= 1
        lateness = now - given_up
        self.wait = min(self.settings.longest_wait, max(self.wait, self.wait + lateness))

    def relax(self) -> None:
        """Wait a little less from now on; to be called about once a second."""
        self.wait = max(self.settings.shortest_wait, self.wait * 0.95)

    def _restart(self, sequence: int, timestamp: int, payload: bytes, now: float) -> list[Received | Lost]:
        """The sender began anew: its timestamps continue where the last stream ended."""
        self._held.clear()
        self._given_up.clear()
        self._next = sequence
        if self._timestamp is not None:
            self._origin += self._timestamp
            self._timestamp = None
        self._held[sequence] = (timestamp, payload, now)
        return self._release(now)

    def _unwrap(self, timestamp: int) -> int:
        if self._timestamp is None:
            self._timestamp, self._first = 0, timestamp
        else:
            delta = _signed(timestamp - self._first - self._timestamp, 32)
            self._timestamp += max(0, delta)
        return self._origin + self._timestamp


def _signed(value: int, bits: int) -> int:
    """``value`` modulo 2**bits, in −2**(bits−1) … 2**(bits−1)−1 (serial number arithmetic, RFC 1982)."""
    half = 1 << (bits - 1)
    return (value + half) % (1 << bits) - half
