"""A bad network for a headless client: packets that leave it are lost or delayed, as on a real path."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """What happens to the packets on their way to the server."""

    loss_percent: float = 0.0
    """Independent random loss."""
    jitter_ms: float = 0.0
    """Each packet is delayed by up to this much, evenly spread. Beyond 20 ms packets overtake each other."""
    burst: int = 0
    """So many packets in a row are lost, once, at ``burst_at``."""
    burst_at: float = 3.0
    """Seconds after the first packet."""

    @property
    def perfect(self) -> bool:
        """Whether nothing happens to any packet."""
        return not (self.loss_percent or self.jitter_ms or self.burst)


class Network:
    """One client's path; random, but the same with the same seed."""

    def __init__(self, options: NetworkOptions, seed: int) -> None:
        self.sent = 0
        self.lost = 0
        self._options = options
        self._random = random.Random(seed)
        self._burst_left = options.burst
        self._began: float | None = None

    def delay(self, now: float) -> float | None:
        """Seconds after which a packet sent at ``now`` leaves; ``None`` when it is lost."""
        options = self._options
        self.sent += 1
        if self._began is None:
            self._began = now
        dropped = self._random.random() * 100.0 < options.loss_percent
        if self._burst_left and now - self._began >= options.burst_at:
            self._burst_left -= 1
            dropped = True
        late = self._random.uniform(0.0, options.jitter_ms / 1000.0)
        self.lost += dropped
        return None if dropped else late
