"""How tools are written in YAML: which kinds there are, and what each takes. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from pipelines.routing.stage_types import Strict
from pipelines.text import header_value, unknown

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
NAME = r"^[a-zA-Z0-9_-]{1,64}$"
"""What model servers take for the name of a tool."""
PLACEHOLDER = re.compile(r"\{(\w+)\}")
"""In an address: an argument that goes there."""
MCP_REMEDY = "pip install '.[mcp]'"
_SECRET = re.compile(r"\$\{(\w*)\}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class _Limited(Strict):
    timeout: float = Field(10.0, gt=0, le=300)
    """Seconds that one call may take."""
    max_characters: int = Field(4_000, ge=1, le=100_000)
    """Of a result; what is longer loses its end."""


class FunctionSpec(_Limited):
    """A Python function."""

    kind: Literal["function"]
    function: str = Field(pattern=r"^([\w.]+|[^:]+\.py):[\w.]+$")
    """``module:function``, as Python imports the module, or ``file.py:function``, counted from the definition."""
    name: str = Field("", pattern=r"^[a-zA-Z0-9_-]{0,64}$")
    """What models call it; else the function's own name."""

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name or self.function.rpartition(":")[2]

    @property
    def what(self) -> str:
        """What it is, for people."""
        return f"function {self.function}"


class HttpSpec(_Limited):
    """An HTTP endpoint."""

    kind: Literal["http"]
    name: str = Field(pattern=NAME)
    description: str = Field(min_length=1, max_length=4_000)
    """What it does and when to use it, for models to read."""
    url: str
    """With ``{name}`` in the path or the query where an argument goes."""
    method: Method = "POST"
    """GET and DELETE have the other arguments in the query, the others in a JSON body."""
    headers: dict[str, str] = Field(default_factory=dict)
    """``${NAME}`` in a value is the secret of that name."""
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON schema of the arguments."""

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name

    @property
    def what(self) -> str:
        """What it is, for people; addresses may hold what is nobody's business."""
        return f"{self.method} {urlsplit(PLACEHOLDER.sub('x', self.url)).hostname}"

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return address(value)

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, str]) -> dict[str, str]:
        return headers(value)

    @model_validator(mode="after")
    def _knows_its_arguments(self) -> HttpSpec:
        known = self.parameters.get("properties", {})
        for name in PLACEHOLDER.findall(self.url):
            if not isinstance(known, Mapping) or name not in known:
                legal = sorted(known) if isinstance(known, Mapping) else []
                raise ValueError(f"url: {unknown('parameter', name, legal)}")
        return self


class McpSpec(_Limited):
    """A server of the Model Context Protocol with any number of tools."""

    kind: Literal["mcp"]
    name: str = Field(pattern=NAME)
    """What people call it."""
    command: tuple[str, ...] = ()
    """Starts it as a child process that speaks through its standard input and output …"""
    env: dict[str, str] = Field(default_factory=dict)
    """… with these variables beside the usual ones (``PATH``, ``HOME`` …); ``${NAME}`` is a secret, as in headers."""
    url: str | None = None
    """Or its address, where it speaks streamable HTTP."""
    headers: dict[str, str] = Field(default_factory=dict)
    only: tuple[str, ...] = ()
    """The tools that models are offered; all, if none is named."""

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name

    @property
    def what(self) -> str:
        """What it is, for people."""
        return f"mcp {self.command[0] if self.command else urlsplit(self.url or '').hostname}"

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and PLACEHOLDER.search(value):
            raise ValueError("takes no placeholders: the arguments of its tools go to the server")
        return value if value is None else address(value)

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, str]) -> dict[str, str]:
        return headers(value)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> McpSpec:
        if bool(self.command) == (self.url is not None):
            raise ValueError("give either command, which starts the server, or url, where it is")
        extra = self.headers if self.command else self.env
        if extra:
            raise ValueError("headers go with url, env goes with command")
        return self


ToolSpec = Annotated[FunctionSpec | HttpSpec | McpSpec, Field(discriminator="kind")]


class ToolsFile(Strict):
    """A file that holds nothing but tools."""

    tools: tuple[ToolSpec, ...] = Field(min_length=1)


def address(value: str) -> str:
    """``value``, if it is an address whose host stands fast. Raises :class:`ValueError` saying what is legal."""
    legal = "it must be http://HOST[:PORT]/PATH or the same with https, and {name} may stand behind the host only"
    plain = PLACEHOLDER.sub("x", value)
    try:
        parts = urlsplit(plain)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        same = urlsplit(value).netloc == parts.netloc
    except ValueError:
        sound = same = False
    if not sound or not same or re.search(r"[\s\x00-\x20\x7f]", value):
        raise ValueError(f"is no address: {legal}")
    if "@" in parts.netloc:
        raise ValueError("holds a user or a password: give them as a header, with ${NAME} for the secret")
    return value


def headers(value: dict[str, str]) -> dict[str, str]:
    """``value``, if it can be sent. Raises :class:`ValueError`, which repeats no value."""
    for name, text in value.items():
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if not text.isprintable() or not text.isascii():
            raise ValueError(f"{name}: must be printable ASCII")
    return value


def filled(texts: Mapping[str, str], field: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """``texts`` with the secrets in place of their names. Raises :class:`ValueError` naming one that is not there."""

    def secret(found: re.Match[str]) -> str:
        if found[1] not in secrets:
            raise ValueError(f"{field}: {unknown('secret', found[1], sorted(secrets))} (setting tool_secrets)")
        return header_value(secrets[found[1]]) if field == "headers" else secrets[found[1]]

    return {name: _SECRET.sub(secret, text) for name, text in texts.items()}
