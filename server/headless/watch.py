"""Whether the process of the server that a session lives in still runs: clients go on elsewhere when it does not."""

from __future__ import annotations

import asyncio
from typing import Literal
from urllib.parse import quote

import aiohttp

from server.headless.call import Address
from server.http.signaling.watching import WATCH_SECONDS

RETRY_SECONDS = 1.0
ANSWER_SECONDS = WATCH_SECONDS + 15.0
"""For an answer: the server waits for news for :data:`WATCH_SECONDS`; one that stands still answers nothing."""
TRIES = 5
"""Requests in a row that may fail before nobody is asked any more."""
State = Literal["leaving", "gone", "unknown"]
"""``leaving``: it is about to end; ``gone``: it has ended, and took the connection with it; ``unknown``: nobody tells,
as with a server of one process."""


async def watch(address: Address, session: str) -> State:
    """Wait until the session has to go on elsewhere: offer again then, with ``resume``."""
    place = f"{address.root}/v1/sessions/{quote(session, safe='')}/watch"
    async with aiohttp.ClientSession(headers=address.headers) as http:
        failed = 0
        while failed < TRIES:
            try:
                async with http.get(place, timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as answer:
                    if 400 <= answer.status < 500:
                        return "unknown"
                    answer.raise_for_status()
                    told = await answer.json()
            except (aiohttp.ClientError, TimeoutError, ValueError):
                failed += 1
                await asyncio.sleep(RETRY_SECONDS)
                continue
            failed = 0
            if told["state"] in ("leaving", "gone"):
                return "gone" if told["state"] == "gone" else "leaving"
            await asyncio.sleep(told.get("again_in", 0.0))
    return "unknown"
