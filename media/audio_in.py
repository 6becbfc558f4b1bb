"""A remote audio track → chunks of mono, in order and without holes, as the packets arrive.

Packets are decoded here and not by aiortc (see :mod:`media.receive`): nothing is held back but what waits behind a gap.
"""

from __future__ import annotations

import asyncio

import av
import numpy as np
from aiortc import RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError
from av.audio.codeccontext import AudioCodecContext

from media.channel import Channel
from media.clock import Clock
from media.conceal import Concealer
from media.frames import AudioChunk, Samples, silence
from media.opus import FRAME, RATE
from media.receive import take_audio
from media.reorder import Lost, Received, ReorderBuffer
from media.resample import mono

STALL_SECONDS = 0.2
"""Without a packet for this long, silence is made up: turn-taking counts audio time and must not stand still when a
client mutes by sending nothing (DTX, a removed track)."""
LONGEST_PAUSE_SECONDS = 1.0
"""A jump of the sender's timestamps (DTX) is filled with silence up to this length."""
LONGEST_CONCEALED_SECONDS = 0.5
"""A longer loss is filled with silence after this."""
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
        self.stalled_seconds = 0.0
        """Silence made up while nothing arrived."""
        self._receiver = receiver
        self._rate = rate
        self._clock = clock
        self._decoder = _opus_decoder()
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=rate) if rate != RATE else None
        self._timer: asyncio.TimerHandle | None = None
        self._delivered = 0
        self._position = 0
        """RTP timestamp (from the first packet) up to which audio has been delivered."""
        self._arrival: float | None = None
        self._made_up = 0
        take_audio(receiver, self.packet)

    async def run(self) -> None:
        """Watch over the track until it ends; the packets themselves are handled as they arrive."""
        watch = asyncio.create_task(self._watch())
        try:
            while True:
                await self._receiver.track.recv()
        except MediaStreamError:
            pass
        finally:
            watch.cancel()
            if self._timer is not None:
                self._timer.cancel()
            self.chunks.close()

    def packet(self, sequence: int, timestamp: int, payload: bytes) -> None:
        """One Opus packet has arrived."""
        self._arrival = now = self._clock.now()
        self._take(self.order.add(sequence, timestamp, payload, now))
        self._set_timer(now)

    def _take(self, items: list[Received | Lost]) -> None:
        for item in items:
            if isinstance(item, Lost):
                self._conceal(item.packets * FRAME)
            else:
                self._play(item)

    def _play(self, packet: Received) -> None:
        gap = packet.timestamp - self._position
        if gap > 0:  # the sender paused; what was made up for it meanwhile counts
            wanted = min(gap, round(LONGEST_PAUSE_SECONDS * RATE)) - self._made_up
            self._deliver(silence(wanted / RATE, RATE))
        self._made_up = 0
        try:
            frames = self._decoder.decode(av.Packet(packet.payload))
        except av.FFmpegError:  # a broken packet is a lost one
            self._position = packet.timestamp
            self._conceal(FRAME)
            return
        samples = np.concatenate([mono(frame) for frame in frames]) if frames else silence(0, RATE)
        self._position = packet.timestamp + len(samples)
        self._deliver(self.concealer.received(samples))

    def _conceal(self, count: int) -> None:
        self._position += count
        concealed = min(count, round(LONGEST_CONCEALED_SECONDS * RATE))
        self._deliver(self.concealer.lost(concealed))
        self._deliver(silence((count - concealed) / RATE, RATE))

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(_CHECK_SECONDS)
            self.order.relax()
            now = self._clock.now()
            if self._arrival is not None and now - self._arrival - self._made_up / RATE >= STALL_SECONDS:
                self.stalled_seconds += STALL_SECONDS
                self._made_up += round(STALL_SECONDS * RATE)
                self._deliver(silence(STALL_SECONDS, RATE))

    def _set_timer(self, now: float) -> None:
        """Give up a gap when its time has come even if nothing else arrives."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.order.deadline is not None:
            delay = max(0.0, self.order.deadline - now)
            self._timer = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._clock.now()
        self._take(self.order.expire(now))
        self._set_timer(now)

    def _deliver(self, samples: Samples) -> None:
        if self._resampler is not None and len(samples):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None, :], format="s16", layout="mono")
            frame.sample_rate = RATE
            samples = np.concatenate([silence(0, 1), *(mono(part) for part in self._resampler.resample(frame))])
        if len(samples):
            self.chunks.put(AudioChunk(samples, self._rate, self._delivered / self._rate))
            self._delivered += len(samples)


def _opus_decoder() -> AudioCodecContext:
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "mono", RATE
    return decoder
