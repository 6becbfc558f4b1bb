"""The documentation under ``/docs``: pages, links, pictures, and what is not there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.http.doc_pages import DocPages, rendered
from tools.doc_tables import DOCS

PAGES = frozenset(page.relative_to(DOCS).as_posix()[:-3] for page in DOCS.rglob("*.md"))


async def test_pages_are_served_to_everybody_under_the_policy_of_the_page(serve):
    url, _ = await serve()
    async with aiohttp.ClientSession(url) as client:
        async with client.get("/docs") as response:
            assert str(response.url).endswith("/docs/index")
        async with client.get("/docs/troubleshooting") as response:
            assert response.status == 200
            assert "default-src 'self'" in response.headers["Content-Security-Policy"]
            text = await response.text()
        assert '<h3 id="mic_denied">' in text
        for file in re.findall(r'href="(/static/[^"]+)"', text):
            async with client.get(file) as response:
                assert response.status == 200, file
        assert 'href="/docs/how-to/https-on-a-lan"' in text
        async with client.get("/docs/screenshot.png") as response:
            assert response.content_type == "image/png"
        async with client.get("/docs/llms.txt") as response:
            assert response.content_type == "text/plain"
            assert (await response.text()).startswith("# visavis")
        for name in ("nothing", "../README", "%2e%2e/README", "grafana/visavis.json"):
            async with client.get(f"/docs/{name}") as response:
                assert response.status == 404


async def test_many_who_ask_at_once_get_their_pages_each_rendered_once(tmp_path, monkeypatch):
    names = [f"page-{number}" for number in range(30)]
    for name in names:
        (tmp_path / f"{name}.md").write_text(f"# {name}", "utf-8")
    done: list[str] = []
    all_ask, asking = threading.Event(), 2 * len(names)

    def render(text: str, page: str, pages: frozenset[str]) -> str:
        all_ask.wait(60)
        done.append(page)
        return text

    @web.middleware
    async def count(request: web.Request, handler):
        nonlocal asking
        asking -= 1
        if not asking:
            asyncio.get_running_loop().call_soon(all_ask.set)  # when the last one waits, too
        return await handler(request)

    monkeypatch.setattr("server.http.doc_pages.rendered", render)
    app = web.Application(middlewares=[count])
    DocPages(tmp_path).add_to(app)
    async with TestClient(TestServer(app)) as client:
        answers = await asyncio.gather(*(client.get(f"/docs/{name}") for name in names * 2))
        told = [(answer.status, await answer.text()) for answer in answers]
    assert told == [(200, f"# {name}") for name in names * 2]
    assert sorted(done) == sorted(names)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_link_within_leads_to_a_page_and_its_heading(page):
    text = rendered((DOCS / f"{page}.md").read_text("utf-8"), page, PAGES)
    assert "<!--" not in text.removeprefix("<!doctype html>")
    for target, _, fragment in re.findall(r'href="/docs/([^"#]+)(#([^"]+))?"', text):
        assert target in PAGES
        if fragment:
            there = rendered((DOCS / f"{target}.md").read_text("utf-8"), target, PAGES)
            assert f'id="{fragment}"' in there


def test_a_wheel_brings_the_documentation(tmp_path):
    """What setuptools would put into it, as the project's own settings say."""
    listing = (
        "from setuptools import Distribution; whole = Distribution({'script_name': 'setup.py'});"
        "whole.parse_config_files();"
        "build = whole.get_command_obj('build_py'); build.build_lib = 'lib'; build.ensure_finalized();"
        "print(*build.get_outputs(include_bytecode=False), sep='\\n')"
    )
    command = [sys.executable, "-W", "ignore", "-c", listing]
    done = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    brought = {line.removeprefix("lib/") for line in done.stdout.splitlines()}
    assert {f"docs/{page}.md" for page in PAGES} | {"docs/screenshot.png"} <= brought


def test_an_excuse_is_shown_to_readers():
    text = rendered("# A\n\n<!-- not run: needs a card -->\n```sh\nls\n```\n", "a", frozenset())
    assert "Not run here: needs a card." in text


def test_html_in_a_document_is_shown_and_not_done():
    text = rendered("# <script>x</script>\n\n[y](javascript:alert(1)) <b>", "a", frozenset())
    assert "<script>" not in text
    assert 'href="javascript' not in text
    assert "&lt;b&gt;" in text
