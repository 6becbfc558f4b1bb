"""A process that runs llama.cpp, as the one that talks to it has it: a child of this process, or one that is shared."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from pipelines.engines.llm import llama_process
from pipelines.engines.llm.llama_process import Config
from pipelines.errors import LLMError
from pipelines.runtime.child_process import CHILDREN, ChildProcess

SERVER = "llama.cpp"
START_SECONDS = 60.0
"""A model that is not loaded by then never will be."""
_LAST_LINES = 8
"""Of what the process wrote before it ended, so much is told."""


class Llama(Protocol):
    """A running llama.cpp, whoever has started it."""

    url: str
    key: str
    """What requests must show."""
    device: str
    """Where it computes."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        ...

    @property
    def pid(self) -> int:
        """Its number in the operating system."""
        ...

    @property
    def last_words(self) -> str:
        """What it wrote before it ended, on one line."""
        ...

    async def gone(self) -> None:
        """Wait until it has ended."""
        ...

    async def end(self) -> None:
        """End it by force, and wait for that. Idempotent."""
        ...

    async def release(self) -> None:
        """Need it no more. Idempotent."""
        ...


class LlamaProcess:
    """One that is a child of this process: its address, and the task that waits for its end."""

    def __init__(self, process: ChildProcess, lines: deque[str], reader: asyncio.Task[None], key: str = "") -> None:
        self.key = key
        self._process = process
        self._lines = lines
        self._reader = reader
        self.url = ""
        self.device = "cpu"
        """Where it computes."""

    @classmethod
    async def spawn(cls, config: Config) -> LlamaProcess:
        """Start one and wait until it serves. Raises :class:`~pipelines.errors.LLMError` (``llm_unavailable``)."""
        process = await _begun()
        CHILDREN.add(process, SERVER)
        lines: deque[str] = deque(maxlen=_LAST_LINES)
        reader = asyncio.create_task(_keep_last(process.stderr, lines), name="llama-log")
        self = cls(process, lines, reader, config.key)
        try:
            process.stdin.write(f"{config.to_json()}\n".encode())
            async with asyncio.timeout(START_SECONDS):
                answer = await process.stdout.readline()
            told = json.loads(answer)
            self.url, self.device = str(told["url"]), str(told["device"])
        except BaseException as error:
            await self.end()
            if isinstance(error, asyncio.CancelledError):
                raise
            why = f"did not start within {START_SECONDS:g} s" if isinstance(error, TimeoutError) else self.last_words
            raise LLMError("llm_unavailable", f"{SERVER}: {Path(config.model).name}: {why}") from error
        return self

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        """Its number in the operating system."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """What it wrote before it ended, on one line."""
        told = " / ".join(line for line in self._lines if line)
        return told[-300:] or f"it ended with status {self._process.returncode}"

    async def gone(self) -> None:
        """Wait until it has ended."""
        await self._process.wait()
        CHILDREN.discard(self._process)

    async def end(self) -> None:
        """End it by force, which it does not mind, and wait for that. Idempotent."""
        self._process.kill()
        await self.gone()
        await asyncio.wait([self._reader])

    async def release(self) -> None:
        """As :meth:`end`: it is nobody else's."""
        await self.end()


async def _begun() -> ChildProcess:
    # Run as a script, away from the folder of the script, where other names might hide those of packages.
    try:
        return await ChildProcess.start((sys.executable, "-P", llama_process.__file__), errors=True)
    except OSError as error:
        raise LLMError("llm_unavailable", f"{SERVER} cannot be started: {error}") from error


async def _keep_last(stream: asyncio.StreamReader | None, lines: deque[str]) -> None:
    assert stream is not None
    with suppress(ValueError):  # a line longer than the reader's limit
        async for line in stream:
            lines.append(line.decode("utf-8", "replace").strip())
