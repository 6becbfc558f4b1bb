"""Who has to go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.models.plans import Room, Usage, idle, victims


def usage(key: str, size: int, last_used: float, leases: int = 0) -> Usage[str]:
    return Usage(key, size, last_used, leases)


LOADED = [usage("old", 300, 1.0), usage("busy", 300, 0.0, leases=1), usage("new", 200, 5.0)]


@pytest.mark.parametrize(
    ("need", "room", "expected"),
    [
        pytest.param(100, Room(budget=900), [], id="there is room"),
        pytest.param(101, Room(budget=900), ["old"], id="one byte too much"),
        pytest.param(401, Room(budget=900), ["old", "new"], id="both that are not in use"),
        pytest.param(600, Room(budget=900), ["old", "new"], id="as much as can be had"),
        pytest.param(601, Room(budget=900), None, id="what is in use stays"),
        pytest.param(901, Room(budget=900), None, id="never fits"),
        pytest.param(500, Room(free=300), ["old"], id="the machine is full before the budget is"),
        pytest.param(500, Room(budget=2000, free=300), ["old"], id="the tighter of the two counts"),
        pytest.param(801, Room(budget=9000, free=300), None, id="more than the machine has"),
        pytest.param(10**12, Room(), [], id="nothing is known"),
        pytest.param(0, Room(budget=500), ["old"], id="too much is loaded already"),
    ],
)
def test_the_least_recently_used_go_first_and_no_more_than_it_takes(need, room, expected):
    assert victims(LOADED, need, room) == expected


def test_idle_are_those_that_nobody_has_used_for_so_long():
    assert idle(LOADED, now=6.0, seconds=5.0) == ["old"]
    assert idle(LOADED, now=10.0, seconds=5.0) == ["old", "new"]
    assert idle(LOADED, now=0.5, seconds=5.0) == []  # used since the hands of the clock were read


amounts = st.integers(0, 1000)
models = st.lists(st.tuples(amounts, st.floats(0, 100), st.integers(0, 1)), max_size=8)


@given(models, amounts, st.none() | st.integers(0, 4000), st.none() | amounts)
def test_what_is_evicted_suffices_is_needed_and_is_not_in_use(specs, need, budget, free):
    loaded = {n: Usage(n, size, last, leases) for n, (size, last, leases) in enumerate(specs)}
    total = sum(model.size for model in loaded.values())

    def missing(gone: list[int]) -> int:
        freed = sum(loaded[key].size for key in gone)
        over = total - freed + need - budget if budget is not None else 0
        return max(over, need - free - freed if free is not None else 0)

    chosen = victims(loaded.values(), need, Room(budget, free))
    if chosen is None:
        assert missing([key for key, model in loaded.items() if not model.leases]) > 0
        return
    assert missing(chosen) <= 0
    assert not chosen or missing(chosen[:-1]) > 0
    assert not any(loaded[key].leases for key in chosen)
    spared = [model.last_used for key, model in loaded.items() if key not in chosen and not model.leases]
    assert all(loaded[key].last_used <= oldest for key in chosen for oldest in spared)
