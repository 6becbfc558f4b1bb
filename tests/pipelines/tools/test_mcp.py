"""Tools of MCP servers: a real one in a process, and one over HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the package mcp is not installed: pip install '.[mcp]'")
import mcp_types
from mcp import Client

from pipelines.interfaces.llm import ChatRequest, Message, ToolCall
from pipelines.routing.definition import load_tools
from pipelines.tools.calling import CallingModel
from pipelines.tools.mcp_process import child_transport
from pipelines.tools.toolbox import Named, Toolbox, build_toolbox
from tests.fakes import mcp_tools
from tests.patience import PATIENCE
from tests.pipelines.tools.test_calling import Caller

ROOT = Path(__file__).parents[3]
NAMES = ["add", "long", "fail", "environment", "picture", "hang", "die", "process", "grow"]


class Changes:
    """Counts how often the tools have changed, and waits for what the tests want of them."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def __call__(self) -> None:
        self.event.set()

    async def until(self, box: Toolbox, wanted: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            while not wanted(box):
                await self.event.wait()
                self.event.clear()


@asynccontextmanager
async def boxed(tmp_path: Path, text: str, **secrets: str) -> AsyncIterator[tuple[Toolbox, Changes]]:
    file = tmp_path / "tools.yaml"
    file.write_text(text)
    changes = Changes()
    named = [Named(spec, file, f"tools.{n}") for n, spec in enumerate(load_tools(file))]
    box = build_toolbox(named, secrets, changes)
    try:
        await box.start()
        await changes.until(box, lambda box: box() or box.servers[0].problem.startswith("["))
        yield box, changes
    finally:
        await box.close()


def child(**fields: str) -> str:
    more = "".join(f", {name}: {value}" for name, value in fields.items())
    return (
        f"tools:\n  - {{kind: mcp, name: house, command: ['{sys.executable}', '{mcp_tools.__file__}'], "
        f"env: {{PYTHONPATH: '{ROOT}', DOOR: '${{DOOR}}'}}{more}}}\n"
    )


def names(box: Toolbox) -> list[str]:
    return [tool.name for tool in box()]


async def run(box: Toolbox, name: str, arguments: str = "{}") -> Any:
    return await next(tool for tool in box() if tool.name == name).run(arguments)


async def test_a_server_in_a_process(tmp_path: Path) -> None:
    async with boxed(tmp_path, child(max_characters="80"), DOOR="open sesame") as (box, _):
        assert names(box) == NAMES
        assert box.about() == [f"mcp house: {', '.join(NAMES)}"]
        assert (await run(box, "add", '{"a": 2, "b": 3}')).text == "5"
        wrong = await run(box, "add", '{"a": "two"}')
        assert wrong.failed and "a: 'two' is not of type 'integer'" in wrong.text
        assert (await run(box, "environment", '{"name": "DOOR"}')).text == "open sesame"
        assert (await run(box, "environment", '{"name": "VIRTUAL_ENV"}')).text == "not there"
        failed = await run(box, "fail")
        assert failed.failed
        assert (await run(box, "long", '{"size": 100}')).text.startswith("x" * 80 + " … (cut")
        picture = await run(box, "picture")
        assert picture.images[0].kind == "image/png" and picture.images[0].data.startswith(b"\x89PNG")


async def test_a_model_calls_two_of_its_tools_at_once(tmp_path: Path) -> None:
    async with boxed(tmp_path, child(only="[add]"), DOOR="x") as (box, _):
        assert names(box) == ["add"]
        calls = [ToolCall(f"c{n}", "add", f'{{"a": {n}, "b": 1}}') for n in range(2)]
        model = Caller(calls, ["One and two."])
        request = ChatRequest((Message("user", "Add."),))
        assert [piece async for piece in CallingModel(model, box).stream(request)] == ["One and two."]
        assert [message.content for message in model.requests[1].messages[2:]] == ["1", "2"]


async def test_a_tool_that_only_names_and_the_server_has_not_is_told(tmp_path: Path, caplog: Any) -> None:
    async with boxed(tmp_path, child(only="[add, serach]"), DOOR="x") as (box, _):
        assert names(box) == ["add"]
    told = [record.getMessage() for record in caplog.records if "serach" in record.getMessage()]
    assert told == [f"mcp house has no tool serach, which only names; it has {', '.join(NAMES)}"]


async def test_a_call_that_takes_too_long_leaves_the_server_as_it_is(tmp_path: Path) -> None:
    async with boxed(tmp_path, child(timeout="0.2"), DOOR="x") as (box, _):
        assert (await run(box, "hang")).text == "hang did not answer within 0.2 seconds"
        results = [await run(box, "add", '{"a": 2, "b": 3}') for _ in range(3)]
        assert [result.text for result in results if not result.failed][-1:] == ["5"]


async def test_tools_that_come_later_are_there_then(tmp_path: Path) -> None:
    async with boxed(tmp_path, child(), DOOR="x") as (box, changes):
        assert (await run(box, "grow")).text == "grown"
        await changes.until(box, lambda box: "later" in names(box))
        (later,) = (tool for tool in box() if tool.name == "later")
        assert later.tool.description == mcp_tools.MORE


async def test_older_servers_tell_of_other_tools_by_a_message(tmp_path: Path) -> None:
    async with boxed(tmp_path, child(), DOOR="x") as (box, changes):
        (server,) = box.servers
        server.tools = server.tools[:1]
        await server._heard(mcp_types.ToolListChangedNotification())
        await changes.until(box, lambda box: names(box) == NAMES)


@pytest.mark.long
async def test_a_server_that_ends_costs_its_tools_until_it_is_back(tmp_path: Path) -> None:
    async with boxed(tmp_path, child(), DOOR="x") as (box, changes):
        add, die = box()[0], next(tool for tool in box() if tool.name == "die")
        result = await die.run("{}")
        assert result.failed
        await changes.until(box, lambda box: not box())
        assert (await add.run('{"a": 1, "b": 1}')).text == "house is away at present"
        await changes.until(box, lambda box: names(box) == NAMES)
        assert (await run(box, "add", '{"a": 2, "b": 3}')).text == "5"


async def test_a_server_that_is_not_there_costs_nothing_but_its_tools(tmp_path: Path) -> None:
    for text in (
        "tools: [{kind: mcp, name: house, command: [/no/such/program]}]",
        "tools: [{kind: mcp, name: house, command: ['false']}]",
        "tools: [{kind: mcp, name: house, url: 'http://127.0.0.1:1/mcp'}]",
    ):
        file = tmp_path / "tools.yaml"
        file.write_text(text)
        box = build_toolbox([Named(load_tools(file)[0], file, "tools.0")], {})
        await box.start()
        assert box() == ()
        assert box.servers[0].problem
        await box.close()


async def test_no_process_is_left_behind(tmp_path: Path) -> None:
    async with boxed(tmp_path, child(), DOOR="x") as (box, _):
        pid = int((await run(box, "process")).text)
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert box() == ()


async def test_what_a_server_writes_beside_its_messages_is_in_no_log(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    ended = asyncio.Event()
    command = [sys.executable, "-c", "import sys; print('called with Clara Miller', file=sys.stderr)"]
    async with asyncio.timeout(PATIENCE), child_transport(command, {}, tmp_path, ended.set):
        await ended.wait()
    assert "Clara" not in caplog.text


async def test_a_server_over_http(tmp_path: Path) -> None:
    uvicorn = pytest.importorskip("uvicorn")
    app = mcp_tools.made().streamable_http_app()
    keys: list[str | None] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            keys.append(dict(scope["headers"]).get(b"x-key", b"").decode())
        await app(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(noting, host="127.0.0.1", port=0, log_level="error", ws="none"))
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(PATIENCE):
            while not server.started:  # noqa: ASYNC110 - uvicorn tells it in no other way
                await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        text = (
            f"tools: [{{kind: mcp, name: house, url: 'http://127.0.0.1:{port}/mcp', headers: {{X-Key: '${{KEY}}'}}}}]"
        )
        async with boxed(tmp_path, text, KEY="sesame") as (box, _):
            assert names(box) == NAMES
            assert (await run(box, "add", '{"a": 2, "b": 3}')).text == "5"
        assert set(keys) == {"sesame"}
    finally:
        server.should_exit = True
        await serving


async def test_a_result_that_is_none_is_told(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    async def call_tool(*_: object) -> object:
        return mcp_types.CallToolResult.model_validate({"content": 5})

    async with boxed(tmp_path, child(), DOOR="x") as (box, _):
        monkeypatch.setattr(Client, "call_tool", call_tool)
        result = await run(box, "fail")
        assert result.failed and result.text == "house answered with what is no result"
        assert "Traceback" not in caplog.text
        assert "what fail brought is no result (faults: 1)" in caplog.text
