"""Scenarios that are played: to engines that do as told, and to a server of one's own with the embedded ones."""

from __future__ import annotations

import io
from argparse import Namespace

import pytest
from rich.console import Console

from media.clock import MonotonicClock
from server.cli.evaluation import run_evaluation
from server.evaluation.playing.player import Player
from server.evaluation.results import result_of
from server.evaluation.scenario import SHIPPED, Scenario
from server.headless.call import Address
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer


@pytest.mark.long
async def test_a_turn_is_said_understood_and_answered(serve):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("hello there"), llm=FakeModel("Hello to you.")))
    expected = [{"heard": {"wer_max": 0}}, {"reply": {"contains": ["hello"]}}, {"not": "early_reply"}]
    turns = [{"say": "Hello there", "expect": expected}]
    scenario = Scenario.model_validate({"version": 1, "name": "one", "turns": turns})
    observed = await Player(scenario, Address(url), MonotonicClock()).play()
    result = result_of(scenario, observed, 1)
    assert result.passed, result
    assert result.understood == ("hello there",) and result.latencies_ms[0] > 0


async def test_a_shipped_scenario_passes_on_a_server_of_its_own(tmp_path):
    said, lines = io.StringIO(), tmp_path / "results.jsonl"
    options = Namespace(
        action="run", file=[SHIPPED / "typed-sum.yaml"], url=None, api_key=None, config=None, repeat=1, json=lines,
        html=None,
        baseline=None, assets=None,
        junit=tmp_path / "results.xml",
    )  # fmt: skip
    assert await run_evaluation(options, Console(file=said)) == 0, said.getvalue()
    assert "1 of 1 passed" in said.getvalue()
    assert '"passed": true' in lines.read_text()
