"""One llama.cpp for several processes of a server: a host starts it, and the processes borrow it over a Unix socket.

A borrower connects, writes its :class:`~pipelines.engines.llm.llama_process.Config` as one line of JSON and reads one
line: ``{"url", "device", "key", "pid"}`` or ``{"error"}``. The connection is the loan: who closes it gives it back, and
when llama.cpp ends the host closes it. A line ``end`` asks for the end of a process that hangs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.engines.llm.llama_child import SERVER, START_SECONDS, LlamaProcess
from pipelines.engines.llm.llama_process import Config
from pipelines.errors import LLMError

log = logging.getLogger(__name__)

LINGER_SECONDS = 20.0
"""For which a process runs on that nobody has borrowed: the next worker may be about to start."""
_LONGEST_LINE = 1 << 20
_END = b"end\n"


class BorrowedLlama:
    """Implements :class:`~pipelines.engines.llm.llama_child.Llama` on a process that somebody else has started."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, told: dict[str, str]) -> None:
        self.url, self.device, self.key = told["url"], told["device"], told["key"]
        self.pid = int(told["pid"])
        self.last_words = "it is shared, and its host has the details"
        self._writer = writer
        self._end = asyncio.create_task(_until_closed(reader, writer), name="llama-loan")

    @classmethod
    async def borrow(cls, host: Path, config: Config) -> BorrowedLlama:
        """From the host at this socket. Raises :class:`~pipelines.errors.LLMError` (``llm_unavailable``)."""
        try:
            async with asyncio.timeout(START_SECONDS):
                reader, writer = await asyncio.open_unix_connection(str(host), limit=_LONGEST_LINE)
                try:
                    writer.write(config.to_json().encode() + b"\n")
                    told = json.loads(await reader.readline())
                except BaseException:
                    writer.close()
                    raise
        except (OSError, TimeoutError, ValueError) as error:
            raise LLMError("llm_unavailable", f"{SERVER}: its host does not answer: {error!r}") from error
        if "error" in told:
            writer.close()
            raise LLMError("llm_unavailable", str(told["error"]))
        return cls(reader, writer, told)

    @property
    def alive(self) -> bool:
        """Whether it runs, and is ours to use."""
        return not self._end.done()

    async def gone(self) -> None:
        """Wait until it has ended, or the loan has."""
        await asyncio.wait([self._end])

    async def end(self) -> None:
        """Have it ended: it hangs. The others lose it, too."""
        with suppress(OSError):
            self._writer.write(_END)
            await self._writer.drain()
        await self.gone()

    async def release(self) -> None:
        """Give it back. Idempotent."""
        self._writer.close()
        await self.gone()


async def _until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await reader.read()
    writer.close()


@dataclass(slots=True)
class _Lent:
    process: LlamaProcess
    loans: int = 0
    leaving: asyncio.TimerHandle | None = None


class LlamaHost:
    """Starts a process for each configuration that is asked for, with room for ``sharers`` borrowers and so many
    ``threads`` in place of those that a borrower would take, and lends it."""

    def __init__(
        self, sharers: int, threads: int, spawn: Callable[[Config], Awaitable[LlamaProcess]] = LlamaProcess.spawn
    ) -> None:
        self._sharers = sharers
        self._threads = threads
        self._spawn = spawn
        self._lent: dict[str, _Lent] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        """Lend at this socket."""
        self._server = await asyncio.start_unix_server(self._connected, str(path), limit=_LONGEST_LINE)

    async def close(self) -> None:
        """End all loans and processes. Idempotent."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for lent in self._lent.values():
            if lent.leaving is not None:
                lent.leaving.cancel()
            await lent.process.end()
        self._lent.clear()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: one of asyncio's that is cancelled is told to the log as an error (Python 3.11).
        task = asyncio.create_task(self._serve(reader, writer), name="llama-loan")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._lend(reader, writer)
        except (OSError, ValueError) as error:
            log.warning("a borrower of %s has left: %s", SERVER, error)
        finally:
            writer.close()

    async def _lend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        config = Config(**json.loads(await reader.readline()))
        name = replace(config, key="").to_json()
        try:
            lent = await self._running(name, config)
        except LLMError as error:
            writer.write(json.dumps({"error": error.message}).encode() + b"\n")
            await writer.drain()
            return
        lent.loans += 1
        try:
            process = lent.process
            told = {"url": process.url, "device": process.device, "key": process.key, "pid": process.pid}
            writer.write(json.dumps(told).encode() + b"\n")
            await writer.drain()
            await self._on_loan(process, reader)
        finally:
            lent.loans -= 1
            if not lent.loans:
                loop = asyncio.get_running_loop()
                lent.leaving = loop.call_later(LINGER_SECONDS, self._dismiss, name)

    async def _running(self, name: str, config: Config) -> _Lent:
        async with self._locks.setdefault(name, asyncio.Lock()):
            lent = self._lent.get(name)
            if lent is not None and not lent.process.alive:
                await lent.process.end()  # gives its pipes back
            if lent is None or not lent.process.alive:
                many = replace(
                    config,
                    key=secrets.token_hex(16),
                    threads=self._threads,
                    threads_batch=self._threads,
                    slots=config.slots * self._sharers,
                    context=config.context * self._sharers,
                    cache_mib=config.cache_mib * self._sharers,
                )
                lent = self._lent[name] = _Lent(await self._spawn(many))
            if lent.leaving is not None:
                lent.leaving.cancel()
                lent.leaving = None
            return lent

    async def _on_loan(self, process: LlamaProcess, reader: asyncio.StreamReader) -> None:
        """Until the borrower or the process is gone."""
        asked = asyncio.create_task(reader.readline(), name="llama-borrower")
        gone = asyncio.create_task(process.gone(), name="llama-gone")
        try:
            await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done() and not gone.done() and asked.exception() is None and asked.result() == _END:
                log.warning("a borrower says that %s hangs", SERVER)
                await process.end()
        finally:
            for task in (asked, gone):
                task.cancel()
            await asyncio.gather(asked, gone, return_exceptions=True)

    def _dismiss(self, name: str) -> None:
        lent = self._lent.get(name)
        if lent is not None and not lent.loans:
            del self._lent[name]
            task = asyncio.create_task(lent.process.end(), name="llama-end")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
