"""The body of a streamed chat completion → events, whatever the pieces it comes in. Pure.

Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) as servers really write them:
lines that end in ``\\n``, ``\\r\\n`` or ``\\r``, comments, a last event without its blank line, and in place of events
one JSON object, or one on each line. The libraries for this read from a connection of their own (``httpx-sse``,
``aiohttp-sse-client``) or block (``sseclient-py``), keep to events, and drop the last one: sixty lines that are given
bytes fit better.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """What a server has sent."""

    kind: str
    """Its ``event`` field; ``message`` where there is none, ``error`` also for a field of that name (llama.cpp)."""
    data: bytes


class EventStream:
    """Bytes → events."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._begun = self._returned = False
        """Whether anything has come, and whether the last byte was a carriage return."""
        self._kind = "message"
        self._data: list[bytes] = []
        self._json: list[bytes] = []
        """Lines of an object that is no event."""

    @property
    def pending(self) -> int:
        """Bytes of an event that is not complete."""
        return len(self._line) + sum(map(len, self._data)) + sum(map(len, self._json))

    def push(self, data: bytes) -> Iterator[Event]:
        """Yield the events that ``data`` completes."""
        if not data:
            return
        if self._returned and data.startswith(b"\n"):
            data = data[1:]
        self._returned = data.endswith(b"\r") if data else False
        *lines, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._line += line
            complete, self._line = bytes(self._line), bytearray()
            yield from self._take(complete)
        self._line += rest

    def flush(self) -> Iterator[Event]:
        """The body has ended: yield what is left, complete or not."""
        rest, self._line = bytes(self._line), bytearray()
        if rest:
            yield from self._take(rest)
        if self._json:
            whole, self._json = b"\n".join(self._json), []
            yield Event("message", whole)
        yield from self._dispatch()

    def _take(self, line: bytes) -> Iterator[Event]:
        if not self._begun:
            self._begun, line = True, line.removeprefix(_BYTE_ORDER_MARK)
        if self._json or line.lstrip()[:1] == b"{":
            yield from self._dispatch()
            yield from self._object(line)
        elif line:
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name in (b"data", b"error"):
                self._data.append(value)
            if name in (b"event", b"error"):
                self._kind = "error" if name == b"error" else value.decode("utf-8", "replace").strip()
        else:
            yield from self._dispatch()

    def _object(self, line: bytes) -> Iterator[Event]:
        """A line of JSON where there should be a field: an event of its own, or the beginning of one."""
        if not self._json and is_json(line):
            yield Event("message", line)
        else:
            self._json.append(line)

    def _dispatch(self) -> Iterator[Event]:
        kind, self._kind = self._kind, "message"
        if self._data:
            event, self._data = b"\n".join(self._data), []
            yield Event(kind, event)


def is_json(text: bytes) -> bool:
    """Whether ``text`` is one complete JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
