"""What is told of models that are being brought."""

from __future__ import annotations

import pytest

from pipelines.errors import ModelError
from pipelines.models.fetches import Fetch, Fetches
from pipelines.models.sources_http import Progress

MB = 1_000_000


class Told:
    """What was told, on a clock of the test's."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fetches: list[Fetch] = []
        self.of = Fetches(lambda model: 100 * MB, self.fetches.append, lambda: self.now)


@pytest.fixture
def told() -> Told:
    return Told()


def test_the_files_of_a_model_count_together_against_what_the_catalogue_expects(told: Told) -> None:
    with told.of.bringing("ears") as report:
        assert told.of.all() == [Fetch("ears", "waiting", 0, 100 * MB)]
        report(Progress("ears", "one", 30 * MB, 60 * MB))
        report(Progress("ears", "one", 60 * MB, 60 * MB))
        report(Progress("ears", "two", 10 * MB, 50 * MB))
        assert told.of.all() == [Fetch("ears", "fetching", 70 * MB, 110 * MB)]
    assert told.of.all() == [Fetch("ears", "arrived", 70 * MB, 110 * MB)]
    told.of.forget("ears")
    assert told.of.all() == []


def test_bytes_alone_are_told_once_a_second(told: Told) -> None:
    with told.of.bringing("ears") as report:
        for at, done in ((0.0, 1), (0.3, 2), (0.9, 3), (1.0, 4), (1.5, 5), (2.1, 6)):
            told.now = at
            report(Progress("ears", "one", done * MB, 60 * MB))
    fetching = [fetch.done // MB for fetch in told.fetches if fetch.state == "fetching"]
    assert fetching == [1, 4, 6]
    assert [told.fetches[0].state, told.fetches[-1].state] == ["waiting", "arrived"]


def test_why_it_failed_stays(told: Told) -> None:
    with pytest.raises(ModelError), told.of.bringing("ears"):
        raise ModelError("checksum", "part two is not the published file")
    assert told.of.all() == [Fetch("ears", "failed", 0, 100 * MB, "part two is not the published file")]
    with told.of.bringing("ears"):
        assert [fetch.state for fetch in told.of.all()] == ["waiting"]


def test_what_nobody_waits_for_any_more_is_not_told(told: Told) -> None:
    with pytest.raises(KeyboardInterrupt), told.of.bringing("ears"):
        raise KeyboardInterrupt
    assert told.of.all() == []
    told.of.fail("ears", "too late")
    assert told.of.all() == []
