"""A recording is cut at its pauses, whatever the pieces it comes in."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.voice.recordings.spoken_parts import LONGEST_SECONDS, SHORTEST_SECONDS, SpokenPart, SpokenParts
from tests.fakes.engines import LoudnessVad

RATE = 16_000


def sound(*lengths: float) -> np.ndarray:
    """Silence and speech in turn, each of so many seconds."""
    parts = []
    for n, seconds in enumerate(lengths):
        count = np.arange(round(seconds * RATE))
        parts.append(np.where(count % 40 < 20, 8000, -8000) * (n % 2))
    return np.concatenate(parts).astype(np.int16)


def cut(samples: np.ndarray, step: int = 1000) -> list[SpokenPart]:
    parts = SpokenParts(LoudnessVad())
    found = [part for at in range(0, len(samples), step) for part in parts.push(samples[at : at + step])]
    found += parts.flush()
    assert parts.seconds == pytest.approx(len(samples) / RATE)
    for part in found:
        start = round(part.start * RATE)
        assert np.array_equal(part.samples, samples[start : start + len(part.samples)]), "it is where it says"
    return found


def places(found: list[SpokenPart]) -> list[float]:
    return [place for part in found for place in (part.start, part.end)]


def about(*seconds: float) -> object:
    return pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize("step", [160, 512, 1000, 100_000])
def test_parts_are_what_is_between_long_pauses(step):
    found = cut(sound(1.0, 2.0, 1.5, 1.0, 0.4, 1.0, 2.0), step)
    assert places(found) == about(0.75, 3.25, 4.25, 7.15), "a short pause does not cut"


def test_speech_from_the_first_to_the_last_sample_is_one_part():
    samples = sound(0.0, 3.03)
    (part,) = cut(samples)
    assert len(part.samples) == len(samples)


def test_silence_has_no_parts():
    assert cut(sound(10.0)) == []


def test_a_long_part_is_cut_at_its_last_short_pause():
    found = cut(sound(0.5, 8.0, 0.4, 4.0, 0.4, 8.0, 1.0))
    assert places(found) == about(0.25, 13.1, 13.1, 21.55)


def test_a_long_part_without_any_pause_is_cut_where_it_is_quietest():
    samples = sound(0.0, 50.0)
    samples[14 * RATE : 14 * RATE + 2000] //= 8
    found = cut(samples)
    assert places(found)[:2] == about(0.0, 14.06)
    assert [part.start for part in found[1:]] == [part.end for part in found[:-1]], "nothing is lost"
    lengths = [part.end - part.start for part in found]
    assert max(lengths) <= LONGEST_SECONDS + 0.1 and min(lengths[:-1]) >= SHORTEST_SECONDS
