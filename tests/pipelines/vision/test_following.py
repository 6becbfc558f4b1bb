"""Ids through crossings, gaps and half-hidden moments, on simulated boxes; the best pairing; whole ways."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from pipelines.interfaces.vision import Detection, overlap
from pipelines.vision.association import assign
from pipelines.vision.track_log import GONE_SECONDS, MOST_POINTS, TrackLog
from pipelines.vision.tracking import Tracking

FPS = 12


def thing(x: float, y: float = 0.5, *, score: float = 0.9, label: str = "cup", size: float = 0.15) -> Detection:
    return Detection("object", 0, (x - size / 2, y - size / 2, size, size), score, label)


def cross(seed: int, slowest: float, fastest: float, noise: float, missing: float) -> bool:
    """Two alike cross, the one behind unseen while it is covered; whether both keep their ids."""
    chance = np.random.default_rng(seed)
    size, begin = chance.uniform(0.12, 0.2), 0.5 / slowest * 0.5
    angle = chance.uniform(0, 2 * math.pi)
    angles = (angle, angle + math.pi + chance.uniform(-1, 1))
    speeds = chance.uniform(slowest, fastest, 2)
    aside = (np.zeros(2), chance.normal(0, 0.02, 2))
    tracking, before, last = Tracking(), {}, {}
    for n in range(int(2 * begin * FPS)):
        time = n / FPS - begin
        ways = zip(angles, speeds, aside, strict=True)
        middles = [0.5 + off + np.array([math.cos(a), math.sin(a)]) * speed * time for a, speed, off in ways]
        boxes = [(float(m[0] - size / 2), float(m[1] - size / 2), size, size) for m in middles]
        hidden = overlap(*boxes) > 0.35
        seen = {}
        for who, box in enumerate(boxes):
            if not (hidden and who == 1) and chance.random() >= missing:
                shaken = np.array(box) + chance.normal(0, noise * size, 4)
                seen[who] = Detection("object", 0, tuple(map(float, shaken)), float(chance.uniform(0.55, 0.95)), "cup")
        told = {one.box: one.id for one in tracking.update(list(seen.values()), n / FPS)}
        ids = {who: told[one.box] for who, one in seen.items() if one.box in told}
        if len(ids) == 2:
            last = ids
            before = ids if time < -0.3 else before
    return bool(before) and before == last


@pytest.mark.parametrize(
    ("slowest", "fastest", "noise", "missing", "least"),
    [(0.2, 0.5, 0.03, 0.05, 0.95), (0.1, 0.2, 0.03, 0.05, 0.95), (0.1, 0.2, 0.06, 0.1, 0.9)],
)
def test_things_that_look_alike_keep_their_ids_through_a_crossing(
    slowest: float, fastest: float, noise: float, missing: float, least: float
) -> None:
    """Greedy pairing with the velocity of the last step kept 0.99, 0.90 and 0.63 of these."""
    kept = [cross(seed, slowest, fastest, noise, missing) for seed in range(20)]
    assert np.mean(kept) >= least


def test_a_moving_thing_that_is_missed_for_half_a_second_goes_on_with_its_id() -> None:
    tracking = Tracking()
    told: tuple[Detection, ...] = ()
    for n in range(36):
        gap = 12 <= n < 18
        told = tracking.update([] if gap else [thing(0.1 + 0.02 * n)], n / FPS)
        assert gap == (not told) or n == 0
    assert [one.id for one in told] == [0]
    assert len(told[0].trail) > 5


def test_a_faint_detection_continues_a_thing_and_begins_none() -> None:
    tracking = Tracking()
    for n in range(24):
        faint = n > 4
        told = tracking.update([thing(0.5, score=0.3 if faint else 0.9), thing(0.9, score=0.4)], n / FPS)
        assert [one.id for one in told] == ([0] if n else [])
    assert tracking.update([thing(0.5, score=0.3)], 9.0) == ()


def test_the_pairing_is_the_best_of_all() -> None:
    chance = np.random.default_rng(3)
    for _ in range(60):
        rows, columns = map(int, chance.integers(1, 5, 2))
        fits: list[list[float | None]] = [
            [None if chance.random() < 0.3 else float(chance.normal()) for _ in range(columns)] for _ in range(rows)
        ]

        def worth(pairs: Any, fits: Any = fits) -> tuple[int, float]:
            known = [fits[t][d] for d, t in pairs if fits[t][d] is not None]
            return len(known), round(sum(known), 9)

        found = assign(fits)
        assert len(set(found.values())) == len(found)
        if rows >= columns:
            every = (zip(range(columns), order, strict=True) for order in permutations(range(rows), columns))
        else:
            every = (zip(order, range(rows), strict=True) for order in permutations(range(columns), rows))
        assert worth(found.items()) == max(worth(list(pairs)) for pairs in every)
    assert assign([]) == assign([[]]) == {}


def test_a_way_is_told_once_when_its_thing_has_gone_and_stays_within_its_bound() -> None:
    log = TrackLog()
    many = 5 * MOST_POINTS
    for n in range(many):
        assert log.see([thing(n / many)], n / FPS) == []
    (way,) = log.see([], many / FPS + GONE_SECONDS + 0.1)
    assert log.see([], many / FPS + 9) == log.end() == []
    assert (way.seen, way.label, way.points[0]) == (many, "cup", (0.0, 0.0, 0.5))
    assert MOST_POINTS // 2 <= len(way.points) <= MOST_POINTS
    assert np.all(np.diff([time for time, _, _ in way.points]) > 0)
