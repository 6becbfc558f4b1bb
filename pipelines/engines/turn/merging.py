"""Which of the 400 positions of Smart Turn's window are computed, and for how many others each of them stands. Pure.

The network attends from every position to every other, and its cost grows with their number. But a turn is seldom as
long as the window: the rest is padding, whose positions differ in nothing but their place. Sixteen of them are
computed as one, with the mean of their places, and attention to it is given the weight of sixteen (the logarithm of
the number, added before the softmax, as for merged tokens in Bolya et al. 2022). A glance does the same with the older
sound, two at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from pipelines.engines.turn.log_mel import HOP, Floats

POSITIONS = 400
"""Of the network, 20 ms each."""
PADDING_MERGED = 16
"""Positions of padding that are computed as one."""
RECENT = 150
"""Positions (3 s) that even a glance looks at one by one: merging what is a little older saves next to nothing, and the
network is less sure then of what is over (``tests/benchmarks/cutoffs.py``: 322 ms instead of 202 with two)."""
OLDER_MERGED = 2
_EDGE = 4
"""Positions that are computed of the padding before the sound, so that the third knows of neither end of it."""
_CLEAR = 2
_SPREAD = 2
"""Positions before the sound that a spectrum of it may reach."""
_NEVER = -1e4


@dataclass(frozen=True, slots=True)
class Merging:
    """Each row of the network's input to its layers, from the end of the window: what it is made of."""

    computed: int
    """Positions that the convolutions compute, the last of the window."""
    weights: Floats
    """``(rows, computed)``: the share of each of them in a row."""
    starts: NDArray[np.intp]
    """``(rows,)``: the first of the positions that a row stands for; the next row's is behind its last."""
    counts: Floats
    """``(rows,)``: how many they are."""


def sounding(samples: Samples) -> int:
    """Positions that hold sound of ``samples``, or something of its spectrum."""
    return min(POSITIONS, -(-len(samples) // (2 * HOP)) + _SPREAD)


@lru_cache(maxsize=64)
def merging(sound: int, glance: bool = False) -> Merging:
    """The plan for a window whose last ``sound`` positions hold sound."""
    recent = min(sound, RECENT) if glance else sound
    padding = POSITIONS - sound
    edge = _EDGE if padding else 0
    computed = sound + edge
    groups = [range(at, min(at + PADDING_MERGED, padding)) for at in range(0, padding, PADDING_MERGED)]
    older = range(padding, POSITIONS - recent)
    groups += [older[at : at + OLDER_MERGED] for at in range(0, len(older), OLDER_MERGED)]
    groups += [range(at, at + 1) for at in range(POSITIONS - recent, POSITIONS)]
    weights = np.zeros((len(groups), computed), np.float32)
    for row, group in enumerate(groups):
        if group.start < padding:
            weights[row, _CLEAR] = 1.0
        else:
            skipped = POSITIONS - computed
            weights[row, group.start - skipped : group.stop - skipped] = 1.0 / len(group)
    starts = np.array([group.start for group in groups], np.intp)
    return Merging(computed, weights, starts, np.array([len(group) for group in groups], np.float32))


def stacked(plans: list[Merging], table: Floats) -> dict[str, Floats]:
    """The inputs of a batch beside the features; ``table``: what the network knows of each place, ``(400, width)``."""
    rows, computed = max(len(plan.counts) for plan in plans), max(plan.computed for plan in plans)
    weights = np.zeros((len(plans), rows, computed), np.float32)
    places = np.zeros((len(plans), rows, table.shape[1]), np.float32)
    biases = np.full((len(plans), rows), _NEVER, np.float32)
    for item, plan in enumerate(plans):
        count = len(plan.counts)
        weights[item, -count:, computed - plan.computed :] = plan.weights
        places[item, -count:] = np.add.reduceat(table, plan.starts) / plan.counts[:, None]
        biases[item, -count:] = np.log(plan.counts)
    return {
        "merging_weights": weights,
        "merging_places": places,
        "merging_keys": biases[:, None, None],
        "merging_rows": biases[:, :, None],
    }
