"""HTTP endpoints as tools, on a server on loopback: what is sent, what is read, and where nobody is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiohttp import web

from pipelines.interfaces.llm import Tool
from pipelines.tools.definition import HttpSpec
from pipelines.tools.endpoints import Endpoint, http_tool
from pipelines.tools.server_tool import ServerTool, ToolLimits, ToolResult
from pipelines.tools.toolbox import Named, build_toolbox
from tests.fakes.openai_server import Handler, serving

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "on": {"type": "boolean"},
        "step": {"multipleOf": 0.5},
    },
    "required": ["city"],
}
ARGUMENTS = '{"city": "Köln / Süd", "days": 2, "on": true}'


@pytest.fixture
async def tool() -> AsyncIterator[Callable[..., Any]]:
    """``await tool(handler, "path", method=…)``: a tool that asks a server with that handler."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx2.AsyncClient(timeout=None, trust_env=False))

        async def make(server: Noting | Handler, path: str = "weather", **fields: Any) -> ServerTool:
            base = await stack.enter_async_context(serving(server.handle if isinstance(server, Noting) else server))
            limits = ToolLimits(fields.pop("seconds", 30.0), fields.pop("characters", 4000))
            endpoint = Endpoint(f"{base}/{path}", **fields)
            return http_tool(Tool("weather", "The weather.", SCHEMA), endpoint, client, limits)

        yield make


class Noting:
    """Answers with ``answer`` and keeps what it was asked."""

    def __init__(self, answer: Callable[[web.Request], web.StreamResponse] | None = None) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.headers: list[Any] = []
        self._answer = answer or (lambda request: web.Response(text=" sunny "))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.raw_path, await request.text()))
        self.headers.append(request.headers)
        return self._answer(request)


async def test_arguments_travel_in_the_body_the_query_and_the_path(tool: Any) -> None:
    server = Noting()
    assert await (await tool(server)).run(ARGUMENTS) == ToolResult("sunny")
    await (await tool(server, "w?units=C", method="GET")).run(ARGUMENTS)
    await (await tool(server, "{city}/w", method="PUT", headers={"Authorization": "Bearer secret"})).run(ARGUMENTS)
    (post, get, put) = server.asked
    assert post[:2] == ("POST", "/v1/weather") and json.loads(post[2]) == json.loads(ARGUMENTS)
    assert get == ("GET", "/v1/w?units=C&city=K%C3%B6ln+%2F+S%C3%BCd&days=2&on=true", "")
    assert put[:2] == ("PUT", "/v1/K%C3%B6ln%20%2F%20S%C3%BCd/w") and json.loads(put[2]) == {"days": 2, "on": True}
    assert [headers.get("Authorization") for headers in server.headers] == [None, None, "Bearer secret"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("{}", "'city' is a required property"),
        ('{"city": ".."}', "city must not be '..'"),
        ("[]", "one JSON object"),
        ('{"city": "Rome", "high": NaN}', "one JSON object"),
        ('{"city": "Rome", "high": 1e999}', "one JSON object"),
        ('{"city": "\\ud800"}', "one JSON object"),
        ('{"city": "%s"}' % ("é" * 20_000), "too long for an address"),
        ('{"city": "Rome", "step": 1' + "0" * 400 + "}", "OverflowError"),
    ],
    ids=range(8),
)
async def test_wrong_arguments_are_not_sent(tool: Any, arguments: str, told: str, caplog: Any) -> None:
    server = Noting()
    result = await (await tool(server, "{city}")).run(arguments)
    assert result.failed and told in result.text
    assert not server.asked
    assert "Traceback" not in caplog.text  # what a model writes is no defect of the tool


async def test_redirects_stay_at_the_host(tool: Any) -> None:
    def redirect(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/weather"):
            raise web.HTTPTemporaryRedirect("/v1/other")
        return web.Response(text="found")

    server = Noting(redirect)
    assert (await (await tool(server)).run(ARGUMENTS)).text == "found"
    assert json.loads(server.asked[-1][2]) == json.loads(ARGUMENTS)

    elsewhere = Noting()
    async with serving(elsewhere.handle) as base:

        def away(request: web.Request) -> web.StreamResponse:
            raise web.HTTPFound(f"{base}/steal")

        result = await (await tool(Noting(away), headers={"X-Key": "secret"})).run(ARGUMENTS)
    assert result == ToolResult("127.0.0.1 sends to 127.0.0.1, which is not asked", failed=True), "another port"
    assert not elsewhere.asked

    def round_and_round(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(request.path)

    assert "from one address to another" in (await (await tool(Noting(round_and_round))).run(ARGUMENTS)).text


async def test_what_cannot_be_read_is_told(tool: Any) -> None:
    def answering(**fields: Any) -> Noting:
        return Noting(lambda request: web.Response(**fields))

    for server, told in (
        (answering(body=b"\x89PNG", content_type="image/png"), "answered with image/png, which is no text"),
        (
            answering(body=b"\x1f\x8b", content_type="text/plain", headers={"Content-Encoding": "gzip"}),
            "sends packed data",
        ),
        (answering(status=404, text="no such city"), "127.0.0.1 answered 404: no such city"),
        (answering(status=500), "127.0.0.1 answered 500:"),
    ):
        result = await (await tool(server)).run(ARGUMENTS)
        assert result.failed and told in result.text
    odd = answering(body="übel".encode("latin-1"), headers={"Content-Type": "text/plain; charset=no-such"})
    assert (await (await tool(odd)).run(ARGUMENTS)).text == "\N{REPLACEMENT CHARACTER}bel"
    assert (await (await tool(answering(status=204))).run(ARGUMENTS)).text == "done"


async def test_an_answer_without_end_is_cut_and_left(tool: Any) -> None:
    left = asyncio.Event()

    async def pour(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 4096)
        finally:
            left.set()

    result = await (await tool(pour, characters=100)).run(ARGUMENTS)
    assert result.text.startswith("x" * 100 + " … (cut")
    await left.wait()


async def test_a_server_that_does_not_answer_or_is_not_there(tool: Any) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        raise AssertionError

    result = await (await tool(hang, seconds=0.05)).run(ARGUMENTS)
    assert result == ToolResult("weather did not answer within 0.05 seconds", failed=True)
    if asked.is_set():  # on a busy machine the time may be over before the request has come
        await gone.wait()
    async with httpx2.AsyncClient(trust_env=False) as client:
        away = http_tool(Tool("t", "d"), Endpoint("http://127.0.0.1:1/x"), client)
        assert await away.run("{}") == ToolResult("127.0.0.1 cannot be asked (ConnectError)", failed=True)


async def test_what_an_endpoint_knows_one_by_is_kept_for_nobody() -> None:
    def answer(_: web.Request) -> web.StreamResponse:
        response = web.Response(text="sunny")
        response.set_cookie("sid", "of the one who asked first")
        return response

    server = Noting(answer)
    async with serving(server.handle) as base:
        spec = HttpSpec(
            kind="http", name="weather", description="The weather.", url=f"{base}/weather", parameters=SCHEMA
        )
        box = build_toolbox([Named(spec, Path("tools.yaml"), "tools.0")], {})
        try:
            for city in ("Bern", "Davos"):
                assert (await box()[0].run(json.dumps({"city": city}))).text == "sunny"
        finally:
            await box.close()
    assert [headers.get("Cookie") for headers in server.headers] == [None, None]
