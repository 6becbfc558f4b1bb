"""The route of the document. It is made on a thread when it is first asked for: that takes 0.1 s, which is audible."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from pipelines.runtime.worker import Worker

PATH = "/openapi.json"


def add_openapi(app: web.Application, *, keyed: bool) -> None:
    """Serve the document. ``keyed``: whether this server has an API key."""
    app.router.add_get(PATH, _Document(keyed).send)


class _Document:
    def __init__(self, keyed: bool) -> None:
        self._keyed = keyed
        self._making = asyncio.Lock()
        self._text: bytes | None = None

    async def send(self, request: web.Request) -> web.Response:
        """The document."""
        async with self._making:
            if self._text is None:
                worker = Worker("openapi")
                try:
                    self._text = await worker.run(_written, self._keyed)
                finally:
                    worker.close()
        return web.Response(body=self._text, content_type="application/json")


def _written(keyed: bool) -> bytes:
    from server.http.openapi.document import document  # its models take 0.1 s, and most servers are never asked

    return json.dumps(document(keyed=keyed), ensure_ascii=False).encode()
