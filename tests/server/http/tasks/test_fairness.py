"""Many requests of one client delay the single one of another by no more than one of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import BaseModel

from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.models.residency import Residency
from pipelines.tasks.service import TaskOptions, TaskService
from tests.conftest import fake_engines
from tests.fakes.devices import only_cpu
from tests.patience import until


class Text(BaseModel):
    text: str


class Nothing(BaseModel):
    pass


SERVED: list[str] = []
GATE = threading.Event()


def work(model: Any, jobs: Sequence[Job[Text, Nothing]]) -> list[Done]:
    GATE.wait()
    SERVED.extend(job.inputs.text for job in jobs)
    return [Done(job.inputs.text) for job in jobs]


ECHO = TaskSpec(
    "echo", "Says it", Text, Nothing, str, lambda *_: None, work, packages=(), library="", needs_model=False, batch=1
)


async def test_clients_are_served_in_turn(serve: Callable[..., Any], tmp_path: Path) -> None:
    SERVED.clear()
    GATE.clear()
    tasks = TaskService(None, Residency(), only_cpu, TaskOptions(), {"echo": f"{__name__}:ECHO"})
    url, _ = await serve(
        replace(fake_engines(), tasks=tasks), cache=tmp_path, trusted_proxies="127.0.0.1", api_key="secret-key"
    )
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def ask(client: str, text: str) -> int:
            headers = {"X-Forwarded-For": client, "Authorization": "Bearer secret-key"}
            async with http.post(f"{url}/v1/tasks/echo", json={"inputs": text}, headers=headers) as response:
                return response.status

        asked = [asyncio.ensure_future(ask("192.0.2.1", "greedy")) for _ in range(20)]
        await until(lambda: sum(worker.waiting for worker in tasks.workers()) == 19)
        asked.append(asyncio.ensure_future(ask("192.0.2.2", "modest")))
        await until(lambda: sum(worker.waiting for worker in tasks.workers()) == 20)
        GATE.set()
        assert set(await asyncio.gather(*asked)) == {200}
    assert SERVED.index("modest") <= 2, "behind the one in hand and the next in line"
