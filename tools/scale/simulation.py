"""Calls, turns, lost nodes and late machines, drawn at random: what happens beside the mean.

Everything is seeded. Times are seconds. Service times of a stage are gamma-distributed with the measured mean and a
coefficient of variation of 0.5: what people say and what is answered differ in length by about as much.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
VARIATION = 0.5
AFTERWARDS = 600.0
"""Seconds that are looked at after calls have stopped to become more."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long turns wait for a free server of a stage, in service times."""

    mean: float
    p95: float
    p99: float
    waiting: float
    """Share that waits at all."""


def arrivals(rate: float, seconds: float, random: np.random.Generator) -> Floats:
    """Times of a Poisson process."""
    count = random.poisson(rate * seconds)
    return np.sort(random.uniform(0.0, seconds, count))


def queue(servers: int, load: float, turns: int, seed: int, variation: float = VARIATION) -> Waits:
    """First come, first served: ``servers`` of them, busy for a share ``load`` of the time; service takes 1.

    That is the mean of it. The first tenth of the turns is not counted: the queue begins empty.
    """
    random = np.random.default_rng(seed)
    gaps = random.exponential(1.0 / (servers * load), turns)
    service = random.gamma(1 / variation**2, variation**2, turns) if variation else np.ones(turns)
    waits = np.fromiter(_waits(np.cumsum(gaps), service, servers), float, turns)[turns // 10 :]
    return Waits(
        float(waits.mean()), float(np.quantile(waits, 0.95)), float(np.quantile(waits, 0.99)), float((waits > 0).mean())
    )


def _waits(coming: Floats, service: Floats, servers: int) -> Iterator[float]:
    free = [0.0] * servers
    for at, takes in zip(coming.tolist(), service.tolist(), strict=True):
        begins = max(at, free[0])
        heapq.heapreplace(free, begins + takes)
        yield begins - at


def batched(size: int, alone: float, each: float, load: float, turns: int, seed: int) -> tuple[float, float]:
    """One server that takes what waits as a batch, ``size`` at most: a batch of n takes ``alone + each * (n - 1)``.

    ``load``: arrivals, as a share of what it does when all batches are full. Returns median and 95th percentile of the
    time from arrival to result, in ``alone``.
    """
    random = np.random.default_rng(seed)
    rate = load * size / (alone + each * (size - 1))
    coming = np.cumsum(random.exponential(1.0 / rate, turns))
    took, at, now = np.empty(turns), 0, 0.0
    while at < turns:
        now = max(now, coming[at])
        until = min(int(np.searchsorted(coming, now, "right")), at + size)
        now += alone + each * (until - at - 1)
        took[at:until] = now - coming[at:until]
        at = until
    took = took[turns // 10 :] / alone
    return float(np.median(took)), float(np.quantile(took, 0.95))


def places(sessions: int, call: float, hours: float, seed: int) -> tuple[int, float]:
    """Most sessions at a time in so many hours of Poisson calls, and the standard deviation of their number.

    Lengths are exponential; the first three mean lengths are not counted.
    """
    random = np.random.default_rng(seed)
    seconds = hours * 3600 + 3 * call
    begins = arrivals(sessions / call, seconds, random)
    ends = begins + random.exponential(call, len(begins))
    times = np.concatenate([begins, ends])
    order = np.argsort(times, kind="stable")
    steps = np.concatenate([np.ones(len(begins)), -np.ones(len(ends))])[order]
    number, times = np.cumsum(steps), times[order]
    counted = (times >= 3 * call) & (times <= seconds)
    return int(number[counted].max()), float(number[counted].std())


def storm(lost: int, per_second: float, jitter: float, seed: int) -> tuple[float, float, float]:
    """A node with ``lost`` sessions is gone: all notice within 1–3 s and offer again, after up to ``jitter`` s.

    ``per_second`` are let in; who is not is told to wait ``Retry-After: 2`` and waits that and up to ``jitter`` more.
    Returns seconds until half, and 99 % of them, are back; and refusals for each of them.
    """
    random = np.random.default_rng(seed)
    asking = [(at, n) for n, at in enumerate(random.uniform(1, 3, lost) + random.uniform(0, jitter, lost))]
    heapq.heapify(asking)
    back: list[float] = []
    tokens, last, refused = 1.0, 0.0, 0
    while asking:
        at, who = heapq.heappop(asking)
        tokens, last = min(max(1.0, per_second / 10), tokens + (at - last) * per_second), at
        if tokens >= 1.0:
            tokens -= 1.0
            back.append(at)
        else:
            refused += 1
            heapq.heappush(asking, (at + 2.0 + random.uniform(0, jitter), who))
    return back[len(back) // 2], back[math.ceil(0.99 * len(back)) - 1], refused / lost


@dataclass(frozen=True, slots=True)
class Growth:
    """Ten nodes' worth of calls at the planned load become twice as many in ``seconds``."""

    node: int
    """Places of a node."""
    planned: float
    """A node is ordered when more than this share of all places is taken …"""
    delay: float
    """… and is there so many seconds later."""
    seconds: float
    call: float = 300.0


def scaling(growth: Growth, seed: int) -> float:
    """Share of calls that is refused while the number grows, and in the ten minutes after."""
    random = np.random.default_rng(seed)
    start = 10 * growth.node * growth.planned
    ends: list[float] = random.exponential(growth.call, int(start)).tolist()
    heapq.heapify(ends)
    ordered: list[float] = []
    came = refused = 0
    for second in range(int(growth.seconds + AFTERWARDS)):
        while ends and ends[0] <= second:
            heapq.heappop(ends)
        there = 10 + sum(at <= second for at in ordered)
        coming = random.poisson(start / growth.call * (1 + min(1.0, second / growth.seconds)))
        taken = max(0, min(coming, there * growth.node - len(ends)))
        came, refused = came + coming, refused + coming - taken
        for length in random.exponential(growth.call, taken):
            heapq.heappush(ends, second + float(length))
        wanted = math.ceil(len(ends) / (growth.planned * growth.node))
        ordered += [second + growth.delay] * max(0, wanted - 10 - len(ordered))
    return refused / max(1, came)


def demand(turns: float, service: float, seconds: float, seed: int) -> tuple[float, float]:
    """Cores that a stage takes when nobody has to wait, on the mean and in all but 1 % of the time.

    ``turns`` a second, each of which takes ``service`` core-seconds on the mean.
    """
    random = np.random.default_rng(seed)
    begins = arrivals(turns, seconds, random)
    takes = random.gamma(1 / VARIATION**2, service * VARIATION**2, len(begins))
    looks = np.sort(random.uniform(min(seconds / 2, 10 * service), seconds, 4000))
    busy = np.searchsorted(begins, looks, "right") - np.searchsorted(np.sort(begins + takes), looks, "right")
    return float(busy.mean()), float(np.quantile(busy, 0.99))


def relayed(sessions: int, share: float, servers: int, hours: int, seed: int) -> float:
    """The busiest of ``servers`` TURN servers in so many hours, over the mean: each call picks one at random."""
    random = np.random.default_rng(seed)
    counts = random.binomial(sessions, share / servers, (hours * 12, servers))
    return float(counts.max() / (sessions * share / servers))


def erlang_c(servers: int, load: float) -> float:
    """Share of turns that wait, with exponential service: Erlang's formula, which :func:`queue` is checked against."""
    offered = servers * load
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return blocked / (1 - load + load * blocked)
