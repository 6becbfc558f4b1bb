"""What the camera shows on the page, and the settings of vision."""

from __future__ import annotations

from typing import Any

from playwright.async_api import expect

from tests.browser.fake_server import FakeServer
from tests.browser.script import reply_begins, start
from tests.browser.waiting import in_browsers

pytestmark = in_browsers

VISION: dict[str, Any] = {
    "enabled": True,
    "mode": "live",
    "detectors": ["faces", "hands", "pose"],
    "unavailable": {"objects": "its model is not here"},
    "auto_frame": False,
    "background": {"kind": "keep"},
    "overlay": {"boxes": True, "landmarks": True, "labels": True, "captions": True, "latency": False},
    "looks": {"lips": False, "look_to_talk": False, "gestures": {"thumbs up": "end_turn"}},
    "attach": "on_request",
}


MOMENTARY = """async () => {
    const { vision, visibleChips } = await import("/static/js/state/vision.js");
    const state = vision.handlers["vision.person.appeared"](vision.initial, { id: 1, at: 1000 });
    return [1000, 4000, 5000].map((now) => visibleChips(state, now).map((chip) => chip.code));
}"""


def settings(kind: str = "session.updated", **changed: Any) -> dict[str, Any]:
    return {"type": kind, "session": {"type": "realtime", "vision": {**VISION, **changed}}}


async def asked(server: FakeServer) -> dict[str, Any]:
    event = await server.next_event()
    assert event["type"] == "session.update"
    vision: dict[str, Any] = event["session"]["vision"]
    return vision


async def test_vision_and_model_are_changed_by_asking_the_server(server: FakeServer, browser_page: Any) -> None:
    server.status["models"] = ["brain", "brain:pirate"]
    page = await browser_page(server.url)
    await start(page, server)
    server.send(settings("session.created"))
    await page.get_by_role("button", name="Settings", exact=True).click()
    await expect(page.get_by_label("Things")).to_be_disabled()
    await expect(page.locator("#settings-vision")).to_contain_text("its model is not here")

    await page.get_by_label("Body", exact=True).click()
    assert await asked(server) == {"detectors": ["faces", "hands"]}
    await page.get_by_label("Captions in the picture").click()
    assert await asked(server) == {"overlay": {"captions": False}}
    await page.get_by_label("Look to talk").click()
    assert await asked(server) == {"looks": {"look_to_talk": True}}
    await page.get_by_label("Only lips interrupt").click()
    assert await asked(server) == {"looks": {"lips": True}}
    await page.get_by_label("Open palm: be quiet").click()
    assert await asked(server) == {"looks": {"gestures": {"thumbs up": "end_turn", "open palm": "stop_speaking"}}}
    await page.locator("select[name='mode']").select_option("exact")
    assert await asked(server) == {"mode": "exact"}
    await page.locator("select[name='background.kind']").select_option("blur")
    assert await asked(server) == {"background": {"kind": "blur"}}
    await page.get_by_label("Look at my camera").click()
    assert await asked(server) == {"enabled": False}
    server.send(settings(enabled=False))
    await expect(page.get_by_label("Look at my camera")).not_to_be_checked()

    model = page.get_by_label("Language model")
    assert await model.locator("option").all_inner_texts() == ["brain", "brain:pirate"]
    for chosen, asked_for in (("brain:pirate", "brain:pirate"), ("", None)):
        await model.select_option(chosen)
        assert (await server.next_event())["session"] == {"type": "realtime", "model": asked_for}


async def test_what_the_camera_shows_appears_as_chips(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await start(page, server)
    chips = page.locator(".chip")
    server.send(
        {"type": "vision.gesture.started", "hand": "left", "gesture": "thumbs up"},
        {"type": "vision.attention.changed", "attention": "away"},
        {"type": "visavis.reply_held", "item_id": "u1", "outcome": "waiting"},
        {"type": "vision.lag", "state": "behind", "lag_ms": 900},
    )
    await expect(chips).to_have_text(
        ["left hand: thumbs up", "looking away", "waiting until you look", "the overlay is late"]
    )
    server.send(
        {"type": "vision.gesture.ended", "hand": "left", "gesture": "thumbs up"},
        {"type": "vision.attention.changed", "attention": "facing"},
        {"type": "visavis.reply_held", "item_id": "u1", "outcome": "given"},
        {"type": "vision.lag", "state": "caught_up", "lag_ms": 90},
        {"type": "vision.person.appeared", "id": 1},
    )
    await expect(chips).to_have_count(0)
    assert await page.evaluate(MOMENTARY) == [["came"], ["came"], []]


async def test_captions_in_the_picture_are_not_written_twice(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await start(page, server)
    server.send(settings("session.created"), *reply_begins("r1", "a1", "Good evening."))
    await expect(page.locator("#status")).to_have_text("Speaking")
    await expect(page.locator("#caption")).to_have_text("")
    server.send(settings(overlay={**VISION["overlay"], "captions": False}))
    await expect(page.locator("#caption")).to_have_text("Good evening.")
