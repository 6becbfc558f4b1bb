"""The assistant's voice as a paced outgoing track: what a :class:`~media.playout.Mixer` has, as Opus, on a clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from media.clock import Clock
from media.fan_out import FanOut
from media.frames import Samples
from media.opus import FRAME, FRAME_SECONDS, OpusEncoder, OpusSettings
from media.playout import Mixer

FOLLOW_SECONDS = 0.002
"""Packets leave this long after the peer's arrive: what one of them has caused leaves with the next, not up to 20 ms
later, and the process is woken, with cold caches, once for both."""
LARGEST_STEP = 0.0005
"""Seconds by which the pacing may follow the peer's with each packet, while nothing is said."""
LATE_SECONDS = 1.0
"""After a stall longer than this the pacing starts afresh rather than sending a burst to catch up."""
FOLLOWED_PACKETS = 25
"""Half a second: what may wait for one follower."""
FOLLOWED_SAMPLES = 250
"""5 s, in frames: the same of what may wait for one that writes."""

MOST_PERCENT = 30
"""What is expected at most: with more, the voice itself is left too few bits."""
RISE_SECONDS = 2.0
"""Within which the estimate follows two thirds of the way to more …"""
FALL_SECONDS = 20.0
"""… and to less."""
_FIRST_REPORT = 1.0
"""Seconds that the first report is taken to tell of …"""
_LONGEST_REPORT = 10.0
"""… and any tells of at most."""


class LossEstimate:
    """How many packets will be lost, from what the receiver reports. Pure.

    A report tells of the packets since the one before: of 25 where they come twice a second, of 250 from a browser. Few
    say little, so a report counts for as long as it tells of. What is lost more than before counts soon, for speech is
    already missing; what is lost less counts late, for a bad network is bad in bursts. ``least`` is expected where
    nothing is lost: Opus repeats nothing where it expects no loss, and the first packet to be lost would be missing.
    """

    def __init__(self, least: int) -> None:
        self.percent = least
        """What is expected, from ``least`` to :data:`MOST_PERCENT`."""
        self._least = least
        self._share = 0.0
        self._at: float | None = None

    def reported(self, share: float, now: float) -> int:
        """The receiver has lost this share, 0–1, since its last report; ``now`` in seconds. Returns :attr:`percent`."""
        seconds = _FIRST_REPORT if self._at is None else min(max(0.0, now - self._at), _LONGEST_REPORT)
        self._at = now
        share = min(max(0.0, share), 1.0)
        slow = RISE_SECONDS if share > self._share else FALL_SECONDS
        self._share += (share - self._share) * (1 - math.exp(-seconds / slow))
        self.percent = min(max(self._least, round(100 * self._share)), max(MOST_PERCENT, self._least))
        return self.percent


class AudioOut(MediaStreamTrack):
    """20 ms Opus packets on a monotonic clock; silence when there is nothing to say, timestamps without a gap.

    ``for_followers``: no sender takes it, only :attr:`followers` may; while there are none, nothing is said. ``late``
    is given the seconds by which packets leave after they were due: of several that follow each other at once, such as
    after a pause of the whole process, only of the first.
    """

    kind = "audio"

    def __init__(
        self,
        clock: Clock,
        opus: OpusSettings | None = None,
        *,
        for_followers: bool = False,
        late: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        super().__init__()
        self.followers: FanOut[av.Packet[Any]] = FanOut(FOLLOWED_PACKETS)
        """Who gets the same packets."""
        self.sounding: FanOut[Samples] = FanOut(FOLLOWED_SAMPLES)
        """Who gets the samples that are in them, mono at 48 kHz, whenever a packet is taken."""
        self.mixer = Mixer(self.followers.wanted.set, lambda: not for_followers or len(self.followers) > 0)
        """What is sent."""
        self._clock = clock
        settings = opus or OpusSettings()
        self._encoder = OpusEncoder(settings)
        self._loss = LossEstimate(settings.expected_loss_percent) if settings.fec else None
        self._number = 0
        self._start: float | None = None
        self._following = False
        self._late = late
        self._told_at = float("-inf")
        """When ``late`` was told last."""

    def follow(self, arrival: float) -> None:
        """A packet of the peer arrived at ``arrival`` (clock seconds): leave a little after such ones, not anytime.

        Only in silence, and in steps too small to matter for a playout buffer. Jitter of the arrivals averages out.
        """
        if self._start is None or (self.mixer.speaking and self._following):
            return
        apart = (arrival + FOLLOW_SECONDS - self._start) % FRAME_SECONDS
        early = apart if apart < FRAME_SECONDS / 2 else apart - FRAME_SECONDS
        if not self._following:  # the first time at once: nobody has heard anything yet
            self._following, step = True, apart
        else:
            step = min(max(0.1 * early, -LARGEST_STEP), LARGEST_STEP)
        self._start += step

    def lost(self, share: float) -> None:
        """The peer reports that it has lost this share of the packets, 0–1, since its last report."""
        if self._loss is not None:
            before = self._loss.percent
            if self._loss.reported(share, self._clock.now()) != before:
                self._encoder.expect_loss(self._loss.percent)

    async def recv(self) -> av.Packet[Any]:
        """The next packet, when it is due. Raises ``MediaStreamError`` after ``stop()``."""
        if self.readyState != "live":
            raise MediaStreamError
        now = self._clock.now()
        if self._start is None:
            self._start = now
        wait = self._start + self._number * FRAME_SECONDS - now
        if wait > 0:
            await self._clock.sleep(wait)
            if self.readyState != "live":
                raise MediaStreamError
            due, now = now + wait, self._clock.now()
            wait = due - now
        elif wait < -LATE_SECONDS:
            self._number += int(-wait / FRAME_SECONDS)
        if now - self._told_at >= FRAME_SECONDS / 2:
            self._told_at = now
            self._late(max(0.0, -wait))
        samples = self.mixer.take(FRAME)
        self.sounding.put(samples)
        packet = self._encoder.encode(samples, self._number)
        self._number += 1
        self.followers.put(packet)
        return packet

    async def run(self) -> None:
        """Take the voice as it is due, where no sender does; only while it sounds or somebody follows it."""
        with suppress(MediaStreamError):
            while True:
                if not self.mixer.speaking and not len(self.followers):
                    self.followers.wanted.clear()
                    await self.followers.wanted.wait()
                    self._skip()
                await self.recv()

    def _skip(self) -> None:
        """Go on from now after a pause, rather than sending a burst to catch up."""
        if self._start is not None:
            late = self._clock.now() - self._start - self._number * FRAME_SECONDS
            self._number += max(0, int(late / FRAME_SECONDS))

    def stop(self) -> None:
        """Send nothing any more, and free the encoder at once: it has native threads. Idempotent."""
        super().stop()
        self.followers.close()
        self.sounding.close()
        self._encoder.close()
