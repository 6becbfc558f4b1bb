"""``docs/explain/scale.md`` says what costs and simulation give, and the simulation agrees with the formulas."""

from __future__ import annotations

import re

import pytest

from tools.scale.arithmetic import plan
from tools.scale.costs import Costs, Machines, People
from tools.scale.simulation import demand, erlang_c, places, queue, storm
from tools.scale.tables import EXACT, PAGE, batches, demands, growths, peaks, read, relays, storms, waits

CELLS = re.compile(r"[\d.,]+")
SMALL = {
    "demands": (lambda: demands(40.0), 0.1, 3.0),
    "waits": (lambda: waits(20_000), 0.3, 0.15),
    "batches": (lambda: batches(15_000), 0.25, 0.15),
    "peaks": (lambda: peaks(8.0), 0.15, 2.0),
    "storms": (storms, 0.0, 0.0),
    "growths": (growths, 0.0, 0.0),
    "relays": (relays, 0.0, 0.0),
}
"""A smaller run of each simulation, and what its figures may differ from the page's: a share, and absolutely. Queues
near full load vary most from run to run."""


@pytest.mark.parametrize("name", EXACT)
def test_the_arithmetic_of_the_page_is_that_of_the_costs(name):
    assert read(PAGE.read_text("utf-8"), name) == EXACT[name](), "run python -m tools.scale"


@pytest.mark.parametrize("name", SMALL)
def test_the_simulation_gives_what_the_page_says(name):
    make, share, most = SMALL[name]
    page, again = read(PAGE.read_text("utf-8"), name), make()
    assert [row[0] for row in page] == [row[0] for row in again]
    for row, other in zip(page[1:], again[1:], strict=True):
        columns = range(1, len(row)) if name != "peaks" else [2]  # the most of fewer hours, and not the hours
        for column in columns:
            assert close(row[column], other[column], share, most), (name, row, other)


def close(one: str, two: str, share: float, most: float) -> bool:
    """Whether all figures of two cells agree."""
    pairs = [[float(text.replace(",", "")) for text in CELLS.findall(cell)] for cell in (one, two)]
    words = CELLS.sub("", one) == CELLS.sub("", two)
    return words and all(abs(a - b) <= most + share * max(a, b) for a, b in zip(*pairs, strict=True))


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (2, 0.8), (8, 0.8)])
def test_waiting_is_erlangs(servers, load):
    assert queue(servers, load, 40_000, 3, variation=1.0).waiting == pytest.approx(erlang_c(servers, load), abs=0.04)


def test_calls_that_come_at_random_are_as_many_as_arithmetic_says():
    _, deviation = places(400, 300.0, 6.0, 5)
    assert deviation == pytest.approx(400**0.5, rel=0.25)  # Poisson


def test_stages_take_on_the_mean_what_arithmetic_says():
    whole = plan(1000, Costs(), People(), Machines())
    mean, most = demand(whole.turns, People().tokens / Costs().mind, 300.0, 4)
    assert mean == pytest.approx(whole.mind, rel=0.05) and most > whole.mind


def test_a_lost_node_takes_as_long_as_the_cap_says_and_jitter_saves_refusals():
    half, most, refused = storm(500, 50.0, 0.0, 1)
    assert half < most and most == pytest.approx(500 / 50 + 1, rel=0.4)
    assert storm(500, 50.0, 10.0, 1)[2] < refused / 4
