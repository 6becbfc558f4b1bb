"""Servers of the Model Context Protocol (https://modelcontextprotocol.io): their tools, as long as they are there.

A server that is away costs its tools and never an answer: it is looked for again and again, the later the longer.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import mcp_types
from mcp import Client, MCPError
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from pydantic import ValidationError

from media.clock import Clock, MonotonicClock
from pipelines.errors import listed
from pipelines.interfaces.llm import Image, Tool
from pipelines.runtime.supervision import end
from pipelines.tools.server_tool import ArgumentCheck, ServerTool, ToolFailedError, ToolLimits, ToolResult

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
"""How often is looked whether a server is still there, and what tools it has."""
ANSWER_SECONDS = 10.0
"""How long it may take to say so."""
FIRST_REST, LONGEST_REST = 1.0, 60.0
"""Seconds before a server that is away is looked for again: twice as long each time."""
END_SECONDS = 1.0
"""How long a part of the client may take to end before it is let go."""
MOST_TOOLS = 128
"""Of one server; the others are left out."""
_LONGEST_DESCRIPTION = 4_000
_LARGEST_IMAGE = 4 << 20
"""Bytes."""

Connect = Callable[[Callable[[], object]], AbstractAsyncContextManager[Any]]
"""Makes a transport of the package ``mcp``; what it is given is called when the connection ends by itself."""


class McpServer:
    """One server. :meth:`keep` is its owner's task; ``changed`` is called when it has other tools, or none any more."""

    def __init__(
        self,
        name: str,
        connect: Connect,
        changed: Callable[[], object],
        limits: ToolLimits | None = None,
        *,
        only: tuple[str, ...] = (),
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.tools: tuple[ServerTool, ...] = ()
        self.problem = "it has not answered yet"
        """Why it has no tools; empty while it is there."""
        self.tried = asyncio.Event()
        """Set once it has answered, or has failed to."""
        self._connect = connect
        self._changed = changed
        self._limits = limits or ToolLimits()
        self._only = only
        self._clock = clock or MonotonicClock()
        self._missing: tuple[str, ...] = ()
        """Names in ``only`` that it has no tools of."""
        self._client: Client | None = None
        self._stale = asyncio.Event()
        """Something has happened that may mean other tools, or the end."""

    async def keep(self) -> None:
        """Stay connected until cancelled."""
        rest = FIRST_REST
        while True:
            began = self._clock.now()
            try:
                await self._serve()
            except Exception as error:  # noqa: BLE001 - whatever a foreign server makes of the protocol
                self._lost(error)
            if self._clock.now() - began > LONGEST_REST:
                rest = FIRST_REST
            await self._clock.sleep(rest)
            rest = min(2 * rest, LONGEST_REST)

    async def _serve(self) -> None:
        """Connect, and look after the tools until the connection ends, which raises."""
        self._stale.clear()
        client = Client(
            self._connect(self._stale.set),
            read_timeout_seconds=max(ANSWER_SECONDS, self._limits.seconds),
            message_handler=self._heard,
            cache=None,
        )
        try:
            async with client:
                listening = asyncio.create_task(self._listen(client), name=f"mcp-{self.name}")
                try:
                    while True:
                        tools = await self._list(client)
                        self._client = client
                        self._found(tools)
                        with suppress(TimeoutError):
                            async with asyncio.timeout(LOOK_SECONDS):
                                await self._stale.wait()
                        self._stale.clear()
                finally:
                    await end([listening], END_SECONDS)
        finally:
            self._client, self.tools = None, ()

    def _found(self, tools: tuple[ServerTool, ...]) -> None:
        before, self.tools = self.tools, tools
        news = self.problem != "" or [tool.tool for tool in before] != [tool.tool for tool in tools]
        self.problem = ""
        self.tried.set()
        if news:
            log.info("mcp %s has %d tools", self.name, len(tools))
            self._changed()

    def _tell_missing(self, there: tuple[str, ...]) -> None:
        """Tell once which names in ``only`` the server has no tool of: one may be mistyped."""
        missing = tuple(name for name in self._only if name not in there)
        if missing and missing != self._missing:
            told = (self.name, listed(missing), listed(there) or "none")
            log.warning("mcp %s has no tool %s, which only names; it has %s", *told)
        self._missing = missing

    def _lost(self, error: Exception) -> None:
        told = _words(error)
        if told != self.problem:
            log.warning("mcp %s is away: %s", self.name, told)
        news = bool(self.tools) or told != self.problem
        self.tools, self.problem = (), told
        self.tried.set()
        if news:
            self._changed()

    async def _heard(self, message: Any) -> None:
        """A message that is no answer: before 2026 servers tell so of other tools."""
        if isinstance(message, mcp_types.ToolListChangedNotification):
            self._stale.set()

    async def _listen(self, client: Client) -> None:
        """Since 2026 clients subscribe to that. Where it cannot be had, it is looked every now and then."""
        with suppress(ListenNotSupportedError, SubscriptionLost, MCPError, TimeoutError):
            async with client.listen(tools_list_changed=True) as events:
                async for _ in events:
                    self._stale.set()

    async def _list(self, client: Client) -> tuple[ServerTool, ...]:
        found: list[Any] = []
        cursor: str | None = None
        async with asyncio.timeout(ANSWER_SECONDS):
            while len(found) < MOST_TOOLS:
                page = await client.list_tools(cursor=cursor)
                found += page.tools
                cursor = page.next_cursor
                if not cursor or not page.tools:
                    break
        self._tell_missing(tuple(one.name for one in found))
        made = (self._tool(one) for one in found[:MOST_TOOLS] if not self._only or one.name in self._only)
        return tuple(tool for tool in made if tool is not None)

    def _tool(self, given: Any) -> ServerTool | None:
        try:
            check = ArgumentCheck(given.input_schema)
        except ValueError as error:
            log.warning("mcp %s: the tool %s is left out: its schema %s", self.name, given.name, error)
            return None

        async def call(arguments: dict[str, Any]) -> ToolResult:
            check.check(arguments)
            return await self._call(given.name, arguments)

        name = re.sub(r"[^a-zA-Z0-9_-]", "_", given.name)[:64]
        described = (given.description or given.title or "")[:_LONGEST_DESCRIPTION]
        return ServerTool(Tool(name, described, given.input_schema), call, f"mcp {self.name}", self._limits)

    async def _call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        client = self._client
        if client is None:
            raise ToolFailedError(f"{self.name} is away at present")
        try:
            return _result(await client.call_tool(name, arguments))
        except MCPError as error:
            self._stale.set()  # it may be gone
            raise ToolFailedError(f"{self.name}: {error.message}") from error
        except ValidationError as error:
            # not its words: what was brought stands in them
            log.warning("mcp %s: what %s brought is no result (faults: %d)", self.name, name, error.error_count())
            raise ToolFailedError(f"{self.name} answered with what is no result") from error


def _result(result: Any) -> ToolResult:
    """What a model reads of a result."""
    texts: list[str] = []
    images: list[Image] = []
    for part in result.content:
        if isinstance(part, mcp_types.TextContent):
            texts.append(part.text)
        elif isinstance(part, mcp_types.ImageContent) and (image := _image(part)) is not None:
            images.append(image)
            texts.append("[a picture]")
        elif isinstance(part, mcp_types.EmbeddedResource) and isinstance(part.resource, mcp_types.TextResourceContents):
            texts.append(part.resource.text)
        else:
            texts.append(f"[{part.type}: not shown]")
    return ToolResult("\n".join(texts) or "done", failed=bool(result.is_error), images=tuple(images))


def _image(part: Any) -> Image | None:
    if part.mime_type not in ("image/jpeg", "image/png") or len(part.data) > _LARGEST_IMAGE * 4 // 3:
        return None
    try:
        return Image(base64.b64decode(part.data, validate=True), part.mime_type)
    except (binascii.Error, ValueError):
        return None


def _words(error: Exception) -> str:
    """What is told of a failure, that of the first of a group."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return " ".join(str(error).split())[:300] or type(error).__name__
