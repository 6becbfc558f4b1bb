"""A tool that the server runs itself: what a call of it costs at most, and what becomes of one that fails.

Whatever a model writes and whatever a tool does, a call ends in a result that the model can read.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import from_json

from pipelines.errors import PipelineError
from pipelines.interfaces.llm import Image, Tool
from pipelines.runtime.supervision import end
from pipelines.text import mended

log = logging.getLogger(__name__)

LONGEST_ARGUMENTS = 1 << 16
"""Characters of the arguments of one call."""
MOST_RUNNING = 64
"""Calls of one tool at a time."""
END_SECONDS = 1.0
"""What a call may take to end before it is let go."""
_MOST_PROBLEMS = 3
"""Of wrong arguments that are told at a time."""
_SHOWN = 200
"""Characters of one of them."""


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """What one call may take."""

    seconds: float = 10.0
    characters: int = 4_000
    """Of its result; what is longer loses its end."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call has brought, for the model to read."""

    text: str
    failed: bool = False
    images: tuple[Image, ...] = ()
    """What it shows to models that take pictures."""


class ToolFailedError(Exception):
    """A call has brought nothing; the message tells the model why."""


Call = Callable[[dict[str, Any]], Awaitable[ToolResult]]
"""Runs a tool with arguments. May raise :class:`ToolFailedError`; whatever else it raises is a defect of the tool."""


class ServerTool:
    """``tool`` as models are offered it, and ``call``, which runs it. ``about`` tells people what it is."""

    def __init__(self, tool: Tool, call: Call, about: str, limits: ToolLimits | None = None) -> None:
        self.tool = tool
        self.about = about
        self.limits = limits or ToolLimits()
        self._call = call
        self._running: set[asyncio.Task[ToolResult]] = set()
        """Those among them that could not be ended stay here until they end."""

    @property
    def name(self) -> str:
        """How models call it."""
        return self.tool.name

    async def run(self, arguments: str) -> ToolResult:
        """The result of a call with ``arguments``, a JSON object as text. Raises nothing but a cancellation."""
        try:
            result = await self._bounded(read_arguments(arguments))
        except ToolFailedError as error:
            result = ToolResult(str(error), failed=True)
        except PipelineError as error:
            result = ToolResult(error.message, failed=True)
        except Exception as error:
            log.exception("the tool %s failed", self.name, extra={"withheld": True})  # it may quote its arguments
            result = ToolResult(f"{self.name} failed unexpectedly ({type(error).__name__})", failed=True)
        return replace(result, text=_within(mended(result.text), self.limits.characters))

    async def _bounded(self, arguments: dict[str, Any]) -> ToolResult:
        """The result of the call, which is waited for no longer than it may take, even if it cannot be ended."""
        if len(self._running) >= MOST_RUNNING:
            raise ToolFailedError(f"{MOST_RUNNING} calls of {self.name} are being carried out already")
        call = asyncio.create_task(self._called(arguments), name=f"tool-{self.name}")
        self._running.add(call)
        call.add_done_callback(self._ended)
        try:
            await asyncio.wait([call], timeout=self.limits.seconds)
            in_time = call.done()
        finally:
            await end([call], END_SECONDS)
        if not in_time:
            log.warning("the tool %s did not answer within %g s", self.name, self.limits.seconds)
            raise ToolFailedError(f"{self.name} did not answer within {self.limits.seconds:g} seconds")
        if call.cancelled():  # by itself
            raise ToolFailedError(f"{self.name} ended without a result")
        return call.result()

    def _ended(self, call: asyncio.Task[ToolResult]) -> None:
        self._running.discard(call)
        if not call.cancelled():
            call.exception()  # of one that nobody waits for it has been seen herewith

    async def _called(self, arguments: dict[str, Any]) -> ToolResult:
        return await self._call(arguments)


def read_arguments(text: str) -> dict[str, Any]:
    """The object that ``text`` is. Raises :class:`ToolFailedError`."""
    if len(text) > LONGEST_ARGUMENTS:
        raise ToolFailedError(f"the arguments have more than {LONGEST_ARGUMENTS} characters")
    try:
        value = from_json(text, allow_inf_nan=False) if text.strip() else {}
        json.dumps(value, allow_nan=False)  # 1e999 is read as infinity, which nobody can be sent
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ToolFailedError("the arguments must be one JSON object")
    return value


class ArgumentCheck:
    """Holds arguments to a JSON ``schema``, whose references stay within it: nothing is ever fetched.

    Raises :class:`ValueError` for what is no schema.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        from jsonschema import SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry
        from referencing.exceptions import Unresolvable

        kind = validator_for(schema)
        try:
            kind.check_schema(schema)
        except SchemaError as error:
            raise ValueError(f"is no JSON schema: {error.message[:_SHOWN]}") from None
        self._validator = kind(schema, registry=Registry())
        self._unreadable = (Unresolvable, RecursionError, OverflowError)  # the last: numbers too large to be divided

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise :class:`ToolFailedError` naming what is wrong with ``arguments``."""
        problems = list[str]()
        try:
            for error in self._validator.iter_errors(arguments):
                place = ".".join(map(str, error.absolute_path))
                problems.append(f"{place}: {error.message}"[:_SHOWN] if place else error.message[:_SHOWN])
                if len(problems) == _MOST_PROBLEMS:
                    break
        except self._unreadable as error:
            raise ToolFailedError(f"the schema of the arguments cannot be read ({type(error).__name__})") from error
        if problems:
            raise ToolFailedError(f"wrong arguments: {'; '.join(problems)}")


def _within(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} … (cut: it has {len(text)} characters)"
