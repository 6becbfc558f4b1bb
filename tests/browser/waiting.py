"""How long the browser tests wait: until something happens, and never for a machine to be quick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, expect

SECONDS = 90.0
"""Ends a test that hangs; nothing that works comes near it, even on a machine that has other things to do."""
MILLISECONDS = SECONDS * 1000

CONNECTED = "state => state.phase === 'connected'"
"""For :func:`until`: the call is there, whatever is heard in it (Firefox's microphone never falls silent)."""

expect.set_options(timeout=MILLISECONDS)

in_browsers = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),  # the loop of the browsers, which all tests share
]
"""The marks of a module of browser tests: ``pytestmark = in_browsers``."""


async def until_true(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until a condition of the server holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nothing tells when the server changes
            await asyncio.sleep(0.02)


async def until(page: Page, predicate: str, seconds: float = SECONDS) -> Any:
    """Wait until a JavaScript predicate of the page's state holds; returns that state.

    ``await until(page, "state => state.status === 'listening'")``. Playwright's own ``wait_for_function`` evaluates
    strings inside the page, which the policy rightly forbids.
    """
    loop = f"""async () => {{
        const holds = {predicate};
        while (!holds(window.visavis.state)) await new Promise((next) => setTimeout(next, 20));
        return window.visavis.state;
    }}"""
    try:
        async with asyncio.timeout(seconds):
            return await page.evaluate(loop)
    except TimeoutError:
        state = await page.evaluate("() => window.visavis.state")
        raise AssertionError(f"not within {seconds} s: {predicate}\nthe page's state: {state}") from None
