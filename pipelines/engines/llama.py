"""Language models in llama.cpp (https://github.com/ggml-org/llama.cpp), a child process of this one.

The package xllamacpp carries llama.cpp and its HTTP server. It runs in a process of its own
(:mod:`pipelines.engines.llama_process`): a crash of native code costs one answer, and none of its threads nor of its
memory is ours. What talks to it is the client for any OpenAI-compatible server.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path

from pipelines.children import CHILDREN
from pipelines.engines.chat_request import ChatOptions
from pipelines.engines.llama_process import Config
from pipelines.engines.openai_chat import OpenAIChat
from pipelines.errors import ThinkError
from pipelines.ports import ChatRequest, ToolCall, Usage

log = logging.getLogger(__name__)

SERVER = "llama.cpp"
START_SECONDS = 60.0
"""A model that is not loaded by then never will be."""
_LAST_LINES = 8
"""Of what the process wrote before it ended, so much is told."""
_RESTS = (0.0, 1.0, 5.0, 30.0)
"""Seconds after which a process that has ended is started again: the more often it ended, the later."""


class LlamaProcess:
    """A running llama.cpp: its address, and the task that waits for its end."""

    def __init__(self, process: asyncio.subprocess.Process, lines: deque[str], reader: asyncio.Task[None]) -> None:
        self._process = process
        self._lines = lines
        self._reader = reader
        self.url = ""

    @classmethod
    async def spawn(cls, config: Config) -> LlamaProcess:
        """Start one and wait until it serves. Raises :class:`~pipelines.errors.ThinkError` (``llm_unavailable``)."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pipelines.engines.llama_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        CHILDREN.add(process)
        lines: deque[str] = deque(maxlen=_LAST_LINES)
        reader = asyncio.create_task(_keep_last(process.stderr, lines), name="llama-log")
        self = cls(process, lines, reader)
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{config.to_json()}\n".encode())
            async with asyncio.timeout(START_SECONDS):
                answer = await process.stdout.readline()
            self.url = str(json.loads(answer)["url"])
        except BaseException as error:
            await self.end()
            if isinstance(error, asyncio.CancelledError):
                raise
            why = f"did not start within {START_SECONDS:g} s" if isinstance(error, TimeoutError) else self.last_words
            raise ThinkError("llm_unavailable", f"{SERVER}: {Path(config.model).name}: {why}") from error
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
        with suppress(ProcessLookupError):
            self._process.kill()
        await self.gone()
        await asyncio.wait([self._reader])


async def _keep_last(stream: asyncio.StreamReader | None, lines: deque[str]) -> None:
    assert stream is not None
    with suppress(ValueError):  # a line longer than the reader's limit
        async for line in stream:
            lines.append(line.decode("utf-8", "replace").strip())


class LlamaChat:
    """Implements :class:`~pipelines.ports.LanguageModel` on a GGUF file.

    The process is started by :meth:`warm` or the first request, and again when it has ended. Each conversation finds
    its prompt cache by the beginning of its prompt (llama.cpp's own choice of a slot).
    """

    def __init__(
        self,
        name: str,
        config: Config,
        *,
        options: ChatOptions | None = None,
        on_usage: Callable[[Usage], None] | None = None,
    ) -> None:
        self.name = f"{SERVER} {name}"
        self.restarts = 0
        """How often the process has been started again."""
        self._model = name
        self._config = config
        self._options = options or ChatOptions()
        self._on_usage = on_usage
        self._starting = asyncio.Lock()
        self._process: LlamaProcess | None = None
        self._chat: OpenAIChat | None = None
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process, if it runs."""
        return self._process.pid if self._process is not None and self._process.alive else None

    async def warm(self) -> None:
        """Start the process. Raises :class:`~pipelines.errors.ThinkError` (``llm_unavailable``)."""
        await self._running()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ToolCall, None]:
        """Yield the answer. Raises :class:`~pipelines.errors.ThinkError` as the client of a server does, and
        ``llm_unavailable`` when the process cannot be started."""
        chat = await self._running()
        async with aclosing(chat.stream(request)) as pieces:
            async for piece in pieces:
                yield piece

    async def close(self) -> None:
        """End the process. Idempotent."""
        self._closed = True
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.wait([watch])
        process, self._process = self._process, None
        if process is not None:
            await process.end()
        if self._chat is not None:
            await self._chat.close()

    async def _running(self) -> OpenAIChat:
        async with self._starting:
            if self._closed:
                raise ThinkError("llm_unavailable", f"{self.name} has been closed")
            if self._chat is None or self._process is None or not self._process.alive:
                await self._start()
            assert self._chat is not None
            return self._chat

    async def _start(self) -> None:
        before, self._chat = self._chat, None
        if before is not None:
            await before.close()
        config = replace(self._config, key=secrets.token_hex(16))
        self._process = process = await LlamaProcess.spawn(config)
        self._chat = OpenAIChat(
            f"{process.url}/v1",
            self._model,
            api_key=config.key,
            server=SERVER,
            options=self._options,
            on_usage=self._on_usage,
        )
        if self._watch is None:
            self._watch = asyncio.create_task(self._keep_running(), name="llama")

    async def _keep_running(self) -> None:
        """Start it again when it has ended, so that the next turn need not wait for that."""
        while True:
            process = self._process
            if process is not None and process.alive:
                await process.gone()
                log.warning("%s has ended: %s", self.name, process.last_words)
            await asyncio.sleep(_RESTS[min(self.restarts, len(_RESTS) - 1)])
            self.restarts += 1
            try:
                await self._running()
            except ThinkError as error:
                log.warning("%s", error)
