"""The receive path of a voice, packet by packet on a fake clock: nothing waits, nothing is missing, nothing twice."""

from __future__ import annotations

import asyncio
import gc
import random
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from types import SimpleNamespace

import av
import numpy as np
import pytest
from aiortc import RTCRtpReceiver

import media.opus
from media.audio_in import CAPACITY_CHUNKS, AudioIn
from media.gaps.timeline import STALL_SECONDS
from media.jitter import LONGEST_WAIT
from media.opus import RATE
from tests.fakes.clock import FakeClock

SSRC = 1234
BOTH = pytest.mark.parametrize("rate", [RATE, 16_000])
LONGEST = LONGEST_WAIT


class FakeTransport:
    """As much of an ``RTCDtlsTransport`` as a receiver needs that is never started."""

    state = "connected"
    _rtp_header_extensions_map = None

    def __init__(self) -> None:
        self._rtp_router = SimpleNamespace(ssrc_table={})
        self.transport = SimpleNamespace(_connection=SimpleNamespace(data_received=None))


class Call:
    """One ``AudioIn`` on a fake clock, and what came out of it when. Begins at 100.0 s on the clock."""

    def __init__(self, rate: int = RATE) -> None:
        self.clock = FakeClock(100.0)
        self.receiver = RTCRtpReceiver("audio", FakeTransport())
        self.audio = AudioIn(self.receiver, rate, self.clock)
        self.rate = rate
        self.heard = np.zeros(0, np.int16)
        self._parts: list[np.ndarray] = []
        self._reached: list[tuple[int, float]] = []
        self._total = 0

    @property
    def seconds(self) -> float:
        """Audio delivered so far."""
        return self._total / self.rate

    @property
    def stalled(self) -> float:
        """Seconds of silence made up while nothing arrived."""
        return (self.audio.made_up_samples - self.audio.concealed_samples) / RATE

    async def until(self, seconds: float) -> None:
        """Let the time of the call pass, every sleeper waking on time."""
        await self._settle()
        while self.clock.waits and self.clock.waits[0] <= 100.0 + seconds - self.clock.now() + 1e-9:
            self.clock.advance(max(0.0, self.clock.waits[0]))
            await self._settle()
        self.clock.advance(max(0.0, 100.0 + seconds - self.clock.now()))

    async def arrive(self, at: float, sequence: int, timestamp: int, payload: bytes, ssrc: int = SSRC) -> None:
        await self.until(at)
        self.audio.packet(ssrc, sequence % 2**16, timestamp % 2**32, payload)
        self._note()

    def reached(self, seconds: float) -> float:
        """The time of the call when this much audio had been delivered."""
        return self._reached[bisect_left(self._reached, (round(seconds * self.rate), 0.0))][1]

    def samples(self) -> np.ndarray:
        return np.concatenate(self._parts)

    async def _settle(self) -> None:
        for _ in range(4):
            await asyncio.sleep(0)
        self._note()

    def _note(self) -> None:
        channel = self.audio.chunks
        while len(channel):
            chunk = channel._items.popleft()
            assert chunk.time == pytest.approx(self._total / self.rate, abs=1e-9)
            assert chunk.rate == self.rate
            self._parts.append(chunk.samples)
            self._total += len(chunk.samples)
            self._reached.append((self._total, self.clock.now() - 100.0))


@asynccontextmanager
async def calling(rate: int = RATE) -> AsyncIterator[Call]:
    call = Call(rate)
    running = asyncio.create_task(call.audio.run())
    try:
        await call.until(0.0)
        yield call
    finally:
        call.receiver._handle_disconnect()
        await running


@cache
def speech(frame: int = 960, seconds: float = 2.0) -> list[bytes]:
    """Opus frames of a loud buzz."""
    t = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * 200 * k * t + k * k) / k for k in range(1, 15))
    return encoded((wave / np.abs(wave).max() * 12_000).astype(np.int16), frame)


@cache
def quiet(frame: int = 960) -> list[bytes]:
    """Opus frames of room noise at −60 dB."""
    return encoded(np.random.default_rng(1).normal(0, 30, RATE).astype(np.int16), frame)


def encoded(samples: np.ndarray, frame: int) -> list[bytes]:
    codec = av.CodecContext.create("libopus", "w")
    codec.format, codec.layout, codec.sample_rate = "s16", "mono", RATE
    codec.options = {"application": "voip", "frame_duration": str(frame / 48)}
    out = []
    for start in range(0, len(samples) - frame + 1, frame):
        part = av.AudioFrame.from_ndarray(samples[None, start : start + frame], format="s16", layout="mono")
        part.sample_rate = RATE
        out += [bytes(packet) for packet in codec.encode(part)]
    return out


def nth(payloads: list[bytes], n: int) -> bytes:
    return payloads[n % len(payloads)]


async def talk(call: Call, numbers, *, at: Callable[[int], float] | None = None, payloads=None, frame: int = 960):
    """Packets ``numbers`` of a sender that never pauses, each arriving when it is sent, or ``at`` another time."""
    for n in numbers:
        when = at(n) if at else n * frame / RATE
        await call.arrive(when, n, n * frame, nth(payloads or speech(frame), n))


# ------------------------------------------------------------------------------------------------ loss and jitter


@BOTH
@pytest.mark.parametrize("loss", [0.0, 0.01, 0.03])
async def test_a_minute_of_loss_and_jitter_keeps_the_timeline_and_adds_no_delay(loss, rate):
    chance = random.Random(5)
    arrivals = {n: n * 0.02 + chance.uniform(0, 0.02) for n in range(3000) if n == 0 or chance.random() >= loss}
    async with calling(rate) as call:
        await talk(call, arrivals, at=arrivals.__getitem__)
        assert call.seconds == pytest.approx(60, abs=0.02)
        delays = [round(call.reached((n + 1) * 0.02) - at, 9) for n, at in arrivals.items()]
        assert np.median(delays) == 0
        assert max(delays) <= LONGEST
        assert np.mean(np.array(delays) > 0) <= 2 * loss  # only the one or two packets behind a loss wait
        assert call.audio.order.lost == 3000 - len(arrivals)
        assert call.audio.made_up_samples == 960 * call.audio.order.lost


@BOTH
@pytest.mark.parametrize("burst", [1, 5])
async def test_a_loss_leaves_no_delay_and_its_length_is_kept(burst, rate):
    async with calling(rate) as call:
        numbers = [n for n in range(200) if not 50 <= n < 50 + burst]
        await talk(call, numbers)
        assert call.seconds == pytest.approx(4.0)
        late = [n for n in numbers if call.reached((n + 1) * 0.02) > n * 0.02 + 1e-9]
        assert late == [50 + burst]
        assert call.audio.made_up_samples == burst * 960


async def test_overtaking_packets_are_put_right_and_nothing_is_made_up():
    async with calling() as call:
        await talk(call, range(100), at=lambda n: n * 0.02 + (0.03 if n % 10 == 5 else 0.0))
        await call.until(3)
    async with calling() as plain:
        await talk(plain, range(100))
    assert call.audio.order.late <= 1  # the first one teaches how long to wait
    assert len(call.samples()) >= len(plain.samples())


@BOTH
async def test_sequence_numbers_and_timestamps_wrap(rate):
    async with calling(rate) as call:
        for n in range(100):
            await call.arrive(n * 0.02, 2**16 - 50 + n, 2**32 - 50 * 960 + n * 960, nth(speech(), n))
        assert call.seconds == pytest.approx(2.0)
        assert call.audio.made_up_samples == 0


@BOTH
@pytest.mark.parametrize("frame", [120, 480, 960, 1920, 2880])
async def test_every_frame_length_and_a_loss_of_it(frame, rate):
    async with calling(rate) as call:
        count = RATE // frame
        lost = {20 % count, count // 2}
        await talk(call, [n for n in range(count) if n not in lost], frame=frame)
        assert call.seconds == pytest.approx(count * frame / RATE)
        assert call.audio.made_up_samples == len(lost) * frame


async def test_the_frame_length_may_change_in_mid_call_even_at_a_loss():
    async with calling() as call:
        await talk(call, range(50))
        timestamp = 51 * 960  # one of 20 ms is lost, then frames of 60 ms
        for n in range(20):
            await call.arrive(1.02 + n * 0.06, 51 + n, timestamp + n * 2880, nth(speech(2880), n))
        assert call.seconds == pytest.approx(1.02 + 20 * 0.06)


# ------------------------------------------------------------------------------------------------ pauses and stalls


async def test_pauses_of_the_sender_are_silence_while_they_last():
    """DTX: speech for a second, then one comfort packet every 400 ms for two, over and over."""
    async with calling() as call:
        chance, sequence = random.Random(1), 0
        for n in range(1500):
            if n % 150 < 50 or n % 20 == 0:
                payload = nth(speech() if n % 150 < 50 else quiet(), n)
                await call.arrive(n * 0.02 + chance.uniform(0, 0.01), sequence, n * 960, payload)
                sequence += 1
                assert call.seconds == pytest.approx((n + 1) * 0.02, abs=0.02)
            await call.until(n * 0.02 + 0.019)
            assert n * 0.02 - call.seconds < STALL_SECONDS + 0.1
        assert call.audio.order.lost == 0


@pytest.mark.parametrize("stall", [0.15, 0.5, 1.5])
async def test_packets_held_up_by_the_network_all_come_and_the_silence_made_up_is_given_back(stall):
    async with calling() as call:
        await talk(call, range(100), at=lambda n: n * 0.02 if n < 50 else max(n * 0.02, 1.0 + stall))
        assert call.audio.order.lost == 0
        stalled = call.stalled
        assert stalled == pytest.approx(stall if stall > STALL_SECONDS else 0, abs=0.1)
        assert call.seconds == pytest.approx(2.0 + stalled)
        await talk(call, range(100, 160), payloads=quiet())
        assert call.seconds == pytest.approx(3.2 + stalled)  # a turn's end must not be put off
        await talk(call, range(160, 350), payloads=quiet())
        assert call.seconds == pytest.approx(7.0)
        await talk(call, range(350, 400))
        loud = np.abs(call.samples().astype(int)) > 1000
    async with calling() as plain:
        await talk(plain, range(100))
        await talk(plain, range(100, 350), payloads=quiet())
        await talk(plain, range(350, 400))
        expected = np.abs(plain.samples().astype(int)) > 1000
    assert loud.sum() == pytest.approx(expected.sum(), rel=0.03)


async def test_gaps_of_less_than_a_sample_add_up_and_nothing_drifts():
    """A sender whose timestamps move by 961: one third of a sample at 16 kHz with each packet."""
    async with calling(16_000) as call:
        for n in range(150):
            await call.arrive(n * 0.02, n, n * 961, nth(speech(), n))
        assert call.audio.made_up_samples == 149 // 3 * 3
        assert call.audio.concealed_samples == call.audio.made_up_samples
        assert call.seconds == pytest.approx(150 * 961 / RATE, abs=1 / 16_000)


async def test_where_opus_cannot_decode_to_the_rate_it_is_resampled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(media.opus, "library", lambda: None)
    for rate in (16_000, 22_050):
        async with calling(rate) as call:
            await talk(call, [n for n in range(100) if n != 50])
            assert call.seconds == pytest.approx(2.0, abs=0.002)
            assert call.audio.made_up_samples == 960


async def test_both_ways_to_16_kHz_sound_the_same(monkeypatch: pytest.MonkeyPatch):
    async with calling(16_000) as direct:
        await talk(direct, range(100))
    monkeypatch.setattr(media.opus, "library", lambda: None)
    async with calling(16_000) as resampled:
        await talk(resampled, range(100))
    one, other = (np.abs(np.fft.rfft(call.samples()[8_000:24_000].astype(float))) for call in (direct, resampled))
    assert np.corrcoef(one, other)[0, 1] > 0.99
    assert one.sum() == pytest.approx(other.sum(), rel=0.1)


async def test_the_silence_is_given_back_at_the_rate_of_speech_recognition_too():
    async with calling(16_000) as call:
        await talk(call, range(100), at=lambda n: n * 0.02 if n < 50 else max(n * 0.02, 1.5))
        await talk(call, range(100, 350), payloads=quiet())
        assert call.seconds == pytest.approx(7.0, abs=0.01)


async def test_speech_is_never_dropped_to_catch_up():
    async with calling() as call:
        await talk(call, range(300), at=lambda n: n * 0.02 if n < 50 else max(n * 0.02, 1.5))
        assert call.seconds == pytest.approx(6.0 + call.stalled)


async def test_what_was_lost_in_a_stall_is_not_made_up_twice():
    async with calling() as call:
        await talk(call, [*range(50), *range(90, 200)])  # 0.8 s lost
        assert call.audio.order.lost == 40
        assert call.seconds == pytest.approx(4.0)
        assert call.audio.made_up_samples == 40 * 960


async def test_a_mute_of_a_minute_is_silence_in_real_time_and_takes_no_memory():
    async with calling() as call:
        await talk(call, range(50))
        for tenth in range(11, 600):
            await call.until(tenth / 10 + 0.001)
            if tenth > 13:
                assert call.seconds == pytest.approx(tenth / 10, abs=0.1)
        assert not call.samples()[2 * RATE :].any()
        await talk(call, range(3000, 3050))
        assert call.seconds == pytest.approx(61.0, abs=0.02)


async def test_nobody_reads_and_memory_stays_bounded():
    call = Call()
    running = asyncio.create_task(call.audio.run())
    call._note = lambda: None
    await talk(call, range(10))
    await call.until(60)
    await talk(call, range(3000, 3500))
    assert len(call.audio.chunks) <= CAPACITY_CHUNKS
    assert call.audio.chunks.dropped > 0
    call.receiver._handle_disconnect()
    await running


async def test_a_mute_that_stops_the_senders_clock_is_silence_and_costs_nothing_after():
    async with calling() as call:
        await talk(call, range(50))
        await talk(call, range(50, 250), at=lambda n: n * 0.02 + 10, payloads=quiet())
        assert call.seconds == pytest.approx(15.0, abs=0.02)


async def test_before_the_first_packet_there_is_nothing():
    async with calling() as call:
        await call.until(5)
        assert call.seconds == 0


# ------------------------------------------------------------------------------------------------ odd senders


@pytest.mark.parametrize("jump", [10 * RATE, -10 * RATE, 2**31], ids=["forward", "back", "far"])
async def test_a_sender_may_set_its_clock_anew(jump):
    async with calling() as call:
        for n in range(200):
            await call.arrive(n * 0.02, n, n * 960 + (jump if n >= 100 else 0), nth(speech(), n))
        assert call.seconds == pytest.approx(4.0)


@pytest.mark.parametrize("sequence", [30_000, 90, 103, 65_400])
async def test_a_sender_may_start_anew_with_another_ssrc(sequence):
    async with calling() as call:
        await talk(call, [*range(98), 99])  # the last one waits behind a gap
        for n in range(100):
            arrival = 2.0 + n * 0.02
            await call.arrive(arrival, sequence + n, 3_000_000_000 + n * 960, nth(speech(), n), ssrc=777)
            assert call.seconds == pytest.approx(2.0 + (n + 1) * 0.02)


async def test_a_sender_may_start_anew_with_the_same_ssrc():
    async with calling() as call:
        await talk(call, range(100))
        for n in range(100):
            await call.arrive(2.0 + n * 0.02, 40_000 + n, 3_000_000_000 + n * 960, nth(speech(), n))
        assert call.seconds == pytest.approx(4.0)


@pytest.mark.parametrize("broken", [b"\xff", b"\x03", b"\xff" * 300], ids=["one byte", "no frames", "long"])
async def test_broken_payloads_are_concealed(broken):
    async with calling() as call:
        for n in range(500):
            await call.arrive(n * 0.02, n, n * 960, broken if n % 20 == 7 else nth(speech(), n))
        assert call.seconds == pytest.approx(10.0)
        assert call.audio.broken == 25
        assert call.audio.made_up_samples == 25 * 960


async def test_nothing_but_broken_payloads_is_silence_in_real_time():
    async with calling() as call:
        await talk(call, range(50))
        await talk(call, range(50, 250), payloads=[b"\xff"])
        assert call.seconds == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
async def test_random_payloads_raise_nothing(seed):
    chance = random.Random(seed)
    async with calling() as call:
        for n in range(300):
            payload = chance.randbytes(chance.randrange(60)) if chance.random() < 0.5 else nth(speech(), n)
            await call.arrive(n * 0.02, n, n * 960, payload)
        await talk(call, range(300, 900), payloads=quiet())
        assert call.seconds == pytest.approx(18.0, abs=0.02)


async def test_empty_payloads_take_their_place_in_the_order_and_nothing_else():
    async with calling() as call:
        sequence = 0
        for n in range(100):
            await call.arrive(n * 0.02, sequence, n * 960, nth(speech(), n))
            if n % 10 == 0:
                await call.arrive(n * 0.02, sequence + 1, n * 960, b"")
                sequence += 1
            sequence += 1
            assert call.seconds == pytest.approx((n + 1) * 0.02)
        assert call.audio.order.lost == 0
        assert call.audio.broken == 0


async def test_stereo_comes_out_as_mono():
    codec = av.CodecContext.create("libopus", "w")
    codec.format, codec.layout, codec.sample_rate = "s16", "stereo", RATE
    async with calling() as call:
        for n in range(10):
            part = av.AudioFrame.from_ndarray(np.full((1, 1920), 1000, np.int16), format="s16", layout="stereo")
            part.sample_rate = RATE
            await call.arrive(n * 0.02, n, n * 960, bytes(codec.encode(part)[0]))
        assert call.seconds == pytest.approx(0.2)


# ------------------------------------------------------------------------------------------------ life and death


async def test_the_end_of_the_track_plays_what_waits_and_closes():
    async with calling() as call:
        await talk(call, [*range(10), 11])
        assert call.seconds == pytest.approx(0.2)
    call._note()
    assert call.seconds == pytest.approx(0.24)
    assert call.audio.chunks.closed


async def test_packets_after_the_end_are_ignored():
    async with calling() as call:
        await talk(call, range(10))
    await talk(call, range(10, 30), at=lambda n: n * 0.02)
    call.audio.packet(SSRC, 50, 50 * 960, speech()[0])
    assert call.seconds == pytest.approx(0.2)
    assert call.audio.order.received == 10


@pytest.mark.parametrize("turns", range(5))
async def test_cancelling_leaves_no_task_behind(turns):
    before = asyncio.all_tasks()
    call = Call()
    running = asyncio.create_task(call.audio.run())
    for _ in range(turns):
        await asyncio.sleep(0)
    if turns == 4:
        call.audio.packet(SSRC, 0, 0, speech()[0])
        call.audio.packet(SSRC, 2, 1920, speech()[2])
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() == before
    assert call.audio.chunks.closed or turns == 0  # a coroutine that never began has nothing to end
    del call, running
    gc.collect()  # "Task was destroyed but it is pending" would be an error here


async def test_a_fault_in_the_watch_is_not_swallowed():
    call = Call()

    async def broken(seconds: float) -> None:
        raise RuntimeError("no time")

    call.clock.sleep = broken
    with pytest.raises(ExceptionGroup) as raised:
        await call.audio.run()
    assert raised.group_contains(RuntimeError, match="no time")
    assert call.audio.chunks.closed
