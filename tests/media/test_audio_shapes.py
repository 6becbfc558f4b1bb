"""Ring, rechunker and resampler: sizes, media time, no clicks at the joins."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from media.frames import AudioChunk, AudioRing, Rechunker
from media.resample import Resampler


def chunk(start: int, count: int, rate: int = 16_000) -> AudioChunk:
    return AudioChunk(np.arange(start, start + count, dtype=np.int16), rate, start / rate)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=12))
def test_windows_are_whole_and_keep_time(sizes):
    rechunker, position, windows = Rechunker(512), 0, []
    for size in sizes:
        windows += rechunker.push(chunk(position, size))
        position += size
    assert len(windows) == position // 512
    for n, window in enumerate(windows):
        assert len(window.samples) == 512
        assert window.samples[0] == np.int16(n * 512)
        assert abs(window.time - n * 512 / 16_000) < 1e-9


def test_a_window_never_spans_a_hole():
    rechunker = Rechunker(512)
    assert list(rechunker.push(chunk(0, 500))) == []
    (window,) = rechunker.push(chunk(8000, 512))
    assert window.time == 0.5
    assert window.samples[0] == 8000


def test_ring_keeps_only_the_last_moments():
    ring = AudioRing(0.3)
    for start in range(0, 16_000, 320):
        ring.push(chunk(start, 320))
    kept = ring.since(0.0)
    assert 0.3 * 16_000 <= len(kept) <= 0.32 * 16_000
    assert kept[-1] == np.int16(15_999)
    assert len(ring.since(0.9)) == 1600


@given(st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100]), st.lists(st.integers(1, 3000), min_size=1, max_size=8))
def test_resampling_in_pieces_equals_resampling_at_once(rate, sizes):
    sizes = [400, *sizes]  # less than the filter's length makes no sound at all
    tone = (12_000 * np.sin(2 * np.pi * 440 * np.arange(sum(sizes)) / rate)).astype(np.int16)
    pieces, start = Resampler(48_000), 0
    parts = []
    for size in sizes:
        parts.append(pieces.push(tone[start : start + size], rate))
        start += size
    joined = np.concatenate([*parts, pieces.flush()])
    whole = Resampler(48_000)
    at_once = np.concatenate([whole.push(tone, rate), whole.flush()])
    assert abs(len(joined) - len(tone) * 48_000 / rate) <= 2
    assert np.array_equal(joined, at_once)


def test_same_rate_is_passed_through():
    samples = np.arange(100, dtype=np.int16)
    assert Resampler(48_000).push(samples, 48_000) is samples


def test_change_of_rate_keeps_what_the_filter_held():
    resampler = Resampler(48_000)
    parts = [resampler.push(np.full(2400, 1000, np.int16), rate) for rate in (24_000, 24_000, 16_000, 48_000)]
    total = sum(map(len, parts)) + len(resampler.flush())
    assert abs(total - (2 * 4800 + 7200 + 2400)) <= 4
