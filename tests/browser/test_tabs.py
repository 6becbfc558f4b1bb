"""Two tabs with the real server at once: each has a conversation of its own, and one that is closed makes room."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from server.engines.manners import MannersSet
from server.http.signaling.offer import REGISTRY
from tests.browser.fake_server import STATIC
from tests.browser.test_typing import write
from tests.browser.waiting import in_browsers, until, until_true
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel

pytestmark = in_browsers

CODES = """async () => {
    const { docsOf } = await import("/static/js/view/problems.js");
    const found = {};
    for (const code of window.codes) {
        const [address, anchor] = docsOf(code).split("#");
        found[address] ??= await (await fetch(address)).text();
        if (!found[address].includes(`id="${anchor}"`)) return code;
    }
    return "";
}"""


def problem_codes() -> list[str]:
    """Codes of all problems that the page has words for."""
    texts = [path.read_text("utf-8") for path in (STATIC / "js" / "i18n").rglob("*.js")]
    return sorted({code for text in texts for code in re.findall(r'"problem\.(\w+)\.title"', text)})


async def said(page: Page) -> list[str]:
    state = await until(page, "state => state.transcript.some(({ role, final }) => role === 'assistant' && final)")
    return [turn["text"] for turn in state["transcript"]]


@pytest.mark.long
async def test_two_tabs_have_each_their_own_words_and_a_closed_one_makes_room(serve: Any, browser_page: Any) -> None:
    engines = fake_engines(llm=FakeModel("Hello, one.", "Hello, two."))
    url, app = await serve(engines, max_sessions=2, peer_timeout=600.0)  # who leaves says so
    one, two = await browser_page(url), await browser_page(url)
    await write(one, "I am one")
    assert await said(one) == ["I am one", "Hello, one."]
    await write(two, "I am two")
    assert await said(two) == ["I am two", "Hello, two."]
    assert [turn["text"] for turn in (await until(one, "state => true"))["transcript"]] == ["I am one", "Hello, one."]
    assert len(app[REGISTRY]) == 2
    await one.close()
    await until_true(lambda: len(app[REGISTRY]) == 1)
    await two.goto("about:blank")
    await until_true(lambda: len(app[REGISTRY]) == 0)


async def test_a_call_in_which_nobody_speaks_ends_with_its_reason_and_every_problem_has_its_page(
    serve: Any, browser_page: Any
) -> None:
    engines = fake_engines()
    engines.manners_set = MannersSet(idle_end_minutes=0.02)
    url, _ = await serve(engines)
    page = await browser_page(url)
    await write(page, "Good evening")  # nothing is said: the microphone of these browsers beeps
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("The server has ended the call")
    await expect(alert).to_contain_text("The session has ended: nothing was said for 0.02 minutes.")
    link = page.get_by_role("link", name="More about this")
    assert await link.get_attribute("href") == "docs/troubleshooting#ended"
    await page.evaluate("(codes) => { window.codes = codes; }", problem_codes())
    assert await page.evaluate(CODES) == ""
