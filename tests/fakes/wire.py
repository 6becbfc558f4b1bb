"""A wire between two network namespaces on which packets are lost, late, doubled and held up; and one without UDP.

Each end is a TUN device (IP packets without Ethernet), and a thread of this process carries the packets between them:
what the kernel's ``netem`` does where it exists. :class:`Way` decides, and is pure; :class:`Wire` only carries out.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import threading
import time
from dataclasses import dataclass, field, replace
from itertools import count

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_UDP = 17
_LARGEST = 65_535


@dataclass(frozen=True, slots=True)
class Conditions:
    """What happens to packets in one direction."""

    loss: float = 0.0
    """Share that is lost, independently of each other."""
    delay: float = 0.0
    """Seconds each takes."""
    jitter: float = 0.0
    """Up to so many seconds more, evenly spread: beyond 20 ms the packets of a voice overtake each other."""
    duplicate: float = 0.0
    """Share that comes twice."""
    rate: float | None = None
    """Bits per second …"""
    queue: float = 0.2
    """… and the seconds' worth of packets that may wait for that; what is more is lost."""
    udp: bool = True
    """Whether UDP passes."""
    down: bool = False
    """Nothing passes."""


PERFECT = Conditions()


class Way:
    """One direction. The same with the same seed."""

    def __init__(self, conditions: Conditions, seed: int = 0) -> None:
        self.conditions = conditions
        self.sent = 0
        """Packets that were put in."""
        self.lost = 0
        self._random = random.Random(seed)
        self._free_at = 0.0
        """When the wire has taken in what waits."""

    def arrivals(self, packet: bytes, now: float) -> list[float]:
        """When a packet put in at ``now`` comes out: never, once or twice."""
        given = self.conditions
        self.sent += 1
        if given.down or (not given.udp and protocol_of(packet) == _UDP) or self._random.random() < given.loss:
            self.lost += 1
            return []
        if given.rate is not None:
            begins = max(now, self._free_at)
            if begins - now > given.queue:
                self.lost += 1
                return []
            now = self._free_at = begins + 8 * len(packet) / given.rate
        copies = 2 if self._random.random() < given.duplicate else 1
        return [now + given.delay + self._random.uniform(0.0, given.jitter) for _ in range(copies)]


def protocol_of(packet: bytes) -> int:
    """The protocol inside an IP packet (of IPv6 without extension headers)."""
    return packet[6] if packet[0] >> 4 == 6 else packet[9]


@dataclass(order=True, slots=True)
class _Due:
    at: float
    order: int
    packet: bytes = field(compare=False)
    to: int = field(compare=False)


def open_tun(name: str) -> int:
    """A TUN device of this name in the namespace of the calling thread. Raises ``OSError``."""
    made = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(made, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(made)
        raise
    return made


class Wire:
    """Carries packets between two TUN devices, from the start to :meth:`close`. ``there`` and ``back`` are its ways."""

    def __init__(self, near: int, far: int, conditions: Conditions = PERFECT, seed: int = 0) -> None:
        self.there, self.back = Way(conditions, seed), Way(conditions, seed + 1)
        self._ends = {near: (far, self.there), far: (near, self.back)}
        self._wake, self._waker = os.pipe()
        self._closing = False
        self._thread = threading.Thread(target=self._carry, name="wire", daemon=True)
        self._thread.start()

    def change(self, **conditions: object) -> None:
        """From now on other conditions, in both directions; those that are not named stay."""
        for way in (self.there, self.back):
            way.conditions = replace(way.conditions, **conditions)  # type: ignore[arg-type]

    def close(self) -> None:
        """Carry nothing any more; the devices are gone. Idempotent."""
        if not self._closing:
            self._closing = True
            os.write(self._waker, b"x")
            self._thread.join()
            for one in (*self._ends, self._wake, self._waker):
                os.close(one)

    def _carry(self) -> None:
        due: list[_Due] = []
        order = count()
        poll = select.poll()
        for one in (*self._ends, self._wake):
            poll.register(one, select.POLLIN)
        while not self._closing:
            wait = max(0.0, due[0].at - time.monotonic()) * 1000 if due else None
            for one, _ in poll.poll(wait):
                if one != self._wake:
                    self._take(one, due, order)
            now = time.monotonic()
            while due and due[0].at <= now:
                out = heapq.heappop(due)
                self._put(out.to, out.packet)

    def _take(self, end: int, due: list[_Due], order: count[int]) -> None:
        to, way = self._ends[end]
        try:
            while True:
                packet = os.read(end, _LARGEST)
                now = time.monotonic()
                for at in way.arrivals(packet, now):
                    heapq.heappush(due, _Due(at, next(order), packet, to))
        except BlockingIOError:
            return

    def _put(self, end: int, packet: bytes) -> None:
        try:
            os.write(end, packet)
        except OSError:  # the device is down: so is the network there
            return
