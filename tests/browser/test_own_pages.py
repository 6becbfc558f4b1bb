"""Pages of others that the documentation shows: one of 50 lines that calls, and one that frames the server's page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import expect

from server.http.signaling.offer import REGISTRY
from tests.browser.speech import SPEAKER, say, synthesize
from tests.browser.waiting import CONNECTED, in_browsers, until_true
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tools.doc_tables import DOCS

pytestmark = in_browsers

Site = Callable[[str | asyncio.Future[str]], Awaitable[str]]


def html_of(page: str) -> str:
    """The one HTML block of a page of the documentation."""
    (found,) = re.findall(r"```html\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    return str(found)


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    """``origin = await site(html)``: a site on this machine with one page, which may be written later."""
    async with AsyncExitStack() as stack:

        async def start(html: str | asyncio.Future[str]) -> str:
            async def page(_: web.Request) -> web.Response:
                return web.Response(text=html if isinstance(html, str) else await html, content_type="text/html")

            app = web.Application()
            app.router.add_get("/", page)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return f"http://localhost:{runner.addresses[0][1]}"

        yield start


async def test_the_page_of_fifty_lines_holds_a_conversation(serve, site, browser_page):
    html = html_of("start/your-own-page.md")
    assert len(html.splitlines()) <= 50
    written: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    origin = await site(written)
    engines = fake_engines(stt=FakeRecognizer(*["hello there"] * 9), llm=FakeModel(*["I can speak."] * 9))
    url, _ = await serve(engines, allowed_origins=origin)
    written.set_result(html.replace("http://127.0.0.1:8080", url))
    page = await browser_page(origin, init=SPEAKER)
    await page.get_by_role("button", name="Start").click()
    await page.wait_for_function("window.calls.at(-1)?.connectionState === 'connected'")
    await say(page, await synthesize("Good evening."))
    words = page.locator("#words")
    await expect(words).to_contain_text("You: hello there")
    await expect(words).to_contain_text("Assistant: I can speak.")
    await expect(words).not_to_contain_text("Error")


@pytest.mark.long
async def test_a_site_that_is_named_shows_the_page_in_a_frame_and_another_does_not(serve, site, browser_page):
    html = html_of("how-to/embed-in-a-site.md")
    assert 'allow="microphone; camera;' in html
    named, other = (asyncio.get_running_loop().create_future() for _ in range(2))
    origin, stranger = await site(named), await site(other)
    url, app = await serve(allowed_origins=origin)
    for written in (named, other):
        framed = re.sub(r'src="[^"]*"', f'src="{url}/"', html)
        written.set_result(f'<!doctype html><link rel="icon" href="data:,">{framed}')
    page = await browser_page(origin)
    frame = page.frame_locator("iframe")
    await frame.get_by_role("button", name="Start").click()
    inside = next(one for one in page.frames if one.url.startswith(url))
    await inside.evaluate(
        f"""async () => {{
            const holds = {CONNECTED};
            while (!holds(window.visavis.state)) await new Promise((next) => setTimeout(next, 20));
        }}"""
    )
    await until_true(lambda: len(app[REGISTRY]) == 1)
    refused = await browser_page(stranger, allow=["frame-ancestors", "chrome-error", "X-Frame-Options"])
    await expect(refused.frame_locator("iframe").get_by_role("button", name="Start")).to_have_count(0)
    assert not any(one.url.startswith(url) for one in refused.frames)
