"""The page and several workers: when one is killed, the page hears of it and goes on with its conversation."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time

import pytest

from server.workers.ids import worker_in
from tests.browser.waiting import CONNECTED, in_browsers, until, until_true
from tests.fakes.front import workers

pytestmark = [*in_browsers, pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")]

log = logging.getLogger(__name__)


async def test_a_killed_worker_is_known_at_once_and_the_conversation_goes_on(browser_page, tmp_path):
    async with workers(tmp_path) as (url, _, supervisor):
        page = await browser_page(url)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.get_by_role("button", name="Start").click()
        first = (await until(page, CONNECTED))["session_id"]
        seat = supervisor.board.find(worker_in(first))
        await until_true(lambda: first in seat.kept)
        async with page.expect_response(lambda answer: answer.url.endswith("/offer")) as answering:
            os.kill(seat.pid, signal.SIGKILL)
            killed = time.monotonic()
        answer = await (await answering.value).json()
        offered = time.monotonic() - killed
        assert answer["resumed"] is True and worker_in(answer["session_id"]) != worker_in(first)
        await until(page, f"state => state.session_id !== '{first}' && state.phase === 'connected'")
        log.info("offered again after %.3f s, connected after %.3f s", offered, time.monotonic() - killed)
        assert any(line.endswith(f"/v1/sessions/{first}/watch") for line in asked), "it was told, and need not notice"
        await page.context.close()  # before the server
