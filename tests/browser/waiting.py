"""Waiting for the page, under its content security policy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from playwright.async_api import Page

SECONDS = 10


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
