"""Runs that are compared, and the report of them."""

from __future__ import annotations

import io
import re
from argparse import Namespace
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from rich.console import Console

from server.evaluation.comparing import compared
from server.evaluation.html_report import html_report
from server.evaluation.judging.verdicts import Verdict
from server.evaluation.results import Result, grouped, json_lines, junit, read_lines, skipped
from server.evaluation.running import run_scenarios
from server.evaluation.scenario import Scenario, Score
from server.evaluation.statistics import difference, ratio
from server.settings import SettingsError

LATE = Verdict(0, "reply", False, "late", "<b>after 2 s</b>")
LIKED = Verdict(0, "judge", False, "disliked", "0 of 3", soft=True)


def run(latency, failures=0, n=20, config=""):
    def one(k):
        verdicts = (LATE,) if k < failures else (LIKED,)
        return Result("one", k + 1, verdicts, (latency + 7.0 * (k % 5),), (), ("hi",), ("<i>",), config=config,
                      wers=(0.0,))  # fmt: skip

    return [one(k) for k in range(n)]


def test_a_run_is_the_same_after_it_was_saved(tmp_path):
    (tmp_path / "a.jsonl").write_text(json_lines(run(400, 3)))
    assert read_lines(tmp_path / "a.jsonl") == run(400, 3)
    (tmp_path / "b.jsonl").write_text("{}\n")
    with pytest.raises(SettingsError, match="holds no results"):
        read_lines(tmp_path / "b.jsonl")


@pytest.mark.parametrize(
    ("now", "regressed"),
    [
        (run(402), []),
        (run(300), []),
        (run(600), ["end of speech → first sound"]),
        (run(400, 10), ["passed"]),
        (run(400, 1), []),
    ],
)
def test_only_what_is_surely_worse_is_a_regression(now, regressed):
    assert [one.figure for one in compared(now, run(400)) if one.regressed] == regressed


def test_what_only_one_run_has_played_is_not_compared():
    other = [Result("two", 1, (), (), (), (), ())]
    assert compared(run(400), other) == []
    assert compared([*run(400), skipped(scenario(), "no camera")], run(400))[0].now == "20 of 20"


def scenario():
    return Scenario.model_validate({"version": 1, "name": "one", "turns": [{"say": "x"}]})


def test_intervals_hold_the_figure_they_are_of():
    middle, low, high = ratio([110.0, 120, 130, 140], [100.0, 100, 105, 110])
    assert low <= middle <= high
    assert ratio([1.0, 2], [1.0, 2, 3]) is None
    low, high = difference(9, 10, 5, 10)
    assert low < 0.4 < high


def test_a_score_is_of_all_attempts_together():
    results = run(400, 2)
    assert not grouped(results, {})[0].passed
    assert grouped(results, {"one": Score(pass_rate_min=0.9)})[0].passed
    (missed,) = grouped(results, {"one": Score(pass_rate_min=0.9, latency_p95_ms=350)})[0].missed
    assert missed.kind == "late"
    cut = [Result("one", 1, (), (), (), (), (), cutoffs=1)]
    assert grouped(cut, {"one": Score(false_cutoffs_max=0)})[0].missed[0].kind == "cut_off"
    assert grouped([skipped(scenario(), "no camera")], {}) == []


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = set(), ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text += data


def test_the_report_is_one_file_and_what_others_said_stays_text():
    results = [*run(400, 1, config="a.yaml"), *run(500, config="b.yaml"), skipped(scenario(), "no <camera>")]
    page = html_report(results, grouped(results, {}), {"b with a": compared(run(500), run(400))}, "visavis, today")
    read = Page()
    read.feed(page)
    assert not {"script", "link", "img", "iframe", "i", "b", "camera"} & read.tags
    assert not re.search(r"https?://", page)
    assert "<b>after 2 s</b>" in read.text
    assert "regression" in read.text
    assert "no <camera>" in read.text


def test_a_score_that_is_missed_is_in_the_xml_though_all_passed():
    results = run(400)
    (group,) = grouped(results, {"one": Score(latency_p95_ms=350)})
    suite = ElementTree.fromstring(junit(results, [group]))
    assert (suite.get("tests"), suite.get("failures")) == (str(len(results) + 1), "1")
    (failure,) = suite.iter("failure")
    assert failure.get("type") == "late"
    assert (failure.get("message") or "").startswith("score latency_p95_ms: the 95th percentile")
    assert ElementTree.fromstring(junit(results, grouped(results, {}))).get("failures") == "0"


@pytest.fixture
def played(tmp_path, monkeypatch):
    """``status, told = await played(results, baseline)``: what a run says of results that a server would give."""
    file = tmp_path / "one.yaml"
    file.write_text("version: 1\nname: one\nscore: {latency_p95_ms: 350}\nturns: [{say: x}]\n")

    async def play(results, baseline=None, lost=None):
        async def given(*of):
            for one in results:
                yield one
            if lost is not None:
                raise SettingsError(lost)

        monkeypatch.setattr("server.evaluation.running._played", given)
        if baseline is not None:
            (tmp_path / "before.jsonl").write_text(json_lines(baseline))
        options = Namespace(
            file=[file], assets=None, url="http://127.0.0.1:9", api_key=None, config=None, repeat=1, json=None,
            junit=None, html=None, baseline=None if baseline is None else tmp_path / "before.jsonl",
        )  # fmt: skip
        said = io.StringIO()
        return await run_scenarios(options, Console(file=said, width=200)), said.getvalue()

    return play


async def test_why_a_single_attempt_that_passed_failed_is_told(played):
    status, told = await played(run(400)[:1])
    assert status == 1
    assert "one: score latency_p95_ms: late: the 95th percentile of the latency is" in told


async def test_nothing_that_was_played_is_nothing_that_passed(played):
    status, told = await played([skipped(scenario(), "no camera")])
    assert (status, "nothing was played" in told) == (1, True)


async def test_a_baseline_that_shares_nothing_is_refused(played):
    with pytest.raises(SettingsError, match=r"--baseline: .*before\.jsonl has no scenario that was played here, too"):
        await played(run(400), [replace(one, name="another") for one in run(400)])
    status, _ = await played(run(400), run(400))
    assert status == 0


async def test_what_was_played_before_the_server_was_lost_is_reported(played):
    status, told = await played(run(300), lost="no server at ws://127.0.0.1:9")
    assert status == 1
    assert "the rest could not be played: no server at ws://127.0.0.1:9" in told
    assert "end of speech → first sound" in told
    status, _ = await played(run(400), run(400), lost="no server")
    assert status == 1
    with pytest.raises(SettingsError, match="no server"):
        await played([], lost="no server")
