"""A remote audio track → chunks of mono, in order and without holes, as the packets arrive.

Packets are decoded here and not by aiortc (see :mod:`media.aiortc_internals.receive`): nothing is held back but what
waits behind a gap. What is missing, be it lost, broken, or a pause of the sender (DTX), is made up once
(:mod:`media.gaps.timeline`) and filled with what the next packet repeats of it, or what was heard just before
(:mod:`media.gaps.concealment`).

Where Opus can, it decodes at once to the rate that is wanted: the 16 kHz of a recogniser are what it codes a voice in,
and to decode 48 kHz of which two thirds are filtered away again takes nearly three times as long. The timeline counts
in RTP's 48 kHz all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiortc import RTCRtpReceiver

from media.aiortc_internals.receive import take_audio
from media.channel import Channel
from media.clock import Clock
from media.fan_out import FanOut
from media.frames import AudioChunk, Samples, silence
from media.gaps.concealment import Concealer
from media.gaps.timeline import AudioTimeline
from media.jitter import Received, ReorderBuffer
from media.libopus_internals import OpusError
from media.opus import RATE, OpusDecoder
from media.resample import Resampler

SETTLED_SECONDS = 1.5
"""Silence made up for packets that come after all is given back when it has been quiet for this long: longer than the
silence that ends a turn, which must not be shortened."""
QUIET_PEAK = 330
"""Largest sample (−40 dB of full scale) of a frame that is quiet."""
CAPACITY_CHUNKS = 250
"""5 s of 20 ms chunks may wait for the conversation before the oldest are dropped."""
_CHECK_SECONDS = 0.1
_NOTHING: Samples = silence(0, RATE)


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
        self.broken = 0
        """Packets that could not be decoded."""
        self.refused = 0
        """Packets that were not decoded because the sender is far ahead of real time."""
        self.repeated_samples = 0
        """At 48 kHz: of packets that were lost, as the packets behind them told it (in-band FEC)."""
        self._rate = rate
        self._clock = clock
        self._decoder = OpusDecoder(rate)
        self._ticks = RATE // self._decoder.rate
        """Of the RTP clock, for each sample that is decoded."""
        self._timeline = AudioTimeline(RATE, self._ticks)
        self._settled = SETTLED_SECONDS * self._decoder.rate
        self._concealer = Concealer(self._decoder.rate)
        self._resampler = Resampler(rate)
        self._gap = asyncio.Event()
        self._ssrc: int | None = None
        self._delivered = 0
        self._quiet = 0
        """Samples of quiet so far while there is silence to give back."""
        self._on_packet = on_packet
        self._ended = take_audio(receiver, self.packet)

    @property
    def made_up_samples(self) -> int:
        """At 48 kHz: in place of what was missing between packets, and in stalls."""
        return self._concealer.concealed_samples * self._ticks

    @property
    def concealed_samples(self) -> int:
        """At 48 kHz: made up in place of what was missing between packets. What filled stalls is not in it."""
        return self.made_up_samples - self._timeline.stalled

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
            repeated = self._decoder.before(packet.payload) if lost else _NOTHING
            samples = self._decode(packet.payload)
            if len(samples):
                self._play(packet.timestamp, samples, repeated)

    def _play(self, timestamp: int, samples: Samples, repeated: Samples) -> None:
        """Deliver a decoded packet at its place on the timeline, and before it whatever is missing up to there.

        ``repeated`` is the end of what is missing, as far as it is known.
        """
        ticks = self._timeline.packet(timestamp, self._clock.now())
        if ticks > 0:
            missing = ticks // self._ticks  # less than a sample is left to the next packet
            known = min(missing, len(repeated))
            self._make_up(missing - known)
            if known:
                self._timeline.made_up(known * self._ticks)
                self.repeated_samples += known * self._ticks
                self._deliver(self._concealer.received(repeated[-known:]))
        samples = self._concealer.received(samples)
        kept = self._give_back(samples, -ticks // self._ticks)
        self._timeline.played(len(samples) * self._ticks, (len(samples) - len(kept)) * self._ticks)
        if len(kept):
            self._deliver(kept)

    def _make_up(self, missing: int) -> None:
        """``missing`` samples, as they are decoded, in place of what there is not."""
        if missing > 0:
            self._timeline.made_up(missing * self._ticks)
            self._deliver(self._concealer.lost(missing))

    def _give_back(self, samples: Samples, surplus: int) -> Samples:
        """``samples`` without the first ``surplus`` of them, if it has been quiet long enough for nobody to notice."""
        if surplus <= 0:
            self._quiet = 0
            return samples
        loud = max(int(samples.max()), -int(samples.min())) > QUIET_PEAK
        self._quiet = 0 if loud else self._quiet + len(samples)
        return samples[surplus:] if self._quiet >= self._settled else samples

    def _decode(self, payload: bytes) -> Samples:
        """Mono; nothing when the packet is empty or broken: the next timestamp will tell what is missing."""
        if not payload:  # to the codec an empty packet is the end of the stream, for good
            return _NOTHING
        try:
            return self._decoder.decode(payload)
        except OpusError:
            self.broken += 1
            return _NOTHING

    async def _fill_stalls(self) -> None:
        while True:
            await self._clock.sleep(_CHECK_SECONDS)
            self._make_up(self._timeline.stall(self._clock.now()) // self._ticks)

    async def _give_up_gaps(self) -> None:
        """Give up a gap when its time has come even if nothing else arrives."""
        while True:
            await self._gap.wait()
            self._gap.clear()
            while (deadline := self.order.deadline) is not None:
                await self._clock.sleep(deadline - self._clock.now())
                self._play_all(self.order.expire(self._clock.now()))

    def _deliver(self, samples: Samples) -> None:
        samples = self._resampler.push(samples, self._decoder.rate)
        if len(samples):
            chunk = AudioChunk(samples, self._rate, self._delivered / self._rate)
            self.chunks.put(chunk)
            self.followers.put(chunk)
            self._delivered += len(samples)
