"""A server that does not take the call, or ends it: the page says why, and what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import expect

from server.http.signaling.offer import REGISTRY
from tests.browser.fake_server import FakeServer, error
from tests.browser.script import spoken, start
from tests.browser.waiting import CONNECTED, in_browsers, until, until_true

pytestmark = in_browsers


ANSWER_LIMIT_MS = 20_000
"""Of ``static/js/call/api.js``."""
NOW = "() => document.getElementById('retry').click()"
"""Ends a wait, also where the page shows no button for that."""
TRY_NOW = """async () => {
    while (window.visavis.state.phase === "reconnecting") {
        document.getElementById("retry").click();
        await new Promise((next) => setTimeout(next, 20));
    }
}"""


async def test_a_lost_conversation_goes_on_in_a_new_connection(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, allow=["Failed to load resource"])
    server.remembers = True
    await start(page, server)
    server.send(*spoken("u1", "Are you there?"))
    server.answering.clear()  # so that it stays lost until that has been seen
    await server.hang_up()
    await expect(page.get_by_role("alert")).to_contain_text("Connection lost. Your conversation is kept.")
    server.answering.set()
    await server.connected()
    state = await until(page, "state => state.status === 'listening' && state.session_id === 'sess_2'")
    assert server.bodies[-1]["resume"] == "sess_1"
    assert [turn["text"] for turn in state["transcript"]] == ["Are you there?"]
    await expect(page.locator(".note")).to_have_count(0)

    server.remembers, server.away = False, True
    await server.hang_up()
    await expect(page.get_by_role("button", name="Try now")).to_be_visible()
    await page.evaluate(TRY_NOW)
    await expect(page.get_by_role("alert")).to_contain_text("The connection to the server is gone")
    await expect(page.locator("#status")).to_have_text("Disconnected")
    server.away = False
    await page.get_by_role("button", name="Reconnect").click()
    await server.connected()
    state = await until(page, "state => state.status === 'listening'")
    assert [turn["text"] for turn in state["transcript"]] == ["Are you there?"]
    await expect(page.locator(".note")).to_contain_text("New conversation")


@pytest.mark.long
async def test_a_voice_that_stops_is_noticed_and_may_come_back(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await start(page, server)
    await until(page, "state => state.remoteEnergy > 0")
    server.silent = True
    await until(page, "state => state.status === 'reconnecting' && state.phase === 'connected'")
    server.silent = False
    await until(page, "state => state.status === 'listening'")
    assert len(server.offers) == 1
    server.silent = True
    await until(page, "state => state.phase === 'reconnecting'")
    server.silent = False
    await server.connected()
    await until(page, "state => state.status === 'listening'")


async def test_a_server_that_ends_the_call_says_why(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await start(page, server)
    reason = "the session has ended: nobody has spoken for 10 minutes"
    server.send({"type": "error", "error": {"type": "server_error", "code": "session_ended", "message": reason}})
    await server.hang_up()
    await expect(page.get_by_role("alert")).to_contain_text("The server has ended the call")
    await expect(page.get_by_role("alert")).to_contain_text("The session has ended: nobody has spoken for 10 minutes.")
    await expect(page.locator(".notice.error")).to_have_count(0)
    await page.get_by_role("button", name="Start again").click()
    await server.connected()
    await until(page, "state => state.status === 'listening'")


async def test_the_real_server_says_that_it_stops(serve: Any, browser_page: Any) -> None:
    url, app = await serve()
    page = await browser_page(url, allow=["503"])
    await page.get_by_role("button", name="Start").click()
    await until(page, CONNECTED)
    await app[REGISTRY].close_all(5.0)
    await until(page, "state => state.phase === 'reconnecting' || state.phase === 'waiting'")
    await expect(page.get_by_role("alert")).to_contain_text("The server is shutting down.")
    await page.get_by_role("button", name="Stop waiting").click()
    await until(page, "state => state.status === 'idle' && state.problem === null")


REFUSALS = [
    (403, "host_not_allowed", "The server does not know this address"),
    (429, "too_many_connections", "The server takes no call just now"),
    (500, "internal_error", "The server failed to take the call"),
    (503, "server_busy", "The server takes no call just now"),
    (400, "invalid_sdp", "The server did not accept the call"),
]


async def test_a_refused_call_is_explained_in_the_words_of_the_server(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, allow=[str(status) for status, _, _ in REFUSALS])
    alert = page.get_by_role("alert")
    for status, code, title in REFUSALS:
        server.refusal = error(status, f"here is what to do about {status}", code)
        await page.locator("#toggle").click()
        await expect(alert).to_contain_text(f"Here is what to do about {status}")
        await expect(alert).to_contain_text(title)


async def test_a_full_or_starting_server_is_waited_for(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, allow=["503"])
    alert, counting = page.get_by_role("alert"), re.compile(r"Trying again in \d\d+ s")
    server.refusal = error(503, "all 4 places are taken", "server_full", **{"Retry-After": "100"})
    await page.get_by_role("button", name="Start").click()
    await expect(alert).to_contain_text("All 4 places are taken.")
    await expect(alert).to_contain_text(counting)
    words = "the server has too much to do: sound is 80 ms, the limit 40 ms"
    server.refusal = web.json_response(
        {"error": {"code": "server_busy", "message": words, "retry_after": 100}}, status=503
    )
    await page.evaluate(NOW)
    await expect(alert).to_contain_text("The server has too much to do: sound is 80 ms, the limit 40 ms.")
    await expect(alert).to_contain_text(counting)
    progress = [{"engine": "stt", "name": "moonshine", "percent": 62}, {"engine": "llm", "name": "x", "percent": None}]
    body = {"code": "warming_up", "message": "models are being loaded", "retry_after": 3, "progress": progress}
    server.refusal = web.json_response({"error": body}, status=503)
    await page.evaluate(NOW)
    await expect(alert).to_contain_text("Loading: speech-to-text 62 %, language model.")
    await server.connected()
    await until(page, "state => state.status === 'listening' && state.problem === null")


async def test_a_worker_that_is_replaced_and_a_proxy_that_has_lost_it_end_no_conversation(
    server: FakeServer, browser_page: Any
) -> None:
    page = await browser_page(server.url, allow=["502", "503"])
    await start(page, server)
    for refusal in (error(502, "bad gateway", "bad_gateway"), error(503, "come again", "worker_restarting")):
        server.refusal = refusal
        await server.hang_up()
        await until(page, "state => state.phase !== 'connected'")
        await server.connected()
        await until(page, "state => state.status === 'listening'")
        assert server.refusal is None


async def test_a_server_that_stands_still_is_not_waited_for(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, devices="refused")
    await page.clock.install()
    server.answering.clear()
    await page.get_by_label("Message to the assistant").fill("Are you there?")
    await page.keyboard.press("Enter")
    await expect(page.locator("#steps .current")).to_have_text("Server")
    await page.clock.fast_forward(ANSWER_LIMIT_MS)
    await expect(page.get_by_role("alert")).to_contain_text("No answer from")
    server.answering.set()
    await expect(page.get_by_role("alert")).to_be_hidden()


async def test_a_pipeline_that_the_server_has_not_keeps_nobody_from_talking(
    server: FakeServer, browser_page: Any
) -> None:
    page = await browser_page(f"{server.url}#pipeline=gone", allow=["404"])
    server.refusal = error(404, "there is no pipeline 'gone'", "unknown_pipeline")
    await start(page, server)
    await expect(page.locator("#notices")).to_contain_text("The server has no pipeline gone")
    assert "pipeline" not in server.bodies[-1]


async def test_a_server_with_a_key(server: FakeServer, browser_page: Any) -> None:
    server.key = "right & proper"
    page = await browser_page(f"{server.url}#key=wrong", allow=["401"])
    assert page.url == server.url, "the key does not stay in the address bar"
    await expect(page.get_by_role("alert")).to_contain_text("The server does not accept this key")
    await page.get_by_label("Server key").fill(server.key)
    await page.get_by_role("button", name="Use this key").click()
    await expect(page.locator("#engines")).to_contain_text("running")
    await page.reload()  # kept for the tab
    await start(page, server)
    await page.reload()  # and whoever leaves a call says so
    await until_true(lambda: server.left == ["sess_1"])
