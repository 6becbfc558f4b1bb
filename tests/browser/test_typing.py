"""Typing to the assistant: what is typed is shown and sent, or stays where it was typed."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from playwright.async_api import Page, Route, expect

from tests.browser.fake_server import FakeServer, error
from tests.browser.script import reply_begins, start
from tests.browser.waiting import in_browsers

pytestmark = in_browsers

MOST_WAITING = 20


def message(number: int, text: str) -> dict[str, Any]:
    """The event by which the page sends its message of that number."""
    name = f"typed_{number}"
    content = [{"type": "input_text", "text": text}]
    item = {"id": name, "type": "message", "role": "user", "content": content}
    return {"type": "conversation.item.create", "event_id": name, "item": item}


def confirmed(sent: dict[str, Any]) -> dict[str, Any]:
    """What the server says when it has taken a message."""
    return {"type": "conversation.item.added", "item": sent["item"]}


async def write(page: Page, *texts: str) -> None:
    for text in texts:
        await page.get_by_label("Message to the assistant").fill(text)
        await page.keyboard.press("Enter")


async def expect_in_the_box(page: Page, text: str) -> None:
    await expect(page.get_by_label("Message to the assistant")).to_have_value(text)


async def test_typing_needs_no_microphone(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, devices="refused")
    await write(page, "Good evening")
    await server.connected()
    assert server.offers[0].count("m=video") == 2, "what may be added later has its place in the offer"
    sent = message(1, "Good evening")
    assert await server.next_event() == sent
    assert await server.next_event() == {"type": "response.create"}
    server.send(confirmed(sent), *reply_begins("r1", "a1", "Good evening to you."))
    await expect(page.locator(".assistant .bubble")).to_have_text("Assistant: Good evening to you.")
    await expect(page.locator(".user .bubble")).to_have_text("You: Good evening")
    await expect_in_the_box(page, "")


async def test_what_is_typed_while_connecting_is_shown_and_sent_when_there_is_a_call(
    server: FakeServer, browser_page: Any
) -> None:
    page = await browser_page(server.url)
    server.answering.clear()
    await page.get_by_role("button", name="Start").click()
    await write(page, "First", "Second")
    await expect(page.locator(".user .bubble")).to_have_text(["You: First", "You: Second"])
    await expect(page.get_by_text("Not sent yet")).to_have_count(2)
    await expect(page.locator("#steps .done")).to_contain_text(re.compile(r"Microphone ?\d+ ms"))
    await expect(page.locator("#steps .current")).to_have_text("Server")
    await expect_in_the_box(page, "")

    server.answering.set()
    await server.connected()
    first, second = message(1, "First"), message(2, "Second")
    assert [await server.next_event() for _ in range(3)] == [first, second, {"type": "response.create"}]
    await expect(page.locator("#steps")).to_be_hidden()
    server.send(confirmed(first), confirmed(second))
    await expect(page.get_by_text("Not sent yet")).to_have_count(0)
    await expect(page.locator(".user .bubble")).to_have_text(["You: First", "You: Second"])


async def test_who_starts_and_types_before_the_code_of_the_call_is_there_is_heard_and_read_in_that_order(
    server: FakeServer, browser_page: Any
) -> None:
    page = await browser_page(server.url)
    comes = asyncio.Event()

    async def hold(route: Route) -> None:
        await comes.wait()
        await route.continue_()

    await page.route("**/later.js", hold)
    await page.reload(wait_until="commit")
    server.answering.clear()
    await page.get_by_role("button", name="Start").click()
    await write(page, "First", "Second")
    comes.set()
    await expect(page.locator(".user .bubble")).to_have_text(["You: First", "You: Second"])
    await expect(page.locator("#steps .done")).to_contain_text(re.compile(r"Microphone ?\d+ ms"))
    server.answering.set()
    await server.connected()


async def test_what_does_not_fit_into_the_queue_stays_in_the_box(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    server.answering.clear()
    await write(page, *(f"Number {n}" for n in range(MOST_WAITING + 1)))
    await expect(page.locator(".user .bubble")).to_have_count(MOST_WAITING)
    await expect_in_the_box(page, f"Number {MOST_WAITING}")
    server.answering.set()
    await server.connected()


async def test_what_a_full_server_does_not_take_waits_or_is_given_back(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, allow=["503"])
    server.refusal = error(503, "all 4 places are taken", "server_full", **{"Retry-After": "60"})
    await write(page, "Good evening")
    await expect(page.get_by_role("alert")).to_contain_text("All 4 places are taken.")
    await expect(page.get_by_text("Not sent yet")).to_have_count(1)
    await page.get_by_role("button", name="Stop waiting").click()
    await expect_in_the_box(page, "Good evening")
    await expect(page.locator(".entry")).to_have_count(0)
    server.refusal = error(503, "all 4 places are taken", "server_full", **{"Retry-After": "1"})
    await page.get_by_label("Message to the assistant").press("Enter")
    await server.connected()
    assert await server.next_event() == message(2, "Good evening")


async def test_what_has_not_arrived_is_given_back(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    server.answering.clear()
    await write(page, "Good evening")
    await page.get_by_label("Message to the assistant").fill("and more")
    await page.get_by_role("button", name="Cancel").click()
    await expect_in_the_box(page, "Good evening and more")
    await expect(page.locator(".entry")).to_have_count(0)
    server.answering.set()

    await start(page, server)
    await write(page, "refused")
    assert await server.next_event() == message(2, "refused")
    assert await server.next_event() == {"type": "response.create"}
    problem = {"code": "invalid_value", "message": "no such words", "event_id": "typed_2"}
    server.send({"type": "error", "error": problem})
    await expect(page.locator(".notice.error")).to_contain_text("no such words")
    await expect_in_the_box(page, "refused")

    await write(page, "gone before it was confirmed")
    assert await server.next_event() == message(3, "gone before it was confirmed")
    server.answering.clear()  # so that it stays lost until that has been seen
    await server.hang_up()
    await expect(page.get_by_role("alert")).to_contain_text("Connection lost. Your conversation is kept.")
    await expect_in_the_box(page, "gone before it was confirmed")
    await expect(page.locator(".entry")).to_have_count(0)
    server.answering.set()


async def test_words_and_a_wrong_key_stay_until_the_key_is_right(server: FakeServer, browser_page: Any) -> None:
    server.key = "right & proper"
    page = await browser_page(server.url, allow=["401"])
    alert, field = page.get_by_role("alert"), page.get_by_label("Server key")
    await expect(alert).to_contain_text("This server asks for a key")
    await write(page, "Good evening")
    await expect(field).to_be_focused()
    await expect_in_the_box(page, "Good evening")

    await field.fill("wrong")
    await page.keyboard.press("Enter")
    await expect(alert).to_contain_text("The server does not accept this key")
    await expect(field).to_have_value("wrong")
    await expect(page.get_by_role("button", name="Use this key")).to_be_enabled()
    await expect_in_the_box(page, "Good evening")

    await field.fill(server.key)
    await page.keyboard.press("Enter")
    await expect(alert).to_be_hidden()
    await expect(field).to_have_value("")
    await page.get_by_label("Message to the assistant").press("Enter")
    await server.connected()
    assert await server.next_event() == message(2, "Good evening")
