"""A remote audio track → chunks of mono, in order and without holes, as the packets arrive.

Packets are decoded here and not by aiortc (see :mod:`media.aiortc_internals.receive`): nothing is held back but what
waits behind a gap. What is missing, be it lost, broken, or a pause of the sender (DTX), is made up once
(:class:`AudioTimeline`) and filled with what the next packet repeats of it, or what was heard just before
(:class:`Concealer`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
from aiortc import RTCRtpReceiver
from numpy.typing import NDArray

from media.aiortc_internals.receive import take_audio
from media.channel import Channel
from media.clock import Clock
from media.fan_out import FanOut
from media.frames import AudioChunk, Samples, silence
from media.jitter import Received, ReorderBuffer, signed
from media.libopus_internals import OpusError
from media.opus import RATE, OpusDecoder
from media.resample import Resampler

_Wave = NDArray[np.float32]

_SHORTEST_PERIOD_SECONDS = 1 / 400
_LONGEST_PERIOD_SECONDS = 1 / 66
_HISTORY_SECONDS = 0.04
"""Twice the longest period, and an overlap."""
_OVERLAP_SECONDS = 0.004
_MEET_SECONDS = 0.001
"""What is made up begins where the sound stopped, and goes over to its own course in this time."""
_STEADY_SECONDS = 0.01
"""The first 10 ms of a loss are not attenuated."""
_FADE_SECONDS = 0.06
"""After this nothing is left: repeating longer sounds like a machine, and a recogniser would hear words in it."""
_SEARCH_RATE = 12_000
"""Hertz; the pitch is looked for roughly at this rate first."""
_VOICED = 0.5
"""Correlation below which there is no pitch; noise repeated at a short period would buzz."""


class Concealer:
    """Packet-loss concealment after ITU-T G.711 Appendix I, for one stream at ``rate`` hertz.

    The last pitch period is repeated, fades to silence within 60 ms, and both joins are overlapped so that nothing
    clicks. Give it what arrives and what is missing, in order; it returns what to play, of the same length.
    """

    def __init__(self, rate: int) -> None:
        self.concealed_samples = 0
        """Total length of what was made up."""
        self._shortest = round(_SHORTEST_PERIOD_SECONDS * rate)
        self._longest = round(_LONGEST_PERIOD_SECONDS * rate)
        self._overlap = round(_OVERLAP_SECONDS * rate)
        self._meet = np.linspace(1, 0, round(_MEET_SECONDS * rate), dtype=np.float32)
        self._search_step = max(1, rate // _SEARCH_RATE)
        steady, fade = round(_STEADY_SECONDS * rate), round((_FADE_SECONDS - _STEADY_SECONDS) * rate)
        self._gain = np.concatenate([np.ones(steady), np.linspace(1, 0, fade)]).astype(np.float32)
        self._history = np.zeros(round(_HISTORY_SECONDS * rate), np.int16)
        self._continuation: Samples | None = None
        """While something is missing: what would follow the last sound."""
        self._used = 0

    def received(self, samples: Samples) -> Samples:
        """The next samples that arrived, shape ``(n,)``; a join after a loss is cross-faded."""
        if self._continuation is not None and len(samples):
            samples = self._join(samples)
        self._remember(samples)
        return samples

    def lost(self, count: int) -> Samples:
        """``count`` samples in place of what is missing."""
        if self._continuation is None and count:
            self._continuation, self._used = self._continue(), 0
        made = self._take(count)
        self.concealed_samples += count
        self._remember(made)
        return made

    def _take(self, count: int) -> Samples:
        """The next ``count`` samples of the continuation; silence after its end."""
        made = np.zeros(count, np.int16)
        if self._continuation is not None:
            part = self._continuation[self._used : self._used + count]
            made[: len(part)] = part
            self._used += count
        return made

    def _join(self, samples: Samples) -> Samples:
        """Cross-fade from the continuation into the real signal."""
        length = min(self._overlap * 2, len(samples))
        rising = np.linspace(0, 1, length, dtype=np.float32)
        joined = samples.copy()
        joined[:length] = np.rint(samples[:length] * rising + self._take(length) * (1 - rising))
        self._continuation = None
        return joined

    def _continue(self) -> Samples:
        """What would follow the history: its last pitch period over and over, fading."""
        history = self._history.astype(np.float32)
        lag = self._pitch_period(history)
        period = history[-lag:].copy()
        overlap = min(self._overlap, lag // 4)  # the end is bent to meet the beginning: repeating must not click
        rising = np.linspace(0, 1, overlap, dtype=np.float32)
        period[-overlap:] += (history[-lag - overlap : -lag] - period[-overlap:]) * rising
        wave = np.resize(period, len(self._gain)) * self._gain
        wave[: len(self._meet)] += (history[-1] - history[-lag - 1]) * self._meet
        continuation: Samples = np.clip(np.rint(wave), -32768, 32767).astype(np.int16)
        return continuation

    def _pitch_period(self, history: _Wave) -> int:
        """Samples per pitch period, searched coarsely and then to the sample."""
        step = self._search_step
        coarse = history[len(history) % step :].reshape(-1, step).mean(1)
        lag, likeness = _best_lag(coarse, self._shortest // step, self._longest // step)
        if likeness < _VOICED:
            return self._longest
        around = max(self._shortest, (lag - 1) * step), min(self._longest, (lag + 1) * step)
        return _best_lag(history, *around)[0]

    def _remember(self, samples: Samples) -> None:
        size = len(self._history)
        if len(samples) < size:
            samples = np.concatenate([self._history[len(samples) :], samples])
        self._history = samples[-size:]


def _best_lag(signal: _Wave, shortest: int, longest: int) -> tuple[int, float]:
    """The lag at which the end of ``signal`` is most like itself, and the normalised cross-correlation there."""
    window = min(longest, len(signal) - longest)
    target = signal[-window:]
    past = signal[len(signal) - window - longest : len(signal) - shortest]
    energy = np.concatenate([[0.0], np.cumsum(past.astype(np.float64) ** 2)])
    power = (energy[window:] - energy[:-window]) * float(target @ target)
    likeness = np.correlate(past, target, "valid") / np.sqrt(np.maximum(power, 1.0))
    best = int(np.argmax(likeness))
    return longest - best, float(likeness[best])


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
    """Counts samples at ``rate`` hertz against the clock."""

    def __init__(self, rate: int) -> None:
        self.stalled = 0
        """Samples made up while nothing arrived."""
        self._rate = rate
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
        missing = max(0, round(self._uncovered))
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


SETTLED_SECONDS = 1.5
"""Silence made up for packets that come after all is given back when it has been quiet for this long: longer than the
silence that ends a turn, which must not be shortened."""
QUIET_PEAK = 330
"""Largest sample (−40 dB of full scale) of a frame that is quiet."""
CAPACITY_CHUNKS = 250
"""5 s of 20 ms chunks may wait for the conversation before the oldest are dropped."""
_CHECK_SECONDS = 0.1


class AudioIn:
    """Owns the reading of one track; ``chunks`` is where the audio comes out and is closed when the track ends.

    ``rate`` is the sample rate that comes out. The media time of a chunk is the length of audio delivered before it,
    so it never jumps. ``on_packet`` is told when each packet arrives, on the clock.
    """

    def __init__(
        self,
        receiver: RTCRtpReceiver,
        rate: int,
        clock: Clock,
        on_packet: Callable[[float], None] | None = None,
    ) -> None:
        self.chunks: Channel[AudioChunk] = Channel(CAPACITY_CHUNKS)
        self.followers: FanOut[AudioChunk] = FanOut(CAPACITY_CHUNKS)
        """Who gets the same chunks."""
        self.order = ReorderBuffer()
        self.concealer = Concealer(RATE)
        self.broken = 0
        """Packets that could not be decoded."""
        self.refused = 0
        """Packets that were not decoded because the sender is far ahead of real time."""
        self.repeated_samples = 0
        """At 48 kHz: of packets that were lost, as the packets behind them told it (in-band FEC)."""
        self._rate = rate
        self._clock = clock
        self._timeline = AudioTimeline(RATE)
        self._decoder = OpusDecoder()
        self._resampler = Resampler(rate)
        self._gap = asyncio.Event()
        self._ssrc: int | None = None
        self._delivered = 0
        self._quiet = 0
        """Samples of quiet so far while there is silence to give back."""
        self._on_packet = on_packet
        self._ended = take_audio(receiver, self.packet)

    @property
    def concealed_samples(self) -> int:
        """At 48 kHz: made up in place of what was missing between packets. What filled stalls is not in it."""
        return self.concealer.concealed_samples - self._timeline.stalled

    async def run(self) -> None:
        """Watch over the track until it ends; the packets themselves are handled as they arrive."""
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = [tasks.create_task(self._fill_stalls()), tasks.create_task(self._give_up_gaps())]
                await self._ended.wait()
                for task in watching:
                    task.cancel()
        finally:
            self._play_all(self.order.restart())
            self.close()

    def close(self) -> None:
        """No more audio; the codec's memory is freed. Idempotent."""
        self.chunks.close()
        self.followers.close()
        self._on_packet = None
        self._decoder.close()
        self._resampler.close()

    def packet(self, ssrc: int, sequence: int, timestamp: int, payload: bytes) -> None:
        """One Opus packet has arrived (an empty one only takes its place in the order). Ignored after the end."""
        if self.chunks.closed:
            return
        if ssrc != self._ssrc:
            self._play_all(self.order.restart())
            self._ssrc = ssrc
        now = self._clock.now()
        if self._on_packet is not None:
            self._on_packet(now)
        self._play_all(self.order.add(sequence, timestamp, payload, now))
        if self.order.deadline is not None:
            self._gap.set()

    def _play_all(self, packets: list[Received]) -> None:
        for packet in packets:
            if not self._timeline.takes(self._clock.now()):
                self.refused += 1
                continue
            lost = packet.payload and self._timeline.lacks(packet.timestamp)
            repeated = self._decoder.before(packet.payload) if lost else silence(0, RATE)
            samples = self._decode(packet.payload)
            if len(samples):
                self._play(packet.timestamp, samples, repeated)

    def _play(self, timestamp: int, samples: Samples, repeated: Samples) -> None:
        """Deliver a decoded packet at its place on the timeline, and before it whatever is missing up to there.

        ``repeated`` is the end of what is missing, as far as it is known.
        """
        missing = self._timeline.packet(timestamp, self._clock.now())
        if missing > 0:
            known = min(missing, len(repeated))
            if missing > known:
                self._make_up(missing - known)
            if known:
                self._timeline.made_up(known)
                self.repeated_samples += known
                self._deliver(self.concealer.received(repeated[-known:]))
        samples = self.concealer.received(samples)
        kept = self._give_back(samples, -missing)
        self._timeline.played(len(samples), len(samples) - len(kept))
        if len(kept):
            self._deliver(kept)

    def _make_up(self, missing: int) -> None:
        self._timeline.made_up(missing)
        self._deliver(self.concealer.lost(missing))

    def _give_back(self, samples: Samples, surplus: int) -> Samples:
        """``samples`` without the first ``surplus`` of them, if it has been quiet long enough for nobody to notice."""
        if surplus <= 0:
            self._quiet = 0
            return samples
        loud = max(int(samples.max()), -int(samples.min())) > QUIET_PEAK
        self._quiet = 0 if loud else self._quiet + len(samples)
        return samples[surplus:] if self._quiet >= SETTLED_SECONDS * RATE else samples

    def _decode(self, payload: bytes) -> Samples:
        """Mono at 48 kHz; nothing when the packet is empty or broken: the next timestamp will tell what is missing."""
        if not payload:  # to the codec an empty packet is the end of the stream, for good
            return silence(0, RATE)
        try:
            return self._decoder.decode(payload)
        except OpusError:
            self.broken += 1
            return silence(0, RATE)

    async def _fill_stalls(self) -> None:
        while True:
            await self._clock.sleep(_CHECK_SECONDS)
            if missing := self._timeline.stall(self._clock.now()):
                self._make_up(missing)

    async def _give_up_gaps(self) -> None:
        """Give up a gap when its time has come even if nothing else arrives."""
        while True:
            await self._gap.wait()
            self._gap.clear()
            while (deadline := self.order.deadline) is not None:
                await self._clock.sleep(deadline - self._clock.now())
                self._play_all(self.order.expire(self._clock.now()))

    def _deliver(self, samples: Samples) -> None:
        samples = self._resampler.push(samples, RATE)
        if len(samples):
            chunk = AudioChunk(samples, self._rate, self._delivered / self._rate)
            self.chunks.put(chunk)
            self.followers.put(chunk)
            self._delivered += len(samples)
