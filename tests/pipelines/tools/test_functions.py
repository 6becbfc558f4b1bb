"""Python functions as tools: schema from annotations, checked arguments, threads of ours, limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipelines.interfaces.llm import Tool
from pipelines.runtime.worker import Worker
from pipelines.tools import server_tool
from pipelines.tools.functions import function_tool
from pipelines.tools.server_tool import (
    LONGEST_ARGUMENTS,
    ArgumentCheck,
    ServerTool,
    ToolFailedError,
    ToolLimits,
    ToolResult,
)
from tests.patience import until
from tests.pipelines.tools import house

Make = Callable[..., ServerTool]


def test_a_function_is_told_by_its_annotations_and_its_docstring(function: Make) -> None:
    tool = function("light").tool
    assert (tool.name, tool.description) == ("light", "Switches the lamp of a room.")
    assert tool.parameters["required"] == ["room"]
    assert tool.parameters["properties"]["room"]["description"] == "Which room."
    assert tool.parameters["properties"]["on"]["type"] == "boolean"
    assert tool.parameters["additionalProperties"] is False


async def test_a_function_runs_beside_the_event_loop_with_checked_arguments(function: Make) -> None:
    result = await function("light").run('{"room": "kitchen", "level": "50"}')
    assert result == ToolResult("The lamp in the kitchen is on.")
    assert house.calls == [("kitchen", True, 50, False)]


async def test_a_coroutine_runs_on_the_event_loop_and_what_it_returns_is_told_as_json(function: Make) -> None:
    result = await function("weather").run('{"city": "Paris", "unit": "F"}')
    assert json.loads(result.text) == {"city": "Paris", "degrees": 20, "unit": "F"}
    assert (await function("nothing").run("")).text == "done"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("{", "must be one JSON object"),
        ("[1]", "must be one JSON object"),
        ("[" * 9999, "must be one JSON object"),
        (json.dumps({"room": "x" * LONGEST_ARGUMENTS}), "more than 65536 characters"),
        ("{}", "room: Field required"),
        ('{"room": "kitchen", "colour": "red"}', "colour: Extra inputs are not permitted"),
        ('{"room": "kitchen", "level": "bright"}', "level: Input should be a valid integer"),
    ],
)
async def test_wrong_arguments_are_told_to_the_model_and_nothing_is_run(
    function: Make, arguments: str, told: str
) -> None:
    result = await function("light").run(arguments)
    assert result.failed
    assert told in result.text
    assert not house.calls


async def test_a_function_that_raises_is_told_without_its_words(function: Make, caplog: Any) -> None:
    result = await function("broken").run("{}")
    assert result == ToolResult("broken failed unexpectedly (RuntimeError)", failed=True)
    [failure] = [record for record in caplog.records if record.exc_info]
    assert failure.withheld, "its message may quote what it was called with"


async def test_what_takes_too_long_is_given_up(function: Make) -> None:
    result = await function("forever", seconds=0.01).run("{}")
    assert result == ToolResult("forever did not answer within 0.01 seconds", failed=True)
    assert house.calls == ["begun", "ended"]
    result = await function("stuck", seconds=0.01).run("{}")
    assert result.failed
    house.leave.set()


async def test_a_result_that_is_too_long_loses_its_end(function: Make) -> None:
    result = await function("weather", characters=5).run('{"city": "Paris"}')
    assert result.text.startswith('{"cit … (cut: it has ')


async def test_more_calls_than_may_wait_are_told_so() -> None:
    worker = Worker("tools", threads=1, inbox=1)
    tool = function_tool("tests.pipelines.tools.house:stuck", worker)
    first = asyncio.create_task(tool.run("{}"))
    await asyncio.to_thread(house.entered.wait)
    second = asyncio.create_task(tool.run("{}"))
    await asyncio.sleep(0)
    result = await tool.run("{}")
    assert result.failed
    assert "has 1 jobs waiting" in result.text
    house.leave.set()
    assert not (await first).failed and not (await second).failed
    worker.close()


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("nowhere.at.all:f", "cannot be loaded (ModuleNotFoundError"),
        ("tests.pipelines.tools.house:missing", "cannot be loaded (AttributeError"),
        ("missing.py:f", "cannot be loaded (FileNotFoundError"),
        ("tests.pipelines.tools.house:NO_FUNCTION", "is no function"),
        ("tests.pipelines.tools.house:undocumented", "has no docstring"),
        ("tests.pipelines.tools.house:unannotated", "the parameter x has no annotation"),
        ("tests.pipelines.tools.house:many", "cannot be given by name"),
        ("tests.pipelines.tools.house:odd", "has no schema"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused_with_the_reason(worker: Worker, place: str, told: str) -> None:
    with pytest.raises(ValueError) as refused:
        function_tool(place, worker)
    assert told in str(refused.value)


async def test_a_function_in_a_file_beside_the_definition(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        'from __future__ import annotations\n\ndef double(x: int) -> int:\n    """Twice x."""\n    return 2 * x\n'
    )
    tool = function_tool("mine.py:double", worker, folder=tmp_path, name="twice")
    assert tool.name == "twice"
    assert (await tool.run('{"x": 4}')).text == "8"


def test_schemas_of_others_are_kept_to_and_fetch_nothing() -> None:
    check = ArgumentCheck({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n", "m"]})
    with pytest.raises(ToolFailedError, match=r"n: 'x' is not of type 'integer'.*'m' is a required"):
        check.check({"n": "x"})
    check.check({"n": 1, "m": 2})
    with pytest.raises(ValueError, match="is no JSON schema"):
        ArgumentCheck({"type": "nonsense"})
    with pytest.raises(ToolFailedError, match="cannot be read"):
        ArgumentCheck({"$ref": "http://127.0.0.1:1/schema"}).check({})


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_function_that_exits_ends_its_call_and_not_the_server(
    worker: Worker, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "exits.py").write_text(f"import sys\n{kind} leave() -> str:\n    'Leaves.'\n    sys.exit('no more')\n")
    tool = function_tool("exits.py:leave", worker, folder=tmp_path)
    assert await tool.run("{}") == ToolResult("it gave up: no more", failed=True)


async def test_a_call_that_is_cancelled_by_nobody_has_failed() -> None:
    async def call(arguments: dict[str, object]) -> ToolResult:
        raise asyncio.CancelledError

    tool = ServerTool(Tool("odd", "Odd.", {}), call, "a test")
    assert await tool.run("{}") == ToolResult("odd ended without a result", failed=True)


async def test_a_call_that_cannot_be_ended_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_tool, "END_SECONDS", 0.01)
    monkeypatch.setattr(server_tool, "MOST_RUNNING", 1)
    over = asyncio.Event()

    async def call(arguments: dict[str, object]) -> ToolResult:
        while not over.is_set():
            with suppress(asyncio.CancelledError):
                await over.wait()
        return ToolResult("at last")

    tool = ServerTool(Tool("stubborn", "Stays.", {}), call, "a test", ToolLimits(0.01))
    assert (await tool.run("{}")).text == "stubborn did not answer within 0.01 seconds"
    assert (await tool.run("{}")).text == "1 calls of stubborn are being carried out already"
    over.set()
    await until(lambda: not tool._running)
