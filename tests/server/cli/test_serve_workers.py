"""``visavis serve --workers``: signals at the front, and what is left when it is killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.patience import PATIENCE
from tests.server.cli.test_stopping import READY, Ends, Visavis

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc"),
]

NO_TERMINAL = ("/bin/sh", "-c", 'exec "$0" "$@" < /dev/null')
"""A hangup comes from whoever looks after it, then, and not because a window was closed."""


def children_of(pid: int) -> list[int]:
    """Those that a process has started, and what these have."""
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*found, *(each for child in found for each in children_of(child))]


async def numbers(http: aiohttp.ClientSession) -> list[int]:
    async with http.get("/v1/workers") as told:
        return [row["number"] for row in (await told.json())["data"] if row["state"] == "ready"]


async def serve_as(http: aiohttp.ClientSession, *expected: int) -> None:
    """Wait until these workers serve, and no others."""
    while await numbers(http) != list(expected):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.1)


async def test_a_hangup_replaces_all_workers_and_none_outlives_the_front(tmp_path):
    arguments = ("serve", "--workers", "2", "--port", "0", "--profile", "bench")
    async with Visavis.run(tmp_path, *arguments, under=NO_TERMINAL) as visavis, asyncio.timeout(PATIENCE):
        front, output = visavis.process.pid, visavis.process.stdout
        assert output is not None
        while READY not in (line := (await output.readline()).decode()):
            assert line, "it has ended"
        url = re.search(r"http://[0-9.:]+", line)
        assert url is not None
        async with aiohttp.ClientSession(url[0]) as http:
            await serve_as(http, 1, 2)
            os.kill(front, signal.SIGHUP)
            await serve_as(http, 3, 4)
            family = children_of(front)
            assert len(family) >= 2
            ends = Ends(family)
            os.kill(front, signal.SIGKILL)
            await ends.wait()
