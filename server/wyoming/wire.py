"""The wire format: a line of JSON, ``{"type", "data"?, "data_length"?, "payload_length"?}``, and the bytes behind it.

Data comes in the line, or as JSON behind it, or both; the payload is sound. Everything is read within bounds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from server.http.json_input import JsonInputError, read_json_object

LARGEST_LINE = 64 << 10
"""Bytes of an event's head."""
LARGEST_DATA = 256 << 10
"""Bytes of the JSON that may follow it."""
LARGEST_PAYLOAD = 1 << 20
"""Bytes; a second of sound has 32,000."""
_VERSION = "1.10.2"
"""Of the protocol, which is that of its package."""


class WyomingError(Exception):
    """What a client sent is not taken; told to it as an ``error``. ``code`` is for programs, the text for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BrokenWireError(WyomingError):
    """The same where nothing that follows can be understood."""

    def __init__(self, message: str) -> None:
        super().__init__("invalid_event", message)


@dataclass(frozen=True, slots=True)
class Event:
    """One message."""

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = b""


async def read_event(reader: asyncio.StreamReader, idle: float, seconds: float) -> Event | None:
    """The next message, or ``None`` when the client has left; ``reader`` has the limit :data:`LARGEST_LINE`.

    Its first byte may take ``idle`` seconds, the rest of it ``seconds``. Raises :class:`BrokenWireError`, and
    :class:`TimeoutError` for a client that says nothing.
    """
    async with asyncio.timeout(idle):
        first = await reader.read(1)
    if not first:
        return None
    try:
        async with asyncio.timeout(seconds):
            return await _rest(first, reader)
    except TimeoutError:
        raise BrokenWireError(f"an event did not arrive within {seconds:g} s") from None
    except asyncio.LimitOverrunError:
        raise BrokenWireError(f"the line of an event may have {LARGEST_LINE} bytes") from None
    except asyncio.IncompleteReadError:
        raise BrokenWireError("an event breaks off") from None
    except JsonInputError as error:
        raise BrokenWireError(str(error)) from error


async def _rest(first: bytes, reader: asyncio.StreamReader) -> Event:
    head = read_json_object(first + await reader.readuntil(b"\n") if first != b"\n" else first, "an event")
    kind, data = head.get("type"), head.get("data") or {}
    if not isinstance(kind, str):
        raise BrokenWireError("type: must be a text")
    if not isinstance(data, dict):
        raise BrokenWireError("data: must be an object")
    more = _length(head, "data_length", LARGEST_DATA)
    size = _length(head, "payload_length", LARGEST_PAYLOAD)
    if more:
        data = {**data, **read_json_object(await reader.readexactly(more), "data")}
    return Event(kind, data, await reader.readexactly(size) if size else b"")


def _length(head: Mapping[str, Any], name: str, most: int) -> int:
    value = head.get(name) or 0
    if type(value) is not int or not 0 <= value <= most:
        raise BrokenWireError(f"{name}: must be a whole number up to {most}")
    return value


def written(event: Event) -> bytes:
    """The message as it is sent."""
    head: dict[str, Any] = {"type": event.type, "version": _VERSION}
    data = json.dumps(event.data, ensure_ascii=False).encode("utf-8", "replace") if event.data else b""
    if data:
        head["data_length"] = len(data)
    if event.payload:
        head["payload_length"] = len(event.payload)
    return json.dumps(head).encode() + b"\n" + data + event.payload
