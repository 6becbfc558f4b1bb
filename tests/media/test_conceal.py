"""Concealment: the length to the sample, no clicks, and silence when there is nothing left to go by."""

import numpy as np
import pytest

from media.gaps.concealment import Concealer

RATE = 48_000
FRAME = 960


def voice(seconds: float, pitch: float = 200.0, peak: int = 12_000) -> np.ndarray:
    """A voice-like buzz: harmonics up to 4 kHz, falling with their number; shape ``(n,)``."""
    t = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * pitch * k * t + k * k) / k for k in range(1, int(4000 / pitch) + 1))
    return (wave / np.abs(wave).max() * peak).astype(np.int16)


def through(samples: np.ndarray, lost, frame: int = FRAME, concealer: Concealer | None = None) -> np.ndarray:
    """Frames of ``samples``, those with a number in ``lost`` missing."""
    concealer = concealer or Concealer(RATE)
    frames = [samples[start : start + frame] for start in range(0, len(samples), frame)]
    return np.concatenate(
        [concealer.lost(len(part)) if n in lost else concealer.received(part) for n, part in enumerate(frames)]
    )


def largest_step(samples: np.ndarray) -> int:
    return int(np.abs(np.diff(samples.astype(int))).max())


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(float) ** 2)))


def test_nothing_lost_nothing_changed():
    samples = voice(0.5)
    np.testing.assert_array_equal(through(samples, ()), samples)


@pytest.mark.parametrize("count", [0, 1, 37, 120, 960, 2880, 2881, 48_000])
def test_length_is_kept_to_the_sample(count):
    concealer = Concealer(RATE)
    samples = voice(0.2)
    concealer.received(samples)
    made = concealer.lost(count)
    assert (len(made), made.dtype) == (count, np.int16)
    assert len(concealer.received(samples[:480])) == 480
    assert concealer.concealed_samples == count


@pytest.mark.parametrize("pitch", [80, 131, 200, 203.7, 317])
@pytest.mark.parametrize("burst", [1, 2, 5])
def test_no_click_where_a_loss_begins_or_ends(pitch, burst):
    samples = voice(2.0, pitch)
    chance = np.random.default_rng(burst)
    lost = {n + k for n in chance.choice(np.arange(5, 90), 8, replace=False) for k in range(burst)}
    assert largest_step(through(samples, lost)) <= 1.5 * largest_step(samples)


def test_one_lost_frame_of_a_steady_voice_is_hardly_missed():
    samples = voice(0.4)
    made = through(samples, {10})[10 * FRAME : 11 * FRAME]
    assert 0.6 < level(made) / level(samples) < 1.1
    steady = slice(10 * FRAME, 10 * FRAME + RATE // 100)
    error = through(samples, {10})[steady].astype(float) - samples[steady]
    assert level(error) < 0.1 * level(samples)


def test_a_long_loss_fades_to_silence_and_the_voice_comes_back():
    samples = voice(0.6)
    out = through(samples, range(10, 20))
    levels = [level(out[n * FRAME : (n + 1) * FRAME]) for n in range(9, 14)]
    assert levels == sorted(levels, reverse=True)
    assert not out[13 * FRAME : 20 * FRAME].any()
    np.testing.assert_array_equal(out[21 * FRAME :], samples[21 * FRAME :])


def test_a_loss_may_be_told_in_any_pieces():
    samples = voice(0.2)
    whole, pieces = Concealer(RATE), Concealer(RATE)
    whole.received(samples)
    pieces.received(samples)
    expected = whole.lost(3000)
    np.testing.assert_array_equal(np.concatenate([pieces.lost(n) for n in (1, 0, 99, 860, 1040, 1000)]), expected)


def test_a_loss_at_the_very_start_is_silence_and_the_voice_fades_in():
    samples = voice(0.2)
    out = through(samples, {0})
    assert not out[:FRAME].any()
    assert largest_step(out) <= 1.5 * largest_step(samples)
    np.testing.assert_array_equal(out[2 * FRAME :], samples[2 * FRAME :])


def test_noise_stays_noise_of_the_same_loudness():
    noise = np.random.default_rng(1).normal(0, 2000, RATE // 2).astype(np.int16)
    out = through(noise, {10})
    assert 0.5 < level(out[10 * FRAME : 11 * FRAME]) / level(noise) < 1.2
    assert largest_step(out) <= 1.5 * largest_step(noise)


def test_full_scale_does_not_wrap():
    samples = np.where(np.arange(RATE // 2) % 240 < 120, 32_767, -32_768).astype(np.int16)
    samples[10 * FRAME - 1] = -32_768  # the worst place to stop
    out = through(samples, {10, 11})
    assert len(out) == len(samples)
    ten = out[10 * FRAME :][:480].astype(int)
    assert np.count_nonzero(np.abs(np.diff(ten)) > 40_000) <= 5  # the edges of 10 ms of square wave, and no others


def test_silence_stays_silence():
    assert not through(np.zeros(20 * FRAME, np.int16), {5, 6, 10}).any()


@pytest.mark.parametrize("frame", [120, 480, 1920, 2880])
def test_other_frame_lengths(frame):
    samples = voice(1.0)
    out = through(samples, {12, 14}, frame)
    assert len(out) == len(samples)
    assert largest_step(out) <= 1.5 * largest_step(samples)


def test_other_rates():
    concealer = Concealer(16_000)
    concealer.received(voice(0.1)[::3])
    assert level(concealer.lost(320)) > 1000
