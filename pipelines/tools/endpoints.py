"""HTTP endpoints as tools: one address that the operator has named, arguments in its path, its query or a JSON body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx2
from pydantic_core import to_json

from pipelines.interfaces.llm import Tool
from pipelines.tools.definition import PLACEHOLDER, Method
from pipelines.tools.server_tool import ArgumentCheck, ServerTool, ToolFailedError, ToolLimits, ToolResult

_MOST_REDIRECTS = 3
_BYTES_PER_CHARACTER = 4
_TEXTS = re.compile(r"text/|application/(.+\+)?(json|xml|yaml|x-yaml|javascript)|application/x-www-form-urlencoded")
"""Types of contents that a model can read."""
_SHOWN = 300
"""Characters of the body of a refusal."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a tool is, and how it is asked."""

    url: str
    """With ``{name}`` where an argument goes; never in its host."""
    method: Method = "POST"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Keys among them: they are sent to this host alone."""


def http_tool(
    tool: Tool, endpoint: Endpoint, client: httpx2.AsyncClient, limits: ToolLimits | None = None
) -> ServerTool:
    """``endpoint`` as a tool. Redirects are followed within its own scheme, host and port.

    Raises :class:`ValueError` for parameters that are no schema.
    """
    limits = limits or ToolLimits()
    check = ArgumentCheck(tool.parameters)

    async def call(arguments: dict[str, Any]) -> ToolResult:
        check.check(arguments)
        request = _request(client, endpoint, arguments)
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                response = await client.send(request, stream=True, follow_redirects=False)
                try:
                    if response.next_request is None:
                        return await _result(response, limits.characters)
                    request = _followed(request, response.next_request)
                finally:
                    await response.aclose()
            except httpx2.HTTPError as error:
                raise ToolFailedError(f"{request.url.host} cannot be asked ({type(error).__name__})") from error
        raise ToolFailedError(f"{request.url.host} sends from one address to another")

    host = httpx2.URL(PLACEHOLDER.sub("x", endpoint.url)).host
    return ServerTool(tool, call, f"{endpoint.method} {host}", limits)


def _request(client: httpx2.AsyncClient, endpoint: Endpoint, arguments: Mapping[str, Any]) -> httpx2.Request:
    left = dict(arguments)
    names = set(PLACEHOLDER.findall(endpoint.url))
    given = {name: left.pop(name) for name in names & left.keys()}
    if missing := sorted(names - given.keys()):
        raise ToolFailedError(f"wrong arguments: {', '.join(missing)} must be given")
    url = PLACEHOLDER.sub(lambda found: _in_address(found[1], given[found[1]]), endpoint.url)
    try:
        return _built(client, endpoint, url, left)
    except httpx2.InvalidURL as error:
        raise ToolFailedError("wrong arguments: they are too long for an address") from error


def _built(client: httpx2.AsyncClient, endpoint: Endpoint, url: str, left: Mapping[str, Any]) -> httpx2.Request:
    if endpoint.method in ("GET", "DELETE"):
        query = {name: _plain(value) for name, value in left.items() if value is not None}
        return client.build_request(endpoint.method, httpx2.URL(url).copy_merge_params(query), headers=endpoint.headers)
    return client.build_request(endpoint.method, url, json=left, headers=endpoint.headers)


def _in_address(name: str, value: Any) -> str:
    text = _plain(value)
    if text in ("", ".", ".."):
        raise ToolFailedError(f"wrong arguments: {name} must not be {text!r}")
    return quote(text, safe="")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value).decode()


def _followed(before: httpx2.Request, after: httpx2.Request) -> httpx2.Request:
    """The request that a redirect leads to, unless it leads elsewhere."""
    if (after.url.scheme, after.url.host, after.url.port) != (before.url.scheme, before.url.host, before.url.port):
        raise ToolFailedError(f"{before.url.host} sends to {after.url.host}, which is not asked")
    return after


async def _result(response: httpx2.Response, characters: int) -> ToolResult:
    kind = response.headers.get("content-type", "text/plain").partition(";")[0].strip().lower()
    if not _TEXTS.fullmatch(kind) and not kind.startswith("text/"):
        raise ToolFailedError(f"{response.url.host} answered with {kind[:60]}, which is no text")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ToolFailedError(f"{response.url.host} sends packed data though that is not asked for")
    data, most = b"", characters * _BYTES_PER_CHARACTER + 1
    async for part in response.aiter_bytes():
        data += part
        if len(data) >= most:
            break
    try:
        text = data[:most].decode(response.charset_encoding or "utf-8", "replace")
    except LookupError:  # an encoding that nobody knows
        text = data[:most].decode("utf-8", "replace")
    if response.is_success:
        return ToolResult(text.strip() or "done")
    return ToolResult(f"{response.url.host} answered {response.status_code}: {text[:_SHOWN]}".strip(), failed=True)
