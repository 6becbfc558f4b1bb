"""An MCP server for tests, made by the package ``mcp``; run as a script it speaks through its standard input."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from typing import Any

from mcp.server.mcpserver import Context, Image, MCPServer

MORE = "A tool that came later."


def made() -> Any:
    """The server."""
    server = MCPServer("house")

    @server.tool()
    def add(a: int, b: int) -> str:
        """Adds two numbers."""
        return str(a + b)

    @server.tool()
    def long(size: int) -> str:
        """Says much."""
        return "x" * size

    @server.tool()
    def fail() -> str:
        """Fails."""
        raise ValueError("it is broken")

    @server.tool()
    def environment(name: str) -> str:
        """A variable of the process."""
        return os.environ.get(name, "not there")

    @server.tool()
    def picture() -> Image:
        """A picture."""
        return Image(data=base64.b64decode("iVBORw0KGgo="), format="png")

    @server.tool()
    async def hang() -> str:
        """Never answers."""
        await asyncio.Event().wait()
        return "never"

    @server.tool()
    def die() -> str:
        """Ends the process."""
        os._exit(3)

    @server.tool()
    def process() -> str:
        """Its number."""
        return str(os.getpid())

    @server.tool()
    async def grow(ctx: Context[Any, Any]) -> str:
        """Makes another tool."""

        def later() -> str:
            return "later"

        server.add_tool(later, description=MORE)
        await ctx.notify_tools_changed()
        return "grown"

    return server


if __name__ == "__main__":
    print("a line that is no message", flush=True)  # noqa: T201
    print("a line for the log", file=sys.stderr, flush=True)  # noqa: T201
    made().run()
