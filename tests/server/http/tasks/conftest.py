"""The application with tasks on tiny models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pipelines.models.residency import Residency
from pipelines.tasks.service import TaskOptions, TaskService
from tests.conftest import fake_engines
from tests.fakes.devices import only_cpu


@pytest.fixture
async def door(serve: Callable[..., Any], tiny_models: Path, tmp_path: Path) -> str:
    """The address of a server with tasks on tiny models."""
    tasks = TaskService(None, Residency(), only_cpu, TaskOptions(folders=(tiny_models,)))
    url, _ = await serve(replace(fake_engines(), tasks=tasks), cache=tmp_path)
    return str(url)


Ask = Callable[..., Any]


@pytest.fixture
async def ask(door: str) -> AsyncIterator[Ask]:
    """``status, body, headers = await ask(path, body)``: a POST of JSON; without a body a GET."""
    async with aiohttp.ClientSession() as http:

        async def send(path: str, body: Any = None, **more: Any) -> tuple[int, Any, Any]:
            method = "GET" if body is None and not more else "POST"
            given = {"json": body} if body is not None else {}
            async with http.request(method, door + path, **given, **more) as response:
                return response.status, await response.json(), response.headers

        yield send
