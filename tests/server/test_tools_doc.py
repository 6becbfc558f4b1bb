"""The examples of ``docs/how-to/tools.md``, as they stand there: each is written to files, started and called."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pipelines.interfaces.llm import Message
from pipelines.routing.definition import load
from pipelines.tools.toolbox import Toolbox
from server.engines.parts import Parts
from server.engines.tools import tools
from server.settings import load_settings
from tests.conftest import fake_engines
from tests.fakes.openai_server import serving
from tests.pipelines.tools.test_calling import Caller, call
from tests.server.http.rest.clients import HELLO, client_of
from tools.doc_tables import DOCS

TEXT = (DOCS / "how-to" / "tools.md").read_text("utf-8")
FILES = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", TEXT, re.DOTALL))
FUNCTIONS, WEATHER, NOTES, TICKETS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
(REST,) = re.findall(r"```python\n(answer = .*?)```", TEXT, re.DOTALL)

Boxed = Callable[..., Any]


@pytest.fixture
async def boxed(tmp_path: Path) -> AsyncIterator[Boxed]:
    """``box, choices = await boxed(text, **secrets)``: the tools of a YAML file beside the documentation's files."""
    async with AsyncExitStack() as stack:

        async def make(text: str, **secrets: str) -> tuple[Toolbox, Any]:
            for name, content in FILES.items():
                (tmp_path / name).write_text(content, "utf-8")
            file = tmp_path / "tools.yaml"
            file.write_text(text, "utf-8")
            settings = load_settings({"cache": tmp_path, "tools": file, "tool_secrets": secrets})
            parts = Parts(settings, load(settings.pipeline), lambda line: None)
            box = await tools(parts)
            assert box is not None
            stack.push_async_callback(box.close)
            return box, parts.choices

        yield make


@pytest.mark.parametrize("calls", [True, False])
def test_the_status_says_when_no_model_can_be_expected_to_call_them(calls: bool) -> None:
    model = Caller()
    model.takes_choice = calls
    engines = fake_engines(llm=model)
    engines.choices.note("stt", "ears", "they are here")
    engines.choices.note("tools", "1 tool", "light: function house.py:light", device="-")
    listening, told = engines.status()
    assert listening["ok"]
    assert told["ok"] == calls
    assert told["reason"].endswith("light: function house.py:light")
    assert ("is not known to call any by itself" in told["reason"]) != calls


async def run(box: Toolbox, name: str, arguments: str) -> tuple[str, bool]:
    result = await next(tool for tool in box() if tool.name == name).run(arguments)
    return result.text, result.failed


async def test_functions(boxed: Boxed) -> None:
    box, choices = await boxed(FUNCTIONS)
    assert await run(box, "light", '{"room": "hall", "level": 30}') == ("The lamp in the hall is at 30 percent.", False)
    assert await run(box, "shopping_list", '{"add": "milk"}') == ('["milk"]', False)
    assert (await run(box, "light", '{"room": "cellar"}'))[1]
    (row,) = choices.status()
    assert (row.stage, row.engine, row.device, row.ok) == ("tools", "2 tools", "-", True)
    assert row.reason == "light: function house.py:light; shopping_list: function house.py:shopping"


async def test_an_endpoint(boxed: Boxed) -> None:
    asked: list[tuple[str, str | None]] = []

    async def weather(request: web.Request) -> web.StreamResponse:
        asked.append((request.path_qs, request.headers.get("Authorization")))
        return web.json_response({"degrees": 20})

    async with serving(weather) as base:
        text = WEATHER.replace("https://weather.example.org/v1", base)
        box, _ = await boxed(text, WEATHER_KEY="sesame")
        assert await run(box, "weather", '{"city": "Paris", "days": 2}') == ('{"degrees": 20}', False)
        assert (await run(box, "weather", '{"city": "Paris", "days": 9}'))[1]
    assert asked == [("/v1/Paris?days=2", "Bearer sesame")]


@pytest.mark.skipif(find_spec("mcp") is None, reason="the package mcp is not installed: pip install '.[mcp]'")
async def test_mcp_servers(boxed: Boxed) -> None:
    box, _ = await boxed(NOTES.replace("[python,", f"['{sys.executable}',"))
    assert box.about() == ["mcp notes: note"]
    assert await run(box, "note", '{"text": "buy milk"}') == ("1 notes", False)
    box, choices = await boxed(TICKETS.replace("https://tickets.example.org", "http://127.0.0.1:1"), KEY="sesame")
    assert box() == ()
    (row,) = choices.status()
    assert row.engine == "0 tools"
    assert row.reason.startswith("mcp tickets: ")


async def test_the_rest_api_offers_them_when_it_is_asked_to(boxed: Boxed, serve: Any, tmp_path: Path) -> None:
    box, _ = await boxed(FUNCTIONS)
    model = Caller([call("light", {"room": "hall"})], ["It is on."])
    engines = fake_engines(llm=model, tools=box)
    url, _ = await serve(engines, cache=tmp_path)
    async with client_of(url) as client:
        asks = REST.replace("answer = ", "").replace('"weather"', '"light"')
        answer = await eval(asks, {"client": client})
        assert answer.choices[0].message.content == "It is on."
        assert answer.choices[0].finish_reason == "stop"
        assert model.requests[1].messages[-1] == Message("tool", "The lamp in the hall is at 100 percent.", (), "c1")
        await client.chat.completions.create(model="gpt-4o", messages=HELLO)
        assert model.requests[-1].tools == ()
