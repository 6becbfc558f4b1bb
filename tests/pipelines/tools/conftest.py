"""Functions and servers that are offered as tools."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.runtime.worker import Worker
from pipelines.tools.functions import function_tool
from pipelines.tools.server_tool import ServerTool, ToolLimits
from tests.pipelines.tools import house


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker("tools", threads=2)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def fresh_house() -> None:
    house.calls.clear()
    house.entered.clear()
    house.leave.clear()


@pytest.fixture
def function(worker: Worker):
    """``function("light")``: that of the house as a tool."""

    def make(name: str, **limits: float) -> ServerTool:
        return function_tool(f"tests.pipelines.tools.house:{name}", worker, limits=ToolLimits(**limits))

    return make
