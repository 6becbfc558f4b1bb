"""How long a test waits for what must come, on a machine that is busy with other things as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds after which what was waited for will not come; only a busy machine needs more than a few."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what tasks that end bring about."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait(others, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
