"""The documentation as pages under ``/docs/``, for messages of the web client that lead there.

Markdown becomes HTML on a thread of its own, once a page. HTML inside the documents is shown as text.
"""

from __future__ import annotations

import asyncio
import html
import posixpath
import re
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

from aiohttp import web
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pipelines.runtime.worker import Worker

FOLDER = Path(__file__).parents[2] / "docs"
_AS_THEY_ARE = {".png": "image/png", ".svg": "image/svg+xml", ".txt": "text/plain"}
_COMMENT = re.compile(r"^<!--.*?-->\n", re.DOTALL | re.MULTILINE)
_EXCUSE = re.compile(r"^<!-- not run: (.*?) -->\n", re.MULTILINE)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{title}</title>
<link rel="icon" href="/static/favicon.svg"><link rel="stylesheet" href="/static/docs.css"></head>
<body><nav><a href="/">visavis</a> · <a href="/docs/index">Documentation</a></nav><main>
{body}</main></body></html>
"""


def anchor(heading: str) -> str:
    """The fragment by which a heading is linked."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def rendered(text: str, page: str, pages: frozenset[str]) -> str:
    """``text`` in CommonMark with tables as an HTML document.

    ``page`` is its path without ``.md``, ``pages`` are all such paths: links to them work, links to other files of the
    repository become plain text.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(_COMMENT.sub("", _EXCUSE.sub(r"*Not run here: \1.*\n\n", text)))
    title = page
    for token, inner in pairwise(tokens):
        if token.type == "heading_open":
            heading = "".join(part.content for part in inner.children or () if part.type in ("text", "code_inline"))
            token.attrSet("id", anchor(heading))
            title = heading if token.tag == "h1" else title
    for token in tokens:
        _turn_links(token.children or [], page, pages)
    body = markdown.renderer.render(tokens, markdown.options, {})
    return _PAGE.format(title=html.escape(title), body=body)


def _turn_links(tokens: list[Token], page: str, pages: frozenset[str]) -> None:
    for token in tokens:
        href = str(token.attrGet("href") or "")
        if token.type != "link_open" or re.match(r"[a-z]+:|#", href):
            continue
        path, sharp, fragment = href.partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path.removesuffix(".md")))
        if target in pages:
            token.attrSet("href", f"/docs/{target}{sharp}{fragment}")
        else:
            del token.attrs["href"]


class DocPages:
    """Serves every document of a folder at ``/docs/PATH``, without its ``.md``, its pictures, and ``llms.txt``.

    Where the folder is not there nothing is found.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        self._texts = {name[:-3]: path.read_text("utf-8") for name, path in files.items() if name.endswith(".md")}
        self._as_they_are = {
            name: (path.read_bytes(), kind)
            for name, path in files.items()
            if (kind := _AS_THEY_ARE.get(path.suffix)) is not None
        }
        self._rendered: dict[str, str] = {}
        self._pending: dict[str, asyncio.Task[str]] = {}
        """Pages that are being rendered: all who ask for one meanwhile wait for the same."""
        self._worker: Worker | None = None

    def add_to(self, app: web.Application) -> None:
        """Add the routes, and the thread while the application runs."""
        app.router.add_get("/docs", self._start)
        app.router.add_get("/docs/{name:.+}", self._named)
        app.cleanup_ctx.append(self._work)

    async def _work(self, app: web.Application) -> AsyncIterator[None]:
        self._worker = worker = Worker("docs", inbox=max(1, len(self._texts)))  # never full: each page waits once
        yield
        self._worker = None
        for pending in self._pending.values():
            pending.cancel()
        worker.close()

    async def _start(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/docs/index"})

    async def _named(self, request: web.Request) -> web.Response:
        name = request.match_info["name"].removesuffix(".md")
        if (file := self._as_they_are.get(name)) is not None:
            return web.Response(
                body=file[0], content_type=file[1], charset="utf-8" if file[1] == "text/plain" else None
            )
        if name not in self._texts or self._worker is None:
            raise web.HTTPNotFound
        if (page := self._rendered.get(name)) is None:
            page = self._rendered[name] = await self._render(name, self._worker)
        return web.Response(text=page, content_type="text/html")

    async def _render(self, name: str, worker: Worker) -> str:
        if (pending := self._pending.get(name)) is None:
            work = worker.run(rendered, self._texts[name], name, frozenset(self._texts))
            pending = self._pending[name] = asyncio.create_task(work, name=f"docs-{name}")
            pending.add_done_callback(lambda _: self._pending.pop(name))
        return await asyncio.shield(pending)  # who leaves takes nothing from the others
