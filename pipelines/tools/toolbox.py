"""All tools that the server runs itself: made from what the definition says, and kept as long as the server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from pipelines.errors import DefinitionError
from pipelines.interfaces.llm import Tool
from pipelines.runtime.supervision import end
from pipelines.runtime.worker import Worker
from pipelines.tools.definition import MCP_REMEDY, FunctionSpec, HttpSpec, McpSpec, ToolSpec, filled
from pipelines.tools.endpoints import Endpoint, http_tool
from pipelines.tools.functions import function_tool
from pipelines.tools.server_tool import ServerTool, ToolLimits

if TYPE_CHECKING:
    from pipelines.tools.mcp_server import Connect, McpServer

log = logging.getLogger(__name__)

START_SECONDS = 5.0
"""How long the start waits for MCP servers; those that come later have their tools from then on."""
END_SECONDS = 3.0
"""How long connections and processes may take to end before they are let go."""
_THREADS, _WAITING = 4, 32
"""Functions that run at a time, and that may wait for that."""
_MOST_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Named:
    """A tool as it is written somewhere."""

    spec: ToolSpec
    file: Path
    place: str
    """In the file: ``tools.0``."""


@dataclass(eq=False, slots=True)
class Toolbox:
    """The tools. Make with :func:`build_toolbox`; the builder starts and closes it."""

    worker: Worker
    client: httpx2.AsyncClient
    fixed: list[ServerTool] = field(default_factory=list)
    """Functions and endpoints."""
    servers: list[McpServer] = field(default_factory=list)
    _keepers: list[asyncio.Task[None]] = field(default_factory=list)
    _hidden: set[str] = field(default_factory=set)
    """Names that have been told to be there twice."""

    def __call__(self) -> tuple[ServerTool, ...]:
        """Those that are there now. Of two of the same name the first is taken, which is told once."""
        found: dict[str, ServerTool] = {}
        for tool in (*self.fixed, *(tool for server in self.servers for tool in server.tools)):
            first = found.setdefault(tool.name, tool)
            if first is not tool and tool.name not in self._hidden:
                self._hidden.add(tool.name)
                log.warning("the tool %s of %s is hidden by that of %s", tool.name, tool.about, first.about)
        return tuple(found.values())

    async def start(self) -> None:
        """Look for the MCP servers, and wait a little for their first answers."""
        for server in self.servers:
            self._keepers.append(asyncio.create_task(server.keep(), name=f"mcp-{server.name}"))
        waits = [asyncio.create_task(server.tried.wait()) for server in self.servers]
        if waits:
            _, late = await asyncio.wait(waits, timeout=START_SECONDS)
            for task in late:
                task.cancel()

    def about(self) -> list[str]:
        """What there is, in words for people."""
        lines = [f"{tool.name}: {tool.about}" for tool in self.fixed]
        for server in self.servers:
            names = ", ".join(tool.name for tool in server.tools)
            lines.append(f"mcp {server.name}: {server.problem or names or 'no tools'}")
        return lines

    async def close(self) -> None:
        """End connections, processes and threads. Idempotent."""
        keepers, self._keepers = self._keepers, []
        await end(keepers, END_SECONDS)
        await self.client.aclose()
        self.worker.close()


def build_toolbox(
    named: Sequence[Named], secrets: Mapping[str, str], changed: Callable[[], object] = lambda: None
) -> Toolbox:
    """The tools of ``named``; those of MCP servers come with :meth:`Toolbox.start`. Blocking: modules are imported.

    ``changed`` is called on the event loop when there are others.

    Raises :class:`~pipelines.errors.DefinitionError` naming the file, the place in it and what is legal.
    """
    longest = max((one.spec.timeout for one in named if isinstance(one.spec, FunctionSpec)), default=1.0)
    box = Toolbox(
        Worker("tools", threads=_THREADS, inbox=_WAITING, limit=longest),
        httpx2.AsyncClient(
            timeout=None,  # each call has its own
            trust_env=False,
            limits=httpx2.Limits(max_connections=_MOST_CONNECTIONS),
            headers={"Accept-Encoding": "identity"},
            cookies=no_cookies(),
        ),
    )
    for one in named:
        try:
            _add(box, one, secrets, changed)
        except ValueError as error:
            box.worker.close()
            raise DefinitionError("definition_invalid", f"{one.file}: {one.place}: {error}") from error
    _refuse_twins(named, box)
    return box


def no_cookies() -> CookieJar:
    """A jar that keeps nothing: one client asks for all users, and what an endpoint knows one by is not another's."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


def _add(box: Toolbox, one: Named, secrets: Mapping[str, str], changed: Callable[[], object]) -> None:
    spec, folder = one.spec, one.file.parent
    limits = ToolLimits(spec.timeout, spec.max_characters)
    if isinstance(spec, FunctionSpec):
        box.fixed.append(function_tool(spec.function, box.worker, folder=folder, name=spec.name, limits=limits))
    elif isinstance(spec, HttpSpec):
        endpoint = Endpoint(spec.url, spec.method, filled(spec.headers, "headers", secrets))
        tool = Tool(spec.name, spec.description, spec.parameters)
        box.fixed.append(http_tool(tool, endpoint, box.client, limits))
    else:
        if find_spec("mcp") is None:
            raise ValueError(f"kind: mcp needs the package mcp: {MCP_REMEDY}")
        from pipelines.tools.mcp_server import McpServer

        connect = _connect(spec, folder, secrets)
        box.servers.append(McpServer(spec.name, connect, changed, limits, only=spec.only))


def _connect(spec: McpSpec, folder: Path, secrets: Mapping[str, str]) -> Connect:
    from mcp.client.streamable_http import streamable_http_client

    from pipelines.tools.mcp_process import child_transport

    env, headers = filled(spec.env, "env", secrets), filled(spec.headers, "headers", secrets)

    @asynccontextmanager
    async def over_http(url: str) -> AsyncGenerator[Any, None]:
        timeout = httpx2.Timeout(30.0, read=300.0)
        async with (
            httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=False) as client,
            streamable_http_client(url, http_client=client) as streams,
        ):
            yield streams

    def connect(on_end: Callable[[], object]) -> AbstractAsyncContextManager[Any]:
        return child_transport(spec.command, env, folder, on_end) if spec.url is None else over_http(spec.url)

    return connect


def _refuse_twins(named: Sequence[Named], box: Toolbox) -> None:
    seen: set[str] = set()
    for tool in box.fixed:
        if tool.name in seen:
            box.worker.close()
            file = named[0].file
            raise DefinitionError(
                "definition_invalid", f"{file}: tools: two are called {tool.name}: name one otherwise"
            )
        seen.add(tool.name)
