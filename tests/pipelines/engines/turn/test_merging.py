"""What of the window is computed: all that sounds, and one position for many that are alike."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.engines.turn.merging import POSITIONS, merging, sounding, stacked


@pytest.mark.parametrize("glance", [False, True])
@pytest.mark.parametrize("sound", [3, 99, 133, 384, 399, 400])
def test_every_position_is_counted_once(sound, glance):
    plan = merging(sound, glance)
    assert plan.counts.sum() == POSITIONS
    np.testing.assert_allclose(plan.weights.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(plan.starts[1:], plan.starts[:-1] + plan.counts[:-1])


def test_sound_is_computed_one_by_one_and_padding_by_sixteens():
    plan = merging(133)
    assert plan.counts[-133:].tolist() == [1.0] * 133
    assert plan.counts[:-133].tolist() == [16.0] * 16 + [11.0]
    np.testing.assert_array_equal(plan.weights[-133:, -133:], np.eye(133))


def test_a_glance_is_cheap_however_long_the_turn_is():
    plan = merging(POSITIONS, glance=True)
    assert plan.counts.tolist() == [2.0] * 125 + [1.0] * 150
    assert merging(140, glance=True).counts.tolist() == merging(140).counts.tolist()


def test_sound_is_counted_with_what_its_spectrum_reaches():
    assert sounding(np.zeros(16_000, np.int16)) == 52
    assert sounding(np.zeros(128_000, np.int16)) == POSITIONS


def test_in_a_batch_the_shorter_is_filled_with_rows_that_count_for_nothing():
    table = np.random.default_rng(0).normal(size=(POSITIONS, 3)).astype(np.float32)
    short, long = merging(20), merging(60)
    given = stacked([short, long], table)
    rows, missing = len(long.counts), len(long.counts) - len(short.counts)
    assert given["merging_weights"].shape == (2, rows, long.computed)
    assert (given["merging_rows"][0, :missing] < -1000).all() and (given["merging_rows"][0, missing:] >= 0).all()
    np.testing.assert_array_equal(given["merging_keys"].ravel(), given["merging_rows"].ravel())
    np.testing.assert_allclose(given["merging_places"][1, 0], table[:16].mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(given["merging_places"][:, -1], table[[-1, -1]], rtol=1e-5)
