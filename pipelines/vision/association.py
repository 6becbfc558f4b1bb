"""Which detection belongs to which track: the pairing that fits best as a whole, by shortest augmenting paths (Kuhn
1955, Jonker and Volgenant 1987). Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

Fits = Sequence[Sequence[float | None]]
"""Of each track with each detection: higher is better, ``None``: they cannot be the same thing."""
_A_PAIR = 1000.0
"""What a pair is worth by itself, far more than any fit: as many as possible are paired."""


def assign(fits: Fits) -> dict[int, int]:
    """Detection → track: as many pairs as possible, and of those the ones that fit best together."""
    if not fits or not fits[0]:
        return {}
    costs = [[0.0 if fit is None else -(_A_PAIR + fit) for fit in row] for row in fits]
    if len(costs) > len(costs[0]):
        turned = _cheapest([list(column) for column in zip(*costs, strict=True)])
        pairs = dict(enumerate(turned))
    else:
        pairs = {detection: track for track, detection in enumerate(_cheapest(costs))}
    return {detection: track for detection, track in pairs.items() if fits[track][detection] is not None}


def _cheapest(costs: Sequence[Sequence[float]]) -> list[int]:
    """Of each row the column it takes, such that the sum is least. There are no more rows than columns."""
    rows, columns = len(costs), len(costs[0])
    of_row, of_column = [0.0] * (rows + 1), [0.0] * (columns + 1)
    taken = [0] * (columns + 1)  # by which row, counted from 1; 0: none
    for row in range(1, rows + 1):
        taken[0], column = row, 0
        least, seen, before = [math.inf] * (columns + 1), [False] * (columns + 1), [0] * (columns + 1)
        while taken[column]:
            seen[column] = True
            here, step, after = taken[column], math.inf, 0
            for other in range(1, columns + 1):
                if seen[other]:
                    continue
                cost = costs[here - 1][other - 1] - of_row[here] - of_column[other]
                if cost < least[other]:
                    least[other], before[other] = cost, column
                if least[other] < step:
                    step, after = least[other], other
            for other in range(columns + 1):
                if seen[other]:
                    of_row[taken[other]] += step
                    of_column[other] -= step
                else:
                    least[other] -= step
            column = after
        while column:
            taken[column], column = taken[before[column]], before[column]
    found = [0] * rows
    for other in range(1, columns + 1):
        if taken[other]:
            found[taken[other] - 1] = other - 1
    return found
