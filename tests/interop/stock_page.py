"""``@openai/agents-realtime`` in a page of Chromium, unchanged: the page that holds it, and what has happened there."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.async_api import Page

from tests.browser.waiting import SECONDS

NPM = {"@openai/agents-realtime": "0.20.0", "openai": "6.49.0", "ws": "8.23.0", "zod": "4.6.7"}
"""``openai`` is the newest that runs on Node 20."""
HERE = Path(__file__).parent
BUNDLE = "@openai/agents-realtime/dist/bundle"
PAGE = """<!doctype html>
<title>client</title>
<link rel="icon" href="data:,">
<script src="bundle/openai-realtime-agents.umd.js"></script>
<script src="page.js"></script>
"""
STALLED = "Timed out waiting for session.updated"
"""What the client says when the server has not acknowledged its settings within 5 s."""


class Site:
    """A web site of its own on this machine, with the client and a page; ``origin`` is another than the server's.

    A real one: from an address that is none of this machine, Chromium lets no page ask a server on it.
    """

    def __init__(self) -> None:
        self.origin = ""
        self.files: dict[str, Path | str] = {}
        """The first part of a path → HTML, a file, or a folder of files."""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve on a free port."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._file)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.origin = f"http://localhost:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Serve no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _file(self, request: web.Request) -> web.StreamResponse:
        top, _, rest = request.match_info["path"].partition("/")
        found = self.files.get(top)
        if isinstance(found, str):
            return web.Response(text=found, content_type="text/html")
        path = None if found is None else found / rest if rest else found
        if path is None or not path.is_file():
            raise web.HTTPNotFound
        kind = "text/html" if path.suffix == ".html" else "text/javascript"
        return web.FileResponse(path, headers={"Content-Type": kind})


class StockClient:
    """What a test says to the client of ``page.js``, and what it sees of it."""

    def __init__(self, page: Page, url: str, app: Any) -> None:
        self.page = page
        self.url = url
        """Of the server."""
        self.app = app
        self.warnings: list[str] = []
        """Of the console."""
        page.on("console", lambda message: self.warnings.append(message.text) if message.type == "warning" else None)

    async def connect(self, **options: Any) -> str | None:
        """Connect to the server; returns the id of the call. ``options`` as in ``page.js``."""
        socket = self.url.replace("http", "ws", 1) + "/v1/realtime?model=any"
        address = socket if options.get("websocket") else f"{self.url}/v1/realtime/calls"
        found: str | None = await self.page.evaluate(
            "(options) => window.client.connect(options)", {"url": address, **options}
        )
        assert not [text for text in self.warnings if STALLED in text]
        return found

    async def run(self, script: str) -> Any:
        """Evaluate an expression of ``client``."""
        return await self.page.evaluate(f"() => {{ const client = window.client; return {script}; }}")

    async def until(self, condition: str) -> Any:
        """Wait until an expression of ``client`` is true; returns its value."""
        loop = f"""async () => {{
            const client = window.client;
            while (!({condition})) await new Promise((next) => setTimeout(next, 20));
            return {condition};
        }}"""
        try:
            async with asyncio.timeout(SECONDS):
                return await self.page.evaluate(loop)
        except TimeoutError:
            told = await self.run("[client.events.map((event) => event.type), client.history, client.errors]")
            raise AssertionError(f"not within {SECONDS:g} s: {condition}\n{told}") from None

    async def holds(self, expression: str, value: object) -> None:
        """Wait until an expression of ``client`` has this value."""
        await self.until(f"JSON.stringify({expression}) === JSON.stringify({json.dumps(value)})")

    async def event(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Wait for the ``count``-th event of this type."""
        found: dict[str, Any] = await self.until(f"client.named({kind!r})[{count - 1}]")
        return found

    async def types(self) -> list[str]:
        """The types of all events so far."""
        found: list[str] = await self.run("client.events.map((event) => event.type)")
        return found
