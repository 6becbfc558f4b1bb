"""A real Ray cluster of two nodes: what is pretended elsewhere, with processes that are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.engines.remote.conftest import needs_ray

ROOT = Path(__file__).parents[4]
SECONDS = 420
pytestmark = [pytest.mark.long, needs_ray, pytest.mark.timeout(SECONDS + 60)]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What the measurement finds, in a process of its own: Ray leaves threads behind."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.ray", "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def test_a_session_stays_on_its_replica_and_sessions_spread(found: dict[str, Any]) -> None:
    assert found["affinity"]["sessions_on_one"] == found["affinity"]["sessions"]
    assert found["affinity"]["replicas"] == 2


def test_utterances_that_end_together_are_heard_together(found: dict[str, Any]) -> None:
    assert found["batches"]["together"] > 1


@pytest.mark.parametrize("step", ["killed_before", "killed_after", "bridge", "node", "head"])
def test_one_answer_is_heard_whatever_is_killed_in_its_midst(step: str, found: dict[str, Any]) -> None:
    assert found[step]["one_answer"], found[step]
    assert (found[step]["words_before"] == 0) == (step == "killed_before")


def test_what_was_killed_comes_back_or_the_rest_serves(found: dict[str, Any]) -> None:
    assert found["killed_after"]["replaced"]
    assert found["bridge"]["back"]
    assert found["node"]["others_serve"]


def test_whom_a_full_queue_refuses_is_answered_here(found: dict[str, Any]) -> None:
    assert found["queue"]["answers"] == 10
    assert 1 <= found["queue"]["by_the_local_engine"] < 10


def test_replicas_come_and_go_with_what_there_is_to_do(found: dict[str, Any]) -> None:
    assert found["autoscaling"]["before"] == 1
    assert found["autoscaling"]["grown_to_3"]
    assert found["autoscaling"]["shrunk_to_1"]
