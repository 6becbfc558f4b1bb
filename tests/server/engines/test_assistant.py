"""Which of the assistant's own tools a server has, and what it fetches for them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.tools.assistant import ASSISTANT_TOOLS
from server.engines.assistant import LOOK_SECONDS, READER, assistant_tools
from server.settings import SettingsError, load_settings
from tests.fakes.clock import FakeClock
from tests.fakes.tasks import FakeRunner, FakeTasks


def parts(*, downloads: bool = True, bench: bool = False, **settings: Any) -> Any:
    """What the composition hands over."""
    fetched: list[str] = []

    async def first(ids: list[str], use: Any) -> None:
        fetched.extend(ids)
        await use(None)

    async def aside(function: Any) -> Any:
        return await asyncio.to_thread(function)

    return SimpleNamespace(
        bench=bench,
        may_download=downloads,
        settings=load_settings(settings),
        later=[],
        upkeep=[],
        clock=FakeClock(0.0),
        first=first,
        aside=aside,
        fetched=fetched,
    )


async def test_the_model_that_reads_is_fetched_where_nothing_does() -> None:
    made = parts()
    tools = await assistant_tools(made, FakeTasks())
    assert tools.names == ASSISTANT_TOOLS
    assert tools.reader is None
    for better in made.later:
        await better()
    assert made.fetched == [READER]


@pytest.mark.parametrize(
    ("made", "tasks"),
    [
        (parts(), FakeTasks(ocr={"text": ""})),
        (parts(downloads=False), FakeTasks()),
        (parts(assistant_tools="translate_text"), FakeTasks()),
        (parts(bench=True), FakeTasks()),
    ],
    ids=["it is here", "nothing may be fetched", "it is switched off", "only the server is measured"],
)
async def test_it_is_not_fetched_otherwise(made: Any, tasks: FakeTasks) -> None:
    await assistant_tools(made, tasks)
    assert made.later == []


async def test_a_model_that_has_come_is_put_to_use() -> None:
    made, tasks = parts(), FakeTasks()
    tools = await assistant_tools(made, tasks)
    (keep,) = made.upkeep
    keeping = asyncio.create_task(keep())
    tasks.runners["ocr"] = FakeRunner({"text": "EXIT"})
    assert tools.reader is None  # nobody looks through folders while an answer is waited for
    assert await made.clock.sleeper() == LOOK_SECONDS
    made.clock.advance(LOOK_SECONDS)
    await made.clock.sleeper()  # it has looked, and waits again
    keeping.cancel()
    assert tools.reader is not None
    assert await tools.reader(b"picture") == "EXIT"
    assert tasks.looked[-1] == "ocr"


async def test_nothing_is_looked_for_where_nothing_is_wanted() -> None:
    tasks = FakeTasks(ocr={"text": ""})
    made = parts(assistant_tools="")
    tools = await assistant_tools(made, tasks)
    assert (tools.names, tools.reader, tasks.looked, made.upkeep) == ((), None, [], [])


async def test_a_server_that_is_only_measured_has_none() -> None:
    tools = await assistant_tools(parts(bench=True), FakeTasks(ocr={"text": ""}))
    assert tools.reader is None


@pytest.mark.parametrize(
    ("given", "names"),
    [("", ()), ("read_text, detect_language", ("read_text", "detect_language")), (["read_text"], ("read_text",))],
)
def test_the_setting_names_those_that_are_wanted(given: Any, names: tuple[str, ...]) -> None:
    assert load_settings({"assistant_tools": given}).assistant_tools == names


def test_a_name_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match=r"assistant_tools.*read_text"):
        load_settings({"assistant_tools": "read_minds"})
