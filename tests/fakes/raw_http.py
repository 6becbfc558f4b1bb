"""A client that sends any bytes, as no HTTP library would, and judges what comes back."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from tests.patience import PATIENCE

STATUS = re.compile(rb"^HTTP/\d\.\d (\d{3})")
AT_A_TIME = 16
QUIET_SECONDS = 0.3


def address_of(url: str) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


async def ask(host: str, port: int, raw: bytes, patience: float = PATIENCE, *, complete: bool = False) -> bytes | None:
    """All that the server sends for these bytes; ``None`` when it neither answered nor hung up in time.

    Of a ``complete`` request the answer is waited for: a server is right to give up a client that hangs up before.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        async with asyncio.timeout(patience):
            received = bytearray()
            with suppress(ConnectionError):
                writer.write(raw)
                await writer.drain()
                if complete:
                    received += await reader.read(65536)
                while block := await _read(reader, writer):
                    received += block
            return bytes(received)
    except TimeoutError:
        return None
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """What comes next. A server that waits for more is told that there is no more."""
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            return await reader.read(65536)
    except TimeoutError:
        writer.write_eof()
        return await reader.read(65536)


def judge(answer: bytes | None) -> tuple[str, bool]:
    """The status (``hung up``, ``silent``) and whether it is as it must be: no 5xx, errors in our one shape."""
    if answer is None:
        return "silent", False
    found = STATUS.match(answer)
    if found is None:
        return "hung up", not answer
    status = int(found[1])
    if status < 400:
        return str(status), True
    if not answer.partition(b"\r\n\r\n")[2]:  # HEAD
        return str(status), status < 500
    shaped = set(error_in(answer) or ()) == {"message", "type", "code", "param"}
    return f"{status}" + ("" if shaped else " in another shape"), shaped and status < 500


def error_in(answer: bytes | None) -> dict[str, Any] | None:
    """The error of a response in the common shape; ``None`` when it is in another."""
    head, _, body = (answer or b"").partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    try:
        error = json.loads(body[: int(length[1])] if length else body)["error"]
    except (ValueError, KeyError, TypeError):
        return None
    return error if isinstance(error, dict) else None


async def attack(host: str, port: int, cases: Iterable[tuple[str, bytes]]) -> tuple[Counter[str], list[str]]:
    """Send all; count what came, and show what should not have."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    remaining = iter(cases)

    async def lane() -> None:
        for kind, raw in remaining:
            answer = await ask(host, port, raw)
            status, right = judge(answer)
            counts[status] += 1
            if not right:
                wrong.append(f"{status}: {kind}: {raw[:160]!r} → {(answer or b'')[:120]!r}")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(lane())
    return counts, wrong
