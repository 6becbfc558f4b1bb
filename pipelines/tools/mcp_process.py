"""An MCP server as a child process: messages as lines of JSON through its standard input and output.

What the package's own ``stdio_client`` does, but for the start: that forks under uvloop, which may never end
(:mod:`pipelines.runtime.child_process`). https://modelcontextprotocol.io/specification/2025-11-25/basic/transports
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import mcp_types
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage

from pipelines.runtime.child_process import CHILDREN, ChildProcess

_LONGEST_LINE = 8 << 20
"""Bytes of one message; a server that sends a longer one is let go."""
_END_SECONDS = 2.0
"""How long a process may take to end once nobody speaks to it."""


@asynccontextmanager
async def child_transport(
    command: Sequence[str], env: Mapping[str, str], folder: Path, on_end: Callable[[], object]
) -> AsyncGenerator[tuple[Any, Any], None]:
    """The two streams of messages of a process that runs in ``folder`` until the end of the context.

    ``on_end`` is called when it ends by itself. Raises :class:`OSError`.
    """
    environment = get_default_environment() | dict(env)
    process = await ChildProcess.start(command, longest_line=_LONGEST_LINE, errors=True, env=environment, folder=folder)
    CHILDREN.add(process, "tools")
    into, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, out_of = anyio.create_memory_object_stream[SessionMessage](0)

    async def read() -> None:
        async with into:
            with suppress(ValueError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                async for line in process.stdout:
                    with suppress(ValueError):  # servers that print something beside their messages
                        await into.send(SessionMessage(_message(line)))
        on_end()

    async def write() -> None:
        async with out_of:
            with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                async for sent in out_of:
                    text = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                    process.stdin.write(text.encode() + b"\n")
                    await process.stdin.drain()

    try:
        async with anyio.create_task_group() as group:
            for work in (read, write, lambda: _pass_over(process)):
                group.start_soon(work)
            try:
                yield incoming, outgoing
            finally:
                group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)
        for stream in (into, incoming, outgoing, out_of):
            stream.close()


def _message(line: bytes) -> Any:
    return mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)


async def _pass_over(process: ChildProcess) -> None:
    """Read what it writes beside its messages, so that it does not wait; no log holds it: servers write down calls."""
    assert process.stderr is not None
    with suppress(ValueError):  # a line that is too long
        async for _ in process.stderr:
            pass


async def _end(process: ChildProcess) -> None:
    """Its input ends; if it does not end then, by force."""
    CHILDREN.discard(process)
    process.stdin.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    process.kill()
    await process.wait()
