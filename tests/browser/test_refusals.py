"""A server that does not take the call, or ends it: the page says why, and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from server.http.signaling.offer import REGISTRY
from tests.browser.fake_server import FakeServer, error
from tests.browser.script import spoken, start
from tests.browser.waiting import CONNECTED, in_browsers, until

pytestmark = in_browsers


async def test_a_server_that_goes_away_can_be_reached_again(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await start(page, server)
    server.send(*spoken("u1", "Are you there?"))
    await server.hang_up()
    await expect(page.get_by_role("alert")).to_contain_text("The connection to the server is gone")
    await expect(page.locator("#status")).to_have_text("Disconnected")
    await page.get_by_role("button", name="Reconnect").click()
    await server.connected()
    state = await until(page, "state => state.status === 'listening'")
    assert [turn["text"] for turn in state["transcript"]] == ["Are you there?"]
    await expect(page.locator(".note")).to_contain_text("New conversation")


async def test_a_server_that_stops_says_why(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await start(page, server)
    reason = "the session has ended: the server is shutting down"
    server.send({"type": "error", "error": {"type": "server_error", "code": "session_ended", "message": reason}})
    await server.hang_up()
    await expect(page.get_by_role("alert")).to_contain_text("The server has ended the call")
    await expect(page.get_by_role("alert")).to_contain_text("The session has ended: the server is shutting down.")
    await expect(page.locator(".notice")).to_have_count(0)
    await page.get_by_role("button", name="Reconnect").click()
    await server.connected()
    await server.hang_up()
    await expect(page.get_by_role("alert")).to_contain_text("The connection to the server is gone")


async def test_the_real_server_says_that_it_stops(serve: Any, browser_page: Any) -> None:
    url, app = await serve()
    page = await browser_page(url, allow=["503"])
    await page.get_by_role("button", name="Start").click()
    await until(page, CONNECTED)
    await app[REGISTRY].close_all(5.0)
    await expect(page.get_by_role("alert")).to_contain_text("The server has ended the call")
    await expect(page.get_by_role("alert")).to_contain_text("The session has ended: the server is shutting down.")
    await page.get_by_role("button", name="Reconnect").click()
    await expect(page.get_by_role("alert")).to_contain_text("The server takes no call just now")
    await expect(page.get_by_role("alert")).to_contain_text("The server is shutting down.")


@pytest.mark.parametrize(
    ("status", "code", "title"),
    [
        (403, "host_not_allowed", "The server does not know this address"),
        (429, "too_many_connections", "The server takes no call just now"),
        (503, "warming_up", "The server takes no call just now"),
        (500, "internal_error", "The server failed to take the call"),
        (400, "invalid_sdp", "The server refused the call"),
    ],
)
async def test_a_refused_call_is_explained_in_the_words_of_the_server(
    server: FakeServer, browser_page: Any, status: int, code: str, title: str
) -> None:
    page = await browser_page(server.url, allow=[str(status)])
    server.refusal = error(status, "here is what to do", code)
    await page.get_by_role("button", name="Start").click()
    await expect(page.get_by_role("alert")).to_contain_text(title)
    await expect(page.get_by_role("alert")).to_contain_text("Here is what to do.")


async def test_a_full_server_says_when_to_come_back(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, allow=["503"])
    server.refusal = error(503, "All 4 places are taken.", "server_full", **{"Retry-After": "7"})
    await page.get_by_role("button", name="Start").click()
    await expect(page.get_by_role("alert")).to_contain_text("All 4 places are taken. Try again in about 7 s.")
    await page.get_by_role("button", name="Try again").click()
    await server.connected()
    await until(page, "state => state.status === 'listening'")


async def test_a_server_with_a_key(server: FakeServer, browser_page: Any) -> None:
    server.key = "right & proper"
    page = await browser_page(f"{server.url}#key=wrong", allow=["401"])
    assert page.url == server.url, "the key does not stay in the address bar"
    await expect(page.get_by_role("alert")).to_contain_text("The server does not accept this key")
    await page.get_by_label("Server key").fill(server.key)
    await page.get_by_role("button", name="Use this key").click()
    await expect(page.get_by_role("table")).to_contain_text("pocketsphinx")
    await page.reload()  # kept for the tab
    await start(page, server)
