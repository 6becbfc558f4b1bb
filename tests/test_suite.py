"""What the tests themselves take for granted."""

from __future__ import annotations

import asyncio

import pytest


async def test_tests_run_on_the_event_loop_of_the_product():
    uvloop = pytest.importorskip("uvloop")
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
