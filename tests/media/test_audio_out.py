"""The outgoing voice: pacing, what was heard, flush without a click, ducking."""

import asyncio
from pathlib import Path

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from media.audio_out import FOLLOW_SECONDS, LARGEST_STEP, AudioOut
from media.opus import FRAME, RATE, OpusEncoder, OpusSettings
from media.playout import BUFFER_SECONDS, FADE_SAMPLES, Playout
from tests.fakes.clock import FakeClock


def tone(seconds: float, rate: int = RATE) -> np.ndarray:
    return (10_000 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.int16)


class SelfAdvancingClock(FakeClock):
    """Sleeping moves the hands."""

    async def sleep(self, seconds: float) -> None:
        self.advance(max(0.0, seconds))


@pytest.fixture
def clock():
    return SelfAdvancingClock(100.0)


@pytest.fixture
def out(clock):
    return AudioOut(clock)


class Decoder:
    """What a receiver hears."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libopus", "r")
        self._codec.format, self._codec.layout, self._codec.sample_rate = "s16", "mono", RATE

    def decode(self, packet) -> np.ndarray:
        return np.concatenate(
            [frame.to_ndarray().reshape(-1) for frame in self._codec.decode(av.Packet(bytes(packet)))]
        )


async def test_silence_is_paced_and_timestamps_have_no_gap(out, clock):
    packets = [await out.recv() for _ in range(30)]
    assert [p.pts for p in packets] == [n * FRAME for n in range(30)]
    assert clock.now() == pytest.approx(100.0 + 29 * 0.02)
    assert np.abs(Decoder().decode(packets[-1]).astype(int)).max() <= 2


async def test_it_tells_how_late_packets_leave_and_of_a_pause_only_once(clock):
    late: list[float] = []
    out = AudioOut(clock, late=late.append)
    for _ in range(5):
        await out.recv()
    assert late == pytest.approx([0.0] * 5)
    clock.advance(0.5)  # nothing ran: the packets that were due meanwhile leave at once
    for _ in range(26):
        await out.recv()
    assert [round(one, 3) for one in late[5:] if one > 0.001] == [0.48]
    late.clear()
    clock.advance(0.05)
    for _ in range(10):  # it never catches up
        clock.advance(0.02)
        await out.recv()
    assert len(late) == 10 and min(late) > 0.03


async def test_a_late_sender_catches_up_but_not_after_a_long_stall(out, clock):
    await out.recv()
    clock.advance(0.1)
    assert [(await out.recv()).pts // FRAME for _ in range(5)] == [1, 2, 3, 4, 5]
    assert clock.now() == pytest.approx(100.1)
    clock.advance(5.0)
    assert (await out.recv()).pts // FRAME > 200


async def test_reply_is_heard_to_the_last_sample(out):
    playout = out.mixer.open()
    await playout.write(tone(0.1), RATE)
    assert not playout.started.is_set()
    await out.recv()
    assert playout.started.is_set()
    assert playout.heard_seconds == pytest.approx(0.02)
    for _ in range(4):
        await out.recv()
    assert not playout.ended.is_set()
    playout.finish()
    assert playout.ended.is_set()
    assert playout.heard_seconds == pytest.approx(0.1)


async def test_half_a_frame_waits_for_its_other_half(out):
    playout = out.mixer.open()
    await playout.write(tone(0.03), RATE)
    assert out.mixer.take(FRAME).any()
    assert not out.mixer.take(FRAME).any()
    assert playout.heard_seconds == pytest.approx(0.02)
    await playout.write(tone(0.01), RATE)
    assert np.count_nonzero(out.mixer.take(FRAME)) > 0.9 * FRAME
    assert playout.heard_seconds == pytest.approx(0.04)


async def test_what_is_left_of_a_finished_reply_is_sent(out):
    playout = out.mixer.open()
    await playout.write(tone(0.03), RATE)
    playout.finish()
    out.mixer.take(FRAME)
    assert out.mixer.take(FRAME)[: FRAME // 2].any()
    assert playout.ended.is_set()
    assert playout.heard_seconds == pytest.approx(0.03)


async def test_a_flush_fades_even_the_rest_of_a_frame(out):
    playout = out.mixer.open()
    await playout.write(tone(0.022), RATE)
    out.mixer.take(FRAME)
    playout.flush()
    assert out.mixer.take(FRAME)[: RATE // 500].any()


async def test_other_rates_keep_their_length(out):
    playout = out.mixer.open()
    await playout.write(tone(0.5, 22_050), 22_050)
    playout.finish()
    while not playout.ended.is_set():
        await out.recv()
    assert playout.heard_seconds == pytest.approx(0.5, abs=0.001)


async def test_flush_ends_within_one_frame_and_fades(out):
    playout = out.mixer.open()
    await playout.write(tone(1.0), RATE)
    decoder = Decoder()
    for _ in range(10):
        decoder.decode(await out.recv())
    assert playout.flush() == pytest.approx(0.2)
    last = out.mixer.take(FRAME)
    assert last[:FADE_SAMPLES].any()
    assert not last[FADE_SAMPLES:].any()
    assert np.abs(np.diff(last.astype(int))).max() < 700
    assert playout.ended.is_set()
    assert playout.flush() == playout.heard_seconds


async def test_flush_before_the_first_sample_makes_no_sound(out):
    playout = out.mixer.open()
    await playout.write(tone(1.0), RATE)
    assert playout.flush() == 0.0
    assert not out.mixer.take(FRAME).any()
    assert not playout.started.is_set()


async def test_writes_after_a_flush_are_dropped(out):
    playout = out.mixer.open()
    playout.flush()
    await playout.write(tone(0.1), RATE)
    assert not out.mixer.take(FRAME).any()


async def test_a_new_reply_silences_the_old(out):
    first = out.mixer.open()
    await first.write(tone(1.0), RATE)
    await out.recv()
    out.mixer.open()
    assert first.flushed
    assert first.ended.is_set()


async def test_writing_waits_when_much_is_queued(out):
    playout = out.mixer.open()
    await playout.write(tone(BUFFER_SECONDS), RATE)
    writer = asyncio.create_task(playout.write(tone(0.1), RATE))
    await asyncio.sleep(0)
    assert not writer.done()
    playout.take(FRAME)
    await writer


async def test_flush_releases_a_waiting_writer():
    playout = Playout()
    await playout.write(tone(BUFFER_SECONDS), RATE)
    writer = asyncio.create_task(playout.write(tone(0.1), RATE))
    await asyncio.sleep(0)
    playout.flush()
    await writer
    assert playout.ended.is_set()


async def test_ducking_is_ramped_and_restored(out):
    playout = out.mixer.open()
    await playout.write(np.full(RATE, 10_000, np.int16), RATE)
    out.mixer.duck(20.0)
    ramp = out.mixer.take(FRAME)
    assert ramp[0] == 10_000
    assert np.abs(np.diff(ramp.astype(int))).max() < 50
    assert np.allclose(out.mixer.take(FRAME), 1000, atol=2)
    out.mixer.duck(0.0)
    out.mixer.take(FRAME)
    assert (out.mixer.take(FRAME) == 10_000).all()


async def test_empty_reply_ends_without_having_started(out):
    playout = out.mixer.open()
    playout.finish()
    assert playout.ended.is_set()
    assert not playout.started.is_set()


async def test_a_stopped_track_ends(out):
    out.stop()
    with pytest.raises(MediaStreamError):
        await out.recv()


# ------------------------------------------------------------------------------------------------ following the peer


def native_threads() -> int:
    """All of this process, those of libraries, too."""
    folder = Path("/proc/self/task")
    if not folder.exists():
        pytest.skip("no /proc to count threads in")
    return len(list(folder.iterdir()))


async def test_a_stopped_track_frees_its_encoders_threads_at_once(clock):
    """FFmpeg gives each encoder two; a track that a closed connection still points at must not keep them."""
    before = native_threads()
    tracks = [AudioOut(clock) for _ in range(8)]
    for track in tracks:
        track.mixer.open().finish()
        await track.recv()
    for track in tracks:
        track.stop()
        track.stop()
    assert native_threads() <= before


async def test_a_track_that_is_stopped_while_it_waits_ends():
    clock = FakeClock(100.0)
    out = AudioOut(clock)
    await out.recv()
    waiting = asyncio.create_task(out.recv())
    await asyncio.sleep(0)
    out.stop()
    clock.advance(0.02)
    with pytest.raises(MediaStreamError):
        await waiting


async def test_a_reply_over_the_fading_end_of_another_is_clipped_not_turned_round(out):
    loudest = np.full(RATE // 10, 30_000, np.int16)
    first = out.mixer.open()
    await first.write(loudest, RATE)
    await out.recv()
    second = out.mixer.open()
    await second.write(loudest, RATE)
    frame = out.mixer.take(FRAME)
    assert frame.min() == 30_000
    assert frame[:FADE_SAMPLES].max() == 32_767


async def leaves_at(out, clock, count: int) -> list[float]:
    times = []
    for _ in range(count):
        await out.recv()
        times.append(clock.now())
    return times


async def test_packets_leave_just_after_the_peers_arrive(out, clock):
    await out.recv()
    out.follow(100.007)
    times = await leaves_at(out, clock, 5)
    assert np.allclose(np.diff(times), FRAME / RATE)
    assert (times[0] - 100.007) % 0.02 == pytest.approx(FOLLOW_SECONDS)


async def test_following_a_drifting_peer_is_gentle(out, clock):
    await out.recv()
    arrival, times = 100.0, []
    for _ in range(1000):
        arrival += 0.02 * 1.001  # its clock runs slower by 0.1 %: thirty times worse than a quartz
        out.follow(arrival)
        times += await leaves_at(out, clock, 1)
    assert np.abs(np.diff(times[1:]) - 0.02).max() <= LARGEST_STEP + 1e-9
    assert (times[-1] - arrival - FOLLOW_SECONDS + 0.01) % 0.02 - 0.01 == pytest.approx(0.0, abs=0.001)


async def test_the_pace_is_kept_while_something_is_said(out, clock):
    await out.recv()
    out.follow(100.0)
    await out.mixer.open().write(tone(1.0), RATE)
    before = await leaves_at(out, clock, 1)
    for n in range(10):
        out.follow(100.009 + 0.02 * n)
        before += await leaves_at(out, clock, 1)
    assert np.allclose(np.diff(before), 0.02)


@pytest.mark.parametrize("change", [{"complexity": 0}, {"bitrate": 12_000}, {"application": "lowdelay"}])
def test_how_speech_is_encoded_can_be_chosen(change):
    speech = np.random.default_rng(1).normal(0, 3000, 10 * FRAME).astype(np.int16) + tone(0.2)
    usual, chosen = (
        [bytes(encoder.encode(frame, number)) for number, frame in enumerate(speech.reshape(-1, FRAME))]
        for encoder in (OpusEncoder(), OpusEncoder(OpusSettings(**change)))
    )
    assert usual != chosen
