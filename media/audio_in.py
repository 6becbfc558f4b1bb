"""A remote audio track → chunks of mono, in order and without holes, as the packets arrive.

Packets are decoded here and not by aiortc (see :mod:`media.receive`): nothing is held back but what waits behind a gap.
There is one timeline: the RTP timestamp of the next sample to deliver. Whatever lies between it and the next packet's
timestamp is missing, be it lost, broken, or a pause of the sender (DTX), and is made up once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import av
import numpy as np
from aiortc import RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError
from av.audio.codeccontext import AudioCodecContext

from media.channel import Channel
from media.clock import Clock
from media.conceal import Concealer
from media.frames import AudioChunk, Samples, silence
from media.opus import RATE
from media.receive import take_audio
from media.reorder import Received, ReorderBuffer, signed
from media.resample import Resampler, mono

STALL_SECONDS = 0.2
"""Without a packet for this long, silence is made up as time passes: turn-taking counts audio time and must not stand
still when a client mutes by sending nothing (DTX, a removed track)."""
LARGEST_GAP_SECONDS = 2.0
"""A timestamp further than this from the timeline means that the sender set its clock anew, not that audio is missing:
longer pauses are made up while they last."""
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
    so it never jumps.
    """

    def __init__(self, receiver: RTCRtpReceiver, rate: int, clock: Clock) -> None:
        self.chunks: Channel[AudioChunk] = Channel(CAPACITY_CHUNKS)
        self.order = ReorderBuffer()
        self.concealer = Concealer(RATE)
        self.broken = 0
        """Packets that could not be decoded."""
        self.stalled_seconds = 0.0
        """Silence made up while nothing arrived."""
        self._receiver = receiver
        self._rate = rate
        self._clock = clock
        self._decoder = _opus_decoder()
        self._resampler = Resampler(rate)
        self._gap = asyncio.Event()
        self._ssrc: int | None = None
        self._delivered = 0
        self._timestamp: int | None = None
        """RTP timestamp of the next sample to deliver."""
        self._heard_at: float | None = None
        """When the last packet was played, on the clock."""
        self._covered_until = 0.0
        """The time on the clock up to which there is audio."""
        self._quiet = 0
        """Samples of quiet so far while there is silence to give back."""
        self.on_packet: Callable[[float], None] | None = None
        """Told when each packet arrives, on the clock."""
        take_audio(receiver, self.packet)

    @property
    def concealed_samples(self) -> int:
        """At 48 kHz: made up in place of what was missing between packets. What filled stalls is not in it."""
        return self.concealer.concealed_samples - round(self.stalled_seconds * RATE)

    async def run(self) -> None:
        """Watch over the track until it ends; the packets themselves are handled as they arrive."""
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = [tasks.create_task(self._fill_stalls()), tasks.create_task(self._give_up_gaps())]
                with suppress(MediaStreamError):
                    while True:
                        await self._receiver.track.recv()
                for task in watching:
                    task.cancel()
        finally:
            self._play_all(self.order.restart())
            self.chunks.close()

    def packet(self, ssrc: int, sequence: int, timestamp: int, payload: bytes) -> None:
        """One Opus packet has arrived (an empty one only takes its place in the order). Ignored after the end."""
        if self.chunks.closed:
            return
        if ssrc != self._ssrc:
            self._play_all(self.order.restart())
            self._ssrc = ssrc
        now = self._clock.now()
        if self.on_packet is not None:
            self.on_packet(now)
        self._play_all(self.order.add(sequence, timestamp, payload, now))
        if self.order.deadline is not None:
            self._gap.set()

    def _play_all(self, packets: list[Received]) -> None:
        for packet in packets:
            samples = self._decode(packet.payload)
            if len(samples):
                self._play(packet.timestamp, samples)

    def _play(self, timestamp: int, samples: Samples) -> None:
        """Deliver a decoded packet at its place on the timeline, and before it whatever is missing up to there."""
        self._heard_at = self._clock.now()
        self._covered_until = self._heard_at + len(samples) / RATE
        missing = self._missing_before(timestamp)
        if missing > 0:
            self._deliver(self.concealer.lost(missing))
        samples = self.concealer.received(samples)
        kept = self._give_back(samples, -missing)
        if len(kept):
            self._deliver(kept)

    def _missing_before(self, timestamp: int) -> int:
        """Samples between the timeline and ``timestamp``; negative when silence was made up that was not missing."""
        missing = 0 if self._timestamp is None else signed(timestamp - self._timestamp, 32)
        if self._timestamp is None or abs(missing) > LARGEST_GAP_SECONDS * RATE:
            self._timestamp, missing = timestamp, 0
        return missing

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
            frames = self._decoder.decode(av.Packet(payload))
        except av.FFmpegError:
            self.broken += 1
            return silence(0, RATE)
        pieces = [mono(frame) for frame in frames]
        return pieces[0] if len(pieces) == 1 else np.concatenate([silence(0, RATE), *pieces])

    async def _fill_stalls(self) -> None:
        while True:
            await self._clock.sleep(_CHECK_SECONDS)
            now = self._clock.now()
            if self._heard_at is None or now - self._heard_at < STALL_SECONDS - 1e-9:
                continue
            since = max(self._covered_until, now - LARGEST_GAP_SECONDS)
            missing = round((now - since) * RATE)
            self._covered_until = since + missing / RATE
            self.stalled_seconds += missing / RATE
            self._deliver(self.concealer.lost(missing))

    async def _give_up_gaps(self) -> None:
        """Give up a gap when its time has come even if nothing else arrives."""
        while True:
            await self._gap.wait()
            self._gap.clear()
            while (deadline := self.order.deadline) is not None:
                await self._clock.sleep(deadline - self._clock.now())
                self._play_all(self.order.expire(self._clock.now()))

    def _deliver(self, samples: Samples) -> None:
        assert self._timestamp is not None
        self._timestamp = (self._timestamp + len(samples)) % 2**32
        samples = self._resampler.push(samples, RATE)
        if len(samples):
            self.chunks.put(AudioChunk(samples, self._rate, self._delivered / self._rate))
            self._delivered += len(samples)


def _opus_decoder() -> AudioCodecContext:
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "mono", RATE
    return decoder
