"""A worker process with fake engines (``python -m tests.fakes.worker``): its model tells how much it was shown. With
the word ``zygote`` it is where such workers are forked from."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from typing import Any

import server.workers.main as worker
from pipelines.interfaces.llm import ChatRequest
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel


class CountingModel(FakeModel):
    """Answers with the number of messages that it was shown beside the instructions, and the last words."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        told = [message for message in request.messages if message.role != "system"]
        yield f"I was told {len(told)} things, the first of them {told[0].content}"


async def _engines(*_: Any) -> Any:
    return fake_engines(llm=CountingModel())


def main() -> None:
    """What a worker does."""
    worker.build_engines = _engines
    worker.main()


if __name__ == "__main__":
    if "zygote" in sys.argv:
        from server.workers.processes.zygote import run

        run(("tests.fakes.worker",), "tests.fakes.worker")
    else:
        main()
