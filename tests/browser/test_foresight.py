"""The page /foresight in real browsers: a picture, or the camera; words and a film; errors with what to do."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from playwright.async_api import Page, Route, WebSocketRoute, expect

from pipelines.vision.images import packed
from tests.browser.waiting import SECONDS, in_browsers
from tests.conftest import fake_engines
from tests.fakes.moving import moving

pytestmark = in_browsers

FILE = {"name": "wall.png", "mimeType": "image/png", "buffer": packed(moving(0))}


CHOSEN = """if (location.protocol === "http:")
    localStorage.setItem("visavis.settings", '{"lang": "es", "theme": "dark", "text_size": 1.15}')"""
SIDEWAYS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


async def text(page, selector: str) -> str:
    return (await page.inner_text(selector)).strip()


async def test_a_picture_becomes_words_and_a_film(browser_page, serve):
    url, _ = await serve(fake_engines())
    page = await browser_page(url + "/foresight", locale="de-AT", color_scheme="light")
    await page.wait_for_selector("html[lang=de]")
    assert await page.title() == "Vorausschau · visavis"
    assert await text(page, "#ask") == "Vorausschauen"
    assert await page.is_disabled("#ask")
    await page.set_input_files("#file", [FILE])
    await page.select_option("#quality", "low")
    await page.click("#ask")
    await page.wait_for_selector("#save:not([hidden])")
    assert (await text(page, "#text")).startswith("This is one picture")
    assert await text(page, "#facts dd") == "Nur eine Kamera, die näher kommt: Vorhergesagt wird nichts"
    assert await text(page, "#state") == "Das Video schaut 0,9 s voraus."
    assert await page.evaluate("document.getElementById('film').width") == 256
    assert (await page.get_attribute("#save", "href")).startswith("blob:")
    await page.wait_for_selector("#history button")
    await page.click("#history button")
    await page.wait_for_selector("#badge:not([hidden])")


async def test_the_camera_is_asked_for_a_moment_before_and_let_go(browser_page, serve):
    url, _ = await serve(fake_engines())
    page = await browser_page(url + "/foresight", init=CHOSEN, locale="de-AT", color_scheme="light")
    await page.wait_for_selector("html[lang=es][data-theme=dark]")
    assert await page.evaluate(BACKGROUND) == "rgb(13, 17, 19)"
    assert await page.evaluate("getComputedStyle(document.body).fontSize") == "18.4px"
    await page.set_viewport_size({"width": 320, "height": 640})
    assert not await page.evaluate(SIDEWAYS)
    await page.click("#camera")
    await page.wait_for_selector("#live:not([hidden])")
    await page.select_option("#quality", "low")
    await page.click("#ask")
    await page.wait_for_selector("#save:not([hidden])")
    assert await text(page, "#facts dd") == "Lo que se mueve sigue moviéndose"
    await page.click("#camera")
    assert await page.evaluate("document.getElementById('live').srcObject === null")


async def test_a_key_is_asked_for_and_what_is_no_picture_is_refused(browser_page, serve):
    url, _ = await serve(fake_engines(), api_key="correct-horse-battery")
    page = await browser_page(url + "/foresight", allow=[r"status of 401"], devices="refused")
    await page.set_input_files("#file", [{**FILE, "buffer": b"no picture"}])
    await page.wait_for_selector("#problem:not([hidden])")
    assert "damaged" in await text(page, "#problem")
    await page.click("#camera")
    await page.wait_for_selector("text=This page may not use the camera.")
    await page.set_input_files("#file", [FILE])
    await page.select_option("#quality", "low")
    await page.wait_for_selector("#ask:not([disabled])")
    await page.click("#ask")
    await page.fill("#key-text", "correct-horse-battery")
    await page.click("#key button")
    await page.wait_for_selector("#save:not([hidden])")


class Predictions:
    """What answers the page in place of the server, when and as a test says."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[Route] = asyncio.Queue()
        """Questions without an answer yet."""
        self.watched: asyncio.Queue[WebSocketRoute] = asyncio.Queue()
        self.heard: asyncio.Queue[str | bytes] = asyncio.Queue()

    async def serve(self, page: Page) -> None:
        await page.route("**/api/predict", self.asked.put)
        await page.route_web_socket("**/api/ws/*", self._watch)

    async def begin(self) -> WebSocketRoute:
        """Answer a question; the page listens."""
        async with asyncio.timeout(SECONDS):
            route = await self.asked.get()
            await route.fulfill(json={"session_id": "pred_1"})
            return await self.watched.get()

    async def said(self) -> Any:
        """What the page says next on its socket."""
        async with asyncio.timeout(SECONDS):
            return json.loads(await self.heard.get())

    async def _watch(self, socket: WebSocketRoute) -> None:
        socket.on_message(self.heard.put_nowait)
        await self.watched.put(socket)


async def say(page: Page, socket: WebSocketRoute, *messages: dict[str, Any]) -> None:
    for message in messages:
        socket.send(json.dumps(message))  # in a task of its own
    await page.evaluate("0")  # on the same way, behind them


BEGINS = {"type": "thinking_start", "fps": 15, "total_frames": 2, "width": 64, "height": 48, "method": "push-in"}
ENDS = {"type": "thinking_complete", "session_id": "pred_1", "text": ""}


async def foresight(browser_page: Any, serve: Any) -> tuple[Page, Predictions]:
    """The page with a picture chosen."""
    url, _ = await serve(fake_engines())
    page, predictions = await browser_page("about:blank"), Predictions()
    await predictions.serve(page)
    await page.goto(url + "/foresight")
    await page.set_input_files("#file", [FILE])
    await expect(page.locator("#ask")).to_be_enabled()
    return page, predictions


async def test_stop_counts_from_the_question_on_and_a_lost_server_is_told(browser_page, serve):
    page, predictions = await foresight(browser_page, serve)
    await page.click("#ask")
    await page.click("#cancel")
    socket = await predictions.begin()
    assert await predictions.said() == {"type": "cancel"}
    await say(page, socket, BEGINS, {"type": "cancelled", "session_id": "pred_1"})
    await socket.close()
    await expect(page.locator("#state")).to_have_text("Stopped.")
    await expect(page.locator("#ask")).to_be_enabled()
    await expect(page.locator("#problem")).to_be_hidden()

    await page.click("#ask")
    socket = await predictions.begin()
    await say(page, socket, BEGINS, {"type": "text_chunk", "text": "A wall"})
    await socket.close(code=1011)
    await expect(page.locator("#problem")).to_contain_text("lost")
    await expect(page.locator("#ask")).to_be_enabled()


async def test_what_is_said_of_a_picture_stays_with_it_and_the_last_twelve_questions_stay_whole(browser_page, serve):
    page, predictions = await foresight(browser_page, serve)
    for number in range(13):
        await page.fill("#prompt", f"question {number}")
        await page.click("#ask")
        socket = await predictions.begin()
        await say(page, socket, BEGINS, {"type": "text_chunk", "text": f"answer {number}"}, ENDS)
        await socket.close()
        await expect(page.locator("#history button").first).to_have_text(f"question {number}")
    await expect(page.locator("#history button")).to_have_count(12)
    await page.click("#history li:last-child button")
    await expect(page.locator("#text")).to_have_text("answer 1")
    assert await page.evaluate(PICTURES_HERE), "one picture, asked about thirteen times"

    await page.fill("#prompt", "the last")
    await page.click("#ask")
    await page.click("#history li:last-child button")  # while the server has not answered
    await expect(page.locator("#text")).to_have_text("")
    socket = await predictions.begin()
    await page.set_input_files("#file", [FILE])
    await expect(page.locator("#state")).to_have_text("Ready.")
    await say(page, socket, BEGINS, {"type": "text_chunk", "text": "nobody looks"}, ENDS)
    await socket.close()
    await expect(page.locator("#history button").first).to_have_text("the last")
    await expect(page.locator("#text")).to_have_text("")
    await page.click("#history li:first-child button")
    await expect(page.locator("#text")).to_have_text("nobody looks")


PICTURES_HERE = """async () => {
    const here = ({ src }) => Object.assign(new Image(), { src }).decode().then(() => true, () => false);
    return (await Promise.all([...document.querySelectorAll("#history img")].map(here))).every(Boolean);
}"""
