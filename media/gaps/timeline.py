"""How much audio is missing: RTP timestamps and what has been delivered, against the clock. Pure."""

from __future__ import annotations

from media.jitter import signed

STALL_SECONDS = 0.2
"""Without a packet for this long, silence is made up as time passes: turn-taking counts audio time and must not stand
still when a client mutes by sending nothing (DTX, a removed track)."""
LARGEST_GAP_SECONDS = 2.0
"""A timestamp further than this behind the timeline means that the sender stopped its clock while it was mute; and no
more than this is made up at a time."""
SLACK_SECONDS = 0.1
"""A gap may be this much longer than the time that has passed: a packet after a loss may have come sooner."""
MOST_AHEAD_SECONDS = 10.0
"""What a network may have held back and delivers at once. A sender that is further ahead of real time is not heard."""


class AudioTimeline:
    """Counts samples at ``rate`` hertz against the clock.

    What is made up in a stall is a multiple of ``step``: so many make one sample of the sound that is delivered.
    """

    def __init__(self, rate: int, step: int = 1) -> None:
        self.stalled = 0
        """Samples made up while nothing arrived."""
        self._rate, self._step = rate, step
        self._stall, self._most = STALL_SECONDS * rate, LARGEST_GAP_SECONDS * rate
        self._slack = SLACK_SECONDS * rate
        self._next: int | None = None
        """RTP timestamp of the next sample to deliver."""
        self._uncovered = 0.0
        """Samples' time that has passed and for which there has been no audio; negative: there is audio for so long."""
        self._ahead = 0.0
        """Samples delivered beyond the time that has passed."""
        self._counted_at = 0.0
        self._heard_at: float | None = None
        self._early = 0
        """Samples of the timeline for which packets may yet come: made up in a stall, or longer packets than agreed."""
        self._length = 0
        """Samples of the last packet."""

    def takes(self, now: float) -> bool:
        """Whether audio that arrives at ``now`` is to be decoded at all."""
        self._count(now)
        return self._ahead <= MOST_AHEAD_SECONDS * self._rate

    def lacks(self, timestamp: int) -> bool:
        """Whether something is missing before the packet with this timestamp, and not for longer than a loss lasts."""
        return self._next is not None and 0 < signed(timestamp - self._next, 32) <= self._stall

    def packet(self, timestamp: int, now: float) -> int:
        """Samples to make up before a packet that is played at ``now``; negative: so many were made up too much."""
        self._heard_at = now
        missing = 0 if self._next is None else signed(timestamp - self._next, 32)
        if self._next is None or -missing > min(self._early + self._length + self._slack, self._most):
            self._next, missing = timestamp, 0
        self._early = max(0, -missing)
        if missing > self._uncovered + self._slack:  # so much cannot be missing: the sender has moved its clock
            missing = max(0, int(self._uncovered))
            self._next = (timestamp - missing) % 2**32
        return missing

    def stall(self, now: float) -> int:
        """Samples to make up because nothing has come for long; 0 before the first packet."""
        if self._heard_at is None or now - self._heard_at < STALL_SECONDS - 1e-9:
            return 0
        self._count(now)
        missing = max(0, round(self._uncovered)) // self._step * self._step
        self.stalled += missing
        self._early += missing
        return missing

    def made_up(self, count: int) -> None:
        """``count`` samples have been delivered in place of what is missing."""
        self._move(count)
        self._uncovered -= count

    def played(self, length: int, left_out: int) -> None:
        """A packet of ``length`` samples has been delivered but for ``left_out`` of them, which gives back silence."""
        self._move(length - left_out)
        self._length = length
        self._early = max(0, self._early - left_out)
        # covered up to the packet's end, whatever burst it came in; what a stall may be is made up in the stall
        covered = max(self._uncovered - length, min(self._uncovered, -length))
        self._uncovered = min(covered, self._stall)

    def _move(self, count: int) -> None:
        assert self._next is not None
        self._next = (self._next + count) % 2**32
        self._ahead += count

    def _count(self, now: float) -> None:
        if self._heard_at is not None:
            passed = (now - self._counted_at) * self._rate
            self._uncovered = min(self._uncovered + passed, self._most)
            self._ahead = max(0.0, self._ahead - passed)
        self._counted_at = now
