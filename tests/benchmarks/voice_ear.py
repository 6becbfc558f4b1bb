"""What ``tests.benchmarks.voice`` hears, and when.

Ear time of a sample: the arrival of its RTP packet plus its place in it. There is no jitter buffer; what one of 60 ms
would have had to make up is told beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from media.clock import Clock
from media.frames import Samples, rms, silence
from media.jitter import signed
from media.libopus_internals import OpusError
from media.opus import FRAME, RATE, OpusDecoder
from pipelines.engines.stubs import TONES

AUDIBLE = 200
"""Amplitude (-44 dB of full scale) above which something is heard …"""
AUDIBLE_SAMPLES = 8
"""… if more than so many samples of a packet are above it."""
REPLY_GAP = 0.25
"""Seconds of silence between two replies. Pauses between the sentences of one are shorter."""
PLAYOUT_BUFFER = 0.06
"""Seconds: the fixed buffer that ``late60`` supposes."""
DUCKED = 10 ** (-6 / 20)
_BLOCK = FRAME // 2
_NOTHING: Samples = silence(0, RATE)
_TIME = np.arange(FRAME) / RATE
_PROBES = tuple(np.exp(-2j * np.pi * tone * _TIME) for tone in TONES)


class Packet(NamedTuple):
    """One RTP packet: arrival in seconds on the client's clock, numbers from the first packet's, unwrapped."""

    arrival: float
    sequence: int
    timestamp: int


@dataclass(slots=True)
class Reply:
    """A run of sound; of the bench profile's tones a change of tone ends it, too."""

    start: float
    """Ear time of its first sample that is heard, in seconds on the client's clock."""
    end: float
    """Ear time just after the last so far."""
    tone: int | None
    first: int
    """Index of its first packet."""
    last: int


@dataclass(frozen=True, slots=True)
class Quality:
    """How whole a stream came."""

    packets: int
    lost: int
    """Sequence numbers that never came, of the whole stream."""
    breaks: int
    """Places where the timestamps do not go on as the sequence numbers do (20 ms each)."""
    reply_packets: int
    late60_percent: float
    """Packets of replies that a fixed playout buffer of 60 ms would have had to conceal."""
    max_gap_ms: float
    """Longest time between two packets of a reply."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Ear:
    """Decodes each packet as it arrives and tells replies apart. Give :meth:`packet` to ``take_audio``."""

    def __init__(self, clock: Clock) -> None:
        self.packets: list[Packet] = []
        self.replies: list[Reply] = []
        self.levels: list[tuple[float, float]] = []
        """Ear time and RMS of each 10 ms."""
        self.closely = True
        """Whether to note levels and tones, which tell an interrupted reply from the next: as dear as decoding."""
        self._clock = clock
        self._quiet_since = -math.inf
        self._decoder = OpusDecoder()
        self._silent: bytes | None = None
        """The last payload, if it decoded to silence: what is sent while nothing is said is the same over and over."""
        self._raw = (0, 0)

    def packet(self, ssrc: int, sequence: int, timestamp: int, payload: bytes) -> None:
        """A packet has arrived."""
        now = self._clock.now()
        self._note(now, sequence, timestamp)
        if payload == self._silent:
            if self.closely:
                self.levels += [(now, 0.0), (now + _BLOCK / RATE, 0.0)]
            return
        samples = self._decode(payload)
        for begin in range(0, len(samples) if self.closely else 0, _BLOCK):
            self.levels.append((now + begin / RATE, rms(samples[begin : begin + _BLOCK])))
        heard = np.flatnonzero((samples > AUDIBLE) | (samples < -AUDIBLE))
        self._silent = None if samples.any() else payload
        if len(heard) > AUDIBLE_SAMPLES:
            tone = _tone(samples) if self.closely else None
            self._hear(now + int(heard[0]) / RATE, now + (int(heard[-1]) + 1) / RATE, tone)

    def quiet_for(self) -> float:
        """Seconds since anything was heard."""
        return self._clock.now() - self._quiet_since

    def reply_after(self, time: float) -> Reply | None:
        """The first reply that began after ``time``."""
        return next((reply for reply in self.replies if reply.start > time), None)

    def ducked_at(self, reply: Reply, onset: float) -> float | None:
        """When ``reply`` became 6 dB softer for good than in the half second before ``onset``; its end at the latest.

        ``None`` when nothing of it was heard before.
        """
        reference = [level for time, level in self.levels if max(reply.start, onset - 0.5) <= time < onset]
        if not reference:
            return None
        limit = DUCKED * math.sqrt(sum(level**2 for level in reference) / len(reference))
        ducked = reply.end
        for time, level in reversed(self.levels):
            if time < onset or (time < reply.end and level > limit):
                break
            ducked = min(ducked, time)
        return ducked

    def quality(self) -> Quality:
        """Of the stream so far."""
        numbers = {packet.sequence for packet in self.packets}
        lost = max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0
        ordered = sorted(self.packets, key=lambda packet: packet.sequence)
        breaks = sum(
            after.timestamp - before.timestamp != (after.sequence - before.sequence) * FRAME
            for before, after in pairwise(ordered)
        )
        parts = [self.packets[reply.first : reply.last + 1] for reply in self.replies]
        count = sum(map(len, parts))
        late = 100.0 * sum(map(_late, parts)) / count if count else 0.0
        gap = 1000.0 * max(map(_longest_gap, parts), default=0.0)
        return Quality(len(self.packets), lost, breaks, count, round(late, 2), round(gap, 1))

    def _note(self, now: float, sequence: int, timestamp: int) -> None:
        if self.packets:
            newest = self.packets[-1]
            step, ticks = signed(sequence - self._raw[0], 16), signed(timestamp - self._raw[1], 32)
            self.packets.append(Packet(now, newest.sequence + step, newest.timestamp + ticks))
        else:
            self.packets.append(Packet(now, 0, 0))
        self._raw = (sequence, timestamp)

    def _hear(self, start: float, end: float, tone: int | None) -> None:
        index, last = len(self.packets) - 1, self.replies[-1] if self.replies else None
        switched = last is not None and None not in (tone, last.tone) and tone != last.tone
        if last is None or start - last.end > REPLY_GAP or switched:
            self.replies.append(Reply(start, end, tone, index, index))
        else:
            last.end, last.last = end, index
            last.tone = tone if last.tone is None else last.tone
        self._quiet_since = end

    def _decode(self, payload: bytes) -> Samples:
        try:
            return self._decoder.decode(payload) if payload else _NOTHING
        except OpusError:
            return _NOTHING


def _tone(samples: Samples) -> int | None:
    """Which of the bench profile's tones fills the frame, if any."""
    if len(samples) != FRAME:
        return None
    wide = samples.astype(np.float64)
    energy = float(np.dot(wide, wide)) * FRAME / 2 + 1e-9
    shares = [abs(np.dot(wide, probe)) ** 2 / energy for probe in _PROBES]
    return int(np.argmax(shares)) if max(shares) > 0.4 else None


def _late(packets: Sequence[Packet]) -> int:
    """Packets that come later than the buffer allows, reckoned from the first."""
    first = packets[0]
    return sum(
        packet.arrival > first.arrival + PLAYOUT_BUFFER + (packet.timestamp - first.timestamp) / RATE
        for packet in packets
    )


def _longest_gap(packets: Sequence[Packet]) -> float:
    return max((b.arrival - a.arrival for a, b in pairwise(packets)), default=0.0)
