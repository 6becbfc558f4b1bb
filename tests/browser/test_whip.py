"""Pages of another site publish by WHIP and watch by WHEP: those of the guide, and ones with the package whip-whep."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from aiohttp import web
from playwright.async_api import expect

from server.http.signaling.offer import REGISTRY
from server.http.signaling.whip import VIEWERS
from tests.browser.speech import SPEAKER, say, traffic
from tests.browser.waiting import in_browsers, until_true
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import loud
from tests.fakes.vision import FakeVision
from tests.packages import node_modules

pytestmark = in_browsers

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "clients" / "whip.md"
ADDRESS = "http://127.0.0.1:8080"
KEY = "a-key-of-some-length"
TURN = loud(0.8).astype("<i2").tobytes()
LIBRARY = """<!doctype html><title>client</title><link rel="icon" href="data:,"><video id="picture" autoplay></video>
<script type="module">
import { WHIPClient } from "./whip.js";
import { WHEPClient } from "./whep.js";
window.patched = [];
const ask = window.fetch;
window.fetch = async (url, options) => {
    const response = await ask(url, options);
    if (options?.method === "PATCH") window.patched.push([response.status, options.headers["If-Match"] ?? null]);
    return response;
};
window.publish = async (url, token) => {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
    const peer = new RTCPeerConnection();
    for (const track of stream.getTracks()) peer.addTransceiver(track, { direction: "sendonly", streams: [stream] });
    window.client = new WHIPClient();
    await window.client.publish(peer, url, token);
};
window.watch = async (url, token) => {
    const peer = new RTCPeerConnection();
    for (const kind of ["audio", "video"]) peer.addTransceiver(kind, { direction: "recvonly" });
    peer.ontrack = ({ streams }) => { document.getElementById("picture").srcObject = streams[0]; };
    window.client = new WHEPClient();
    await window.client.view(peer, url, token);
};
window.ready = true;
</script>
"""


class Site:
    """A web site on this machine, of another origin than the server's."""

    def __init__(self) -> None:
        self.origin = ""
        self.files: dict[str, str] = {}

    async def serve(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.files:
            raise web.HTTPNotFound
        kind = "text/javascript" if name.endswith(".js") else "text/html"
        return web.Response(text=self.files[name], content_type=kind)


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    site, app = Site(), web.Application()
    app.router.add_get("/{name}", site.serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.origin = f"http://localhost:{runner.addresses[0][1]}"
    yield site
    await runner.cleanup()


def engines():
    return fake_engines(
        stt=FakeRecognizer(*["hello there"] * 9), llm=FakeModel(*["Good day to you."] * 9), vision=FakeVision()
    )


async def test_the_pages_of_the_guide(serve, browser_page, site):
    url, app = await serve(engines(), allowed_origins=site.origin)
    found = re.findall(r"```html\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert [page.count(ADDRESS) for page in found] == [1, 1]
    site.files = {
        name: page.replace(ADDRESS, url).replace("<title>", '<link rel="icon" href="data:,"><title>')
        for name, page in zip(("publish.html", "watch.html"), found, strict=True)
    }
    refused = r"status of 404"
    watcher = await browser_page(f"{site.origin}/watch.html", init=SPEAKER, allow=[refused])
    await watcher.get_by_role("button").click()
    await expect(watcher.locator("output")).to_have_text("there is no session to watch")
    publisher = await browser_page(f"{site.origin}/publish.html", init=SPEAKER)
    await publisher.get_by_role("button").click()
    await expect(publisher.locator("output")).to_have_text("connected")
    await watcher.get_by_role("button").click()
    await expect(watcher.locator("output")).to_have_text("connected")
    await say(publisher, TURN)
    await traffic(watcher, "energy heard", "pictures decoded")
    await traffic(publisher, "audio sent", "pictures sent")
    await watcher.wait_for_function("document.getElementById('picture').videoWidth > 0")
    await publisher.goto("about:blank")
    await until_true(lambda: not app[REGISTRY].all and not len(app[VIEWERS]))


async def test_the_package_whip_whep(serve, browser_page, site):
    folder = node_modules({"whip-whep": "1.2.0"}) / "whip-whep"
    site.files = {name: (folder / name).read_text("utf-8") for name in ("whip.js", "whep.js")} | {"page": LIBRARY}
    url, app = await serve(engines(), allowed_origins=site.origin, api_key=KEY)
    gone = r"status of 404"  # its stop() closes the connection before it asks for that: then it may have ended already
    publisher = await browser_page(f"{site.origin}/page", init=SPEAKER, allow=[gone])
    watcher = await browser_page(f"{site.origin}/page", init=SPEAKER, allow=[gone, r"status of 401"])
    for page in (publisher, watcher):
        await page.wait_for_function("window.ready")
    await publisher.evaluate("(asked) => window.publish(...asked)", [f"{url}/whip", KEY])
    refusal = await watcher.evaluate(
        "(asked) => window.watch(...asked).catch((error) => error.message)", [f"{url}/whep", "wrong"]
    )
    assert refusal == "Request rejected with status 401"
    (session,) = app[REGISTRY].all
    await watcher.evaluate("(asked) => window.watch(...asked)", [f"{url}/whep/{session.id}", KEY])
    await until_true(lambda: session.counts().video_in > 3)
    await say(publisher, TURN)
    found = await traffic(watcher, "energy heard", "pictures decoded")
    assert found["pictures decoded"] > 0
    for page, tag in ((publisher, f'"{session.id}"'), (watcher, None)):  # the one for viewing sends no If-Match
        await page.wait_for_function("window.patched.length > 0")
        assert {tuple(one) for one in await page.evaluate("window.patched")} == {(204, tag)}
    await watcher.evaluate("window.client.stop()")
    await until_true(lambda: not len(app[VIEWERS]))
    assert session.ended_because == ""
    await publisher.evaluate("window.client.stop()")
    await until_true(lambda: not app[REGISTRY].all)
    assert session.ended_because in ("it was ended over HTTP", "the peer closed the connection")
