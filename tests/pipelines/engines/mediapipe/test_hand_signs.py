"""Gestures told from the points of a hand, on hands made of bones and angles."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.engines.mediapipe.hands import GESTURES, NONE, sign_of, signs, word
from pipelines.engines.mediapipe.parts import VisionOptions
from tests.fakes.hands import OTHERS, SIGNS, Pose, hand, varied

TIMES = 60
NOISE = 0.003
"""Metres by which a landmark network is off."""


@pytest.mark.parametrize("name", SIGNS)
def test_each_gesture_is_told_of_either_hand_and_any_distance(name: str) -> None:
    for mirrored in (False, True):
        points = hand(Pose(**{**vars(SIGNS[name]), "mirrored": mirrored}))
        for scaled in (points, 0.3 * points + 0.5, 640 * points):
            told, score = sign_of(scaled)
            assert told == name
            assert score > 0.9


@pytest.mark.parametrize("name", OTHERS)
def test_other_hands_show_none_of_them(name: str) -> None:
    told, score = sign_of(hand(OTHERS[name]))
    assert told == NONE or score < VisionOptions().min_gesture_score


@pytest.mark.parametrize("name", [*SIGNS, *OTHERS])
def test_people_are_different_and_landmarks_are_noisy(name: str) -> None:
    """Of hands bent, spread and seen a little otherwise nine in ten are told, and hardly any is told wrongly."""
    pose, rng = {**SIGNS, **OTHERS}[name], np.random.default_rng(11)
    told = []
    for seed in range(TIMES):
        best, score = sign_of(hand(varied(pose, rng), NOISE, seed))
        told.append(best if score >= VisionOptions().min_gesture_score else NONE)
    right = name if name in SIGNS else NONE
    assert told.count(right) >= (0.9 if name != "half open" else 0.75) * TIMES
    assert sum(one not in (right, NONE) for one in told) <= (0.05 if name != "half open" else 0.25) * TIMES


def test_a_thumb_is_up_until_it_points_aside_and_down_from_there_on() -> None:
    told = [sign_of(hand(Pose((1, 1, 1, 1), roll=roll)))[0] for roll in range(-75, 106, 5)]
    up, down = told.count("Thumb_Up"), told.count("Thumb_Down")
    assert told == ["Thumb_Up"] * up + [NONE] * (len(told) - up - down) + ["Thumb_Down"] * down
    assert up >= 8
    assert down >= 8


def test_scores_are_shares_of_one_belief() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        curls = tuple(float(curl) for curl in rng.uniform(0, 1, 4))
        scores = signs(hand(Pose(curls, float(rng.uniform(0, 1)), roll=float(rng.uniform(-180, 180)))))  # type: ignore[arg-type]
        assert set(scores) == {*GESTURES, NONE}
        assert sum(scores.values()) == pytest.approx(1.0)
        assert min(scores.values()) >= 0


def test_points_that_are_no_hand_are_none() -> None:
    assert sign_of(np.zeros((21, 3)))[0] in (NONE, "Closed_Fist")  # whatever it is, no error
    assert word(NONE, 1.0, VisionOptions()) == ""


def test_a_gesture_that_is_uncertain_has_no_word() -> None:
    options = VisionOptions()
    assert word("Thumb_Up", options.min_gesture_score, options) == "thumbs up"
    assert word("Thumb_Up", options.min_gesture_score - 0.01, options) == ""
    assert word("Raised_Brow", 0.9, options) == "raised brow"  # of a model trained for others
