"""Frames made of movement come closer to what really follows than the last frame does, and say how sure they are."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.foresight.filming import pushed_in
from pipelines.foresight.motion import extrapolated, movement
from pipelines.foresight.words import NOTHING_MOVES, STILL_PICTURE, told
from tests.fakes.moving import moving, psnr

FPS = 15.0


@pytest.fixture(scope="module")
def film():
    last = moving(1)
    return last, list(extrapolated(last, movement(moving(0), last, 1 / FPS), FPS, 12))


@pytest.mark.parametrize("ahead", [1, 3])
def test_it_beats_holding_the_last_frame_by_three_decibels(film, ahead):
    last, frames = film
    truth = moving(1 + ahead)
    assert psnr(frames[ahead - 1][0], truth) >= psnr(last, truth) + 3.0


def test_confidence_falls_from_frame_to_frame(film):
    sure = [confidence for _, confidence in film[1]]
    assert sure == sorted(sure, reverse=True)
    assert 0.5 < sure[0] <= 1.0
    assert sure[-1] < 0.5 * sure[0]


def test_a_pair_whose_movement_cannot_be_followed_is_trusted_less(film):
    noise = np.random.default_rng(2).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    (_, sure), *_ = extrapolated(noise, movement(moving(0), noise, 1 / FPS), FPS, 1)
    assert sure < 0.5 * film[1][0][1]


def test_what_stands_still_goes_on_standing_still():
    last = moving(0)
    moves = movement(last, last.copy(), 1 / FPS)
    assert moves.still
    assert all((picture == last).all() for picture, _ in extrapolated(last, moves, FPS, 5))


def test_a_movement_is_told_by_its_time_not_by_frames():
    quick, slow = (movement(moving(0), moving(1), seconds).velocity.mean() for seconds in (0.1, 0.2))
    assert quick == pytest.approx(2 * slow)


def test_a_push_in_only_comes_closer():
    picture = moving(0)
    frames = list(pushed_in(picture, 6))
    assert len(frames) == 6
    likeness = [psnr(frame, picture) for frame in frames]
    assert likeness == sorted(likeness, reverse=True)
    middle = frames[-1][120:136, 120:136].astype(int)
    assert np.abs(middle - picture[120:136, 120:136]).mean() < np.abs(frames[-1].astype(int) - picture).mean()


def test_words_tell_what_moves_and_where_to():
    first, *_ = told(moving(1), moving(0), 1 / FPS)
    assert first.startswith("Nearly the whole picture moves left, ")
    still = np.full((120, 160, 3), 90, np.uint8)
    spot, gone = still.copy(), still.copy()
    texture = np.random.default_rng(3).integers(0, 256, (24, 24, 3)).astype(np.uint8)
    spot[10:34, 100:124], gone[10:34, 104:128] = texture, texture
    assert told(gone, spot, 1 / FPS)[0].startswith("Something at the top on the right moves right")
    assert told(still, still, 0.1) == NOTHING_MOVES
    assert told(still, None, 0.0) == STILL_PICTURE


SMALL = [(1, 1), (2, 640), (8, 8), (640, 3), (12, 640), (15, 1200), (16, 1200), (1200, 16), (16, 16), (1200, 24)]


@pytest.mark.parametrize("shape", SMALL)
def test_small_and_narrow_pictures_are_told_of_and_filmed(shape):
    later, earlier = (np.random.default_rng(n).integers(0, 256, (*shape, 3)).astype(np.uint8) for n in (1, 2))
    moves = movement(earlier, later, 1 / FPS)
    assert moves.velocity.shape == (*shape, 2)
    assert moves.still == (min(shape) < 16), "else it is followed"
    assert len(list(extrapolated(later, moves, FPS, 2))) == 2
    assert told(later, earlier, 1 / FPS)
