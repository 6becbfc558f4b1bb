"""Nodes as processes with a real Redis, with and without workers: what ``tests.benchmarks.nodes`` shows is so."""

from __future__ import annotations

import sys

import pytest

from tests.benchmarks.nodes import STEPS, measure
from tests.fakes import redis_process

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform == "win32", reason="needs signals"),
]


@pytest.mark.parametrize(
    ("flags", "only"),
    [((), {*STEPS, "redirected"}), (("--workers", "2"), {"spread", "wrong_node", "drained", "killed"})],
)
async def test_nodes_share_their_sessions_and_outlive_each_other(loopback, flags, only):
    redis_process.needed()
    found = await measure((2, 4, 4), flags, only)
    assert set(found) == only
    assert not {name: told for name, told in found.items() if not told["ok"]}
