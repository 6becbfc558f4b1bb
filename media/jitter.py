"""RTP audio packets into playing order with no standing delay. Pure: packets and arrival times in, order out.

A packet that comes in order leaves at once: recognition needs no smooth playout, so nothing is held back to hide
jitter. Only behind a gap do packets wait, for as long as reordering on this path has been seen to take; then the gap
is given up. A burst of delay or loss therefore leaves no delay behind. What is missing between two packets is told by
their RTP timestamps, so the packets that leave need no markers between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_LARGEST_JUMP = 500
"""Packets (10 s): a larger jump of the sequence numbers is a sender that started anew. SRTP lets no forged or replayed
packet through (RFC 3711 §3.3.2), so one is proof enough where RFC 3550 A.1 asks for two."""
_MOST_GIVEN_UP = 64
"""Lost packets remembered, to tell one that is late from one that comes twice."""


@dataclass(frozen=True, slots=True)
class ReorderSettings:
    """How long a gap is waited for, in seconds."""

    shortest_wait: float = 0.02
    """One packet time: a neighbour that was overtaken comes within it."""
    longest_wait: float = 0.08
    """A packet that comes later than this is not worth waiting for."""
    memory: float = 10.0
    """How long a wait that was needed once is kept up."""
    most_held: int = 16
    """Packets that may wait behind a gap, whatever the clock says."""


@dataclass(frozen=True, slots=True)
class Received:
    """A packet in its place."""

    payload: bytes
    timestamp: int
    """As the sender wrote it: 32 bits."""


class ReorderBuffer:
    """One stream (SSRC). ``deadline`` tells when :meth:`expire` has something to do."""

    def __init__(self, settings: ReorderSettings | None = None) -> None:
        self.settings = settings or ReorderSettings()
        self.deadline: float | None = None
        """When the gap in front is given up; ``None`` while there is none."""
        self.wait = self.settings.shortest_wait
        """Seconds a gap is waited for at present."""
        self.received = 0
        """Packets that arrived, whatever became of them."""
        self.lost = 0
        """Packets given up; a late one still counts, since it was not played."""
        self.late = 0
        """Packets that came after their place had been given up."""
        self.duplicates = 0
        """Packets that had been there already, or preceded the first one."""
        self._next: int | None = None
        self._held: dict[int, tuple[Received, float]] = {}
        self._given_up: dict[int, float] = {}
        self._relax_at = 0.0

    def add(self, sequence: int, timestamp: int, payload: bytes, now: float) -> list[Received]:
        """Take a packet (16-bit sequence number) that arrived at ``now`` (seconds); returns what can be played."""
        self.received += 1
        if now >= self._relax_at:
            self.wait = self.settings.shortest_wait
        if self._next is None:
            self._next = sequence
        ahead = signed(sequence - self._next, 16)
        before: list[Received] = []
        if abs(ahead) > _LARGEST_JUMP:
            before, self._next, ahead = self.restart(), sequence, 0
        number = self._next + ahead
        if number < self._next:
            self._too_late(number, now)
        elif number in self._held:
            self.duplicates += 1
        else:
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
                if now < due - 1e-9 and len(self._held) < self.settings.most_held:
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
        if since is None:
            self.duplicates += 1
            return
        self.late += 1
        self._adapt(now - since, now)

    def _adapt(self, needed: float, now: float) -> None:
        """A gap was filled after ``needed`` seconds: wait a quarter more than that for a while, if it can help."""
        settings = self.settings
        if settings.shortest_wait < needed * 1.25 and needed <= settings.longest_wait:
            self.wait = max(self.wait, min(needed * 1.25, settings.longest_wait))
            self._relax_at = now + settings.memory


def signed(value: int, bits: int) -> int:
    """``value`` modulo 2**bits, in −2**(bits−1) … 2**(bits−1)−1 (serial number arithmetic, RFC 1982)."""
    half = 1 << (bits - 1)
    return (value + half) % (1 << bits) - half
