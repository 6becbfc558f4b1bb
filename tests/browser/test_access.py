"""The page for everybody: axe finds nothing, the keyboard does everything, and no window is too small or too plain."""

from __future__ import annotations

import hashlib
from typing import Any

from playwright.async_api import Page, expect

from tests.browser.fake_server import FakeServer, error
from tests.browser.script import history, reply_begins, reply_ends, spoken, start
from tests.browser.waiting import in_browsers, until
from tests.conftest import fake_engines
from tests.packages import node_modules

pytestmark = in_browsers

AXE = "4.14.1"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
RULES = {
    "light": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
    "dark": {"type": "rule", "values": ["color-contrast", "link-in-text-block", "target-size"]},
}
"""Themes differ in nothing but colours."""
RUN = """async (runOnly) => {
    const { violations } = await window.axe.run(document, { runOnly, resultTypes: ["violations"] });
    const told = ({ html, failureSummary }) => html.slice(0, 120) + failureSummary;
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(told).join(" | ")}`);
}"""
LIVE_REGION = "document.getElementById('announcer').childElementCount"


def axe() -> str:
    """axe-core as npm has it: exactly this file, or the test does not run it."""
    source = (node_modules({"axe-core": AXE}) / "axe-core" / "axe.min.js").read_bytes()
    assert hashlib.sha256(source).hexdigest() == AXE_SHA256, "axe.min.js is not the file that was reviewed"
    return source.decode()


async def test_axe_finds_nothing_in_eight_states_and_two_themes(server: FakeServer, browser_page: Any) -> None:
    server.history = history("sess_1")
    page = await browser_page(server.url, init=axe(), reduced_motion="reduce", allow=["status of 400", "ERR_"])
    found: list[str] = []

    async def look(state: str) -> None:
        for theme, rules in RULES.items():
            await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            found.extend(f"{state}, {theme}: {row}" for row in await page.evaluate(RUN, rules))

    await expect(page.locator("#quality")).not_to_have_text("")
    await look("idle")
    await page.locator("#open-settings").click()
    await expect(page.locator("#settings-title")).to_be_visible()
    await look("settings")
    await page.keyboard.press("Escape")
    await start(page, server)
    await look("listening")
    server.send(*spoken("u1", "How are you?"), *reply_begins("r1", "a1", "Well, ", "thank you."))
    await until(page, "state => state.status === 'speaking'")
    await look("speaking")
    await page.keyboard.press("?")
    await expect(page.locator("#help")).to_be_visible()
    await look("help")
    await page.keyboard.press("Escape")
    server.send(reply_ends("r1"), {"type": "turn.latency", "response_id": "r1", "voice_to_voice_ms": 400, "parts": {}})
    await page.locator("#inspect").click()
    for tab in ("turns", "events", "network", "engines", "resources", "measure"):
        await page.locator(f"#tab-{tab}").click()
        await look(f"inspector, {tab}")
    await page.locator("#inspector-close").click()
    server.away = True
    await server.hang_up()
    await until(page, "state => state.phase === 'reconnecting'")
    await look("reconnecting")
    await page.locator("#toggle").click()
    await until(page, "state => state.phase === 'idle'")
    server.away = False
    server.refusal = error(400, "the offer has no audio", "invalid_sdp")
    await page.locator("#toggle").click()
    await expect(page.locator("#problem")).to_be_visible()
    await look("error")
    assert not found, "\n".join(found)


async def test_axe_finds_nothing_on_the_page_of_predictions(serve: Any, browser_page: Any) -> None:
    url, _ = await serve(fake_engines())
    page = await browser_page(url + "/foresight", init=axe(), reduced_motion="reduce")
    await page.set_input_files("#file", [{"name": "no.txt", "mimeType": "text/plain", "buffer": b"no picture"}])
    await expect(page.locator("#problem")).to_be_visible()
    found: list[str] = []
    for theme, rules in RULES.items():
        await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        found.extend(f"{theme}: {row}" for row in await page.evaluate(RUN, rules))
    assert not found, "\n".join(found)


async def test_a_conversation_by_keyboard_alone(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url)
    await expect(page.locator("#quality")).not_to_have_text("")
    await tab_to(page, "toggle")
    await page.keyboard.press("Enter")
    await server.connected()
    await until(page, "state => state.status === 'listening'")
    before = await page.evaluate(LIVE_REGION)
    server.send(*spoken("u1", "Hello."), *reply_begins("r1", "a1", *["word "] * 40))
    await until(page, "state => state.status === 'speaking'")
    await page.keyboard.press("Escape")  # stops the reply
    assert (await next_of(server, "response.cancel"))["type"] == "response.cancel"
    server.send(reply_ends("r1"))
    await page.keyboard.press("m")
    await until(page, "state => state.muted")
    await page.keyboard.press("m")
    await page.keyboard.press("/")
    await page.keyboard.type("Mine? /m")  # keys type while the focus is in the box
    await page.keyboard.press("Enter")
    item = (await next_of(server, "conversation.item.create"))["item"]
    assert item["content"][0]["text"] == "Mine? /m"
    server.send({"type": "conversation.item.added", "item": item})
    await expect(page.locator("#announcer > *")).to_have_count(before + 3)  # one for each turn, none for its words
    await tab_to(page, "inspect", back=True)
    await page.keyboard.press("Enter")
    await expect(page.locator("#tab-turns")).to_be_focused()
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#tab-events")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#inspect")).to_be_focused()
    await tab_to(page, "open-settings", back=True)
    await page.keyboard.press("Enter")
    await expect(page.locator("#settings-title")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#open-settings")).to_be_focused()
    await page.keyboard.press("Control+e")
    await until(page, "state => state.phase === 'idle'")


async def tab_to(page: Page, name: str, *, back: bool = False) -> None:
    """Press the tab key until an element has the focus, which must be seen then."""
    for _ in range(40):
        if await page.evaluate("document.activeElement.id") == name:
            assert await style(page, "document.activeElement", "outlineStyle", "outlineWidth") == ["solid", "2px"]
            return
        await page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"the tab key does not come to {name}")


async def style(page: Page, element: str, *names: str) -> list[str]:
    return [await page.evaluate(f"getComputedStyle({element}).{name}") for name in names]


async def next_of(server: FakeServer, kind: str) -> dict[str, Any]:
    while (event := await server.next_event())["type"] != kind:
        pass
    return event


WINDOWS = {
    "small phone": (320, 640),
    "400 % zoom of 1280x1024": (320, 256),
    "phone on its side": (844, 390),
    "tablet": (820, 1180),
    "laptop": (1280, 800),
}
REACHABLE = """async () => {
    const out = [];
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches; // stock Firefox cannot be told to
    const ends = ({ effect }) => Number.isFinite(effect.getComputedTiming().endTime);
    if (!still) await Promise.allSettled(document.getAnimations().filter(ends).map(({ finished }) => finished));
    const width = document.documentElement.clientWidth;
    const { scrollWidth } = document.documentElement;
    if (scrollWidth > width) out.push(`the page is ${scrollWidth} wide, not ${width}`);
    const within = document.querySelector("dialog[open]") ?? document;
    for (const control of within.querySelectorAll("button, input, select, textarea, a[href], summary")) {
        if (!control.checkVisibility({ visibilityProperty: true }) || control.matches(".skip")) continue;
        const name = control.id || control.name || control.textContent.trim().slice(0, 30);
        control.scrollIntoView({ block: "center", inline: "nearest" });
        const { left, right, top, bottom, width: wide, height } = control.getBoundingClientRect();
        if (left < -1 || right > width + 1) out.push(`${name} is cut off: ${left} to ${right} of ${width}`);
        const labelled = control.matches("[type=checkbox], [type=radio]"); // the label is the target
        if (!labelled && Math.min(wide, height) < 24) out.push(`${name} is small: ${wide}x${height}`);
        const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
        if (!hit || !(control.contains(hit) || hit.contains(control) || hit.closest("label")?.control === control)) {
            out.push(`${name} is out of reach under ${hit?.id || hit?.className}`);
        }
    }
    const moving = document.getAnimations().filter(({ playState }) => playState === "running");
    if (still && moving.length) out.push(`${moving.length} animations`);
    window.scrollTo(0, 0);
    return out;
}"""


async def test_everything_can_be_reached_in_every_window(server: FakeServer, browser_page: Any) -> None:
    page = await browser_page(server.url, reduced_motion="reduce")
    await expect(page.locator("#quality")).not_to_have_text("")
    found: list[str] = []

    async def look(state: str) -> None:
        for name, (width, height) in WINDOWS.items():
            await page.set_viewport_size({"width": width, "height": height})
            found.extend(f"{state}, {name}: {row}" for row in await page.evaluate(REACHABLE))

    await look("idle")
    await page.locator("#open-settings").click()
    await expect(page.locator("#settings-title")).to_be_visible()
    await look("settings")
    await page.keyboard.press("Escape")
    await page.set_viewport_size({"width": 1280, "height": 800})
    await start(page, server)
    server.send(*spoken("u1", "x" * 300), *reply_begins("r1", "a1", "y" * 300))
    await until(page, "state => state.status === 'speaking'")
    await look("speaking")
    await page.emulate_media(forced_colors="active", contrast="more", reduced_motion="reduce")
    await look("speaking, in the system's colours")
    edge = await style(page, "document.getElementById('hush')", "borderTopStyle", "borderTopWidth")
    assert edge == ["solid", "1px"]  # a button is one where all colours are the same
    assert not found, "\n".join(found)
    for width in (1280, 320):
        await page.set_viewport_size({"width": width, "height": 640})
        [size] = await style(page, "document.getElementById('caption')", "fontSize")
        assert float(size.removesuffix("px")) >= 16
