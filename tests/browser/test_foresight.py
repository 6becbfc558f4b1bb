"""The page /foresight in real browsers: a picture, or the camera; words and a film; errors with what to do."""

from __future__ import annotations

from pipelines.vision.images import packed
from tests.browser.waiting import in_browsers
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
