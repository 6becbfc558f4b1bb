"""A port that speaks TLS: who comes is let in, greeted in TLS, and handed on; who speaks plain HTTP is sent to https.

Everything a connection may do before its first byte of HTTP is bounded here: how many are being greeted at a time, and
for how long.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from server.admission import Doors
from server.http.errors import error_body, error_bytes
from server.http.origins import parse_authority
from server.http.request_ids import X_REQUEST_ID, new_request_id

log = logging.getLogger(__name__)

_HANDSHAKE = b"\x16"
"""First byte of a connection that speaks TLS (RFC 8446, 5.1)."""
_HEAD_BYTES = 8192
EVERYWHERE = "::"
"""The host that means every address of this machine, of IPv4 as well."""
_PAUSE_SECONDS = 1.0
"""After an accept that failed, mostly for want of file descriptors."""
_CLOSE_SECONDS = 1.0
_LINE = re.compile(rb"(GET|HEAD) (/[\x21-\x7e]*) HTTP/1\.[01]\r\n")
_HOST = re.compile(rb"\r\nHost:[ \t]*(\S+)[ \t]*\r\n", re.IGNORECASE)


class TlsListener:
    """Listens on every address of a host."""

    def __init__(
        self, factory: Callable[[], asyncio.Protocol], context: ssl.SSLContext, doors: Doors, seconds: float
    ) -> None:
        """``doors`` counts those that are being greeted; ``seconds``: for the greeting."""
        self._factory = factory
        self._context = context
        self._doors = doors
        self._seconds = seconds
        self._listening: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first."""
        host, port = self._listening[0].getsockname()[:2]
        return host, port

    async def start(self, host: str, port: int, backlog: int) -> None:
        """Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                if host == EVERYWHERE:
                    listening = both_families(port)
                    self._listening.append(listening)
                else:
                    listening = socket.socket(family, socket.SOCK_STREAM)
                    self._listening.append(listening)
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if family == socket.AF_INET6:
                        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    listening.bind(address)
                listening.listen(backlog)
                listening.setblocking(False)
        except OSError:
            await self.close()
            raise
        for listening in self._listening:
            self._keep(self._accept(listening), "tls-accept")

    async def close(self) -> None:
        """Accept and greet nobody any more. Idempotent."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listening in self._listening:
            listening.close()

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, address = await loop.sock_accept(listening)
            except OSError as error:
                log.warning("no connection can be accepted: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            connected.setblocking(False)
            refusal = self._doors.enter(address[0], connected.fileno())
            if refusal is None:
                self._keep(self._greet(connected, address[0]), "tls-greet")
                continue
            log.warning("refused a connection from %s: %s", address[0], refusal.message)
            with suppress(OSError):
                connected.send(error_bytes(refusal.status, refusal.code, refusal.message))
            connected.close()

    async def _greet(self, connected: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        handed = False
        try:
            async with asyncio.timeout(self._seconds):
                first = await _peek(connected)
                if first == _HANDSHAKE:
                    handed = True
                    await loop.connect_accepted_socket(
                        self._factory, connected, ssl=self._context, ssl_handshake_timeout=self._seconds
                    )
                elif first:
                    await _send_away(connected)
        except (OSError, TimeoutError, ssl.SSLError, asyncio.IncompleteReadError) as error:
            log.debug("no TLS with %s: %s", address, error)
        finally:
            self._doors.leave(address)
            if not handed:
                connected.close()


def both_families(port: int) -> socket.socket:
    """Bound to every address of this machine: who comes by IPv4 has an address such as ``::ffff:192.0.2.1``.

    Raises ``OSError``, where there is no IPv6 as well.
    """
    made = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((EVERYWHERE, port))
    except OSError:
        made.close()
        raise
    return made


async def _peek(connected: socket.socket) -> bytes:
    """The first byte, which stays where it is; none when the client has left."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connected, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connected)
    return connected.recv(1, socket.MSG_PEEK)


async def _send_away(connected: socket.socket) -> None:
    """Answer plain HTTP: a browser is sent on, everybody else is told. What it asked is not done."""
    loop = asyncio.get_running_loop()
    head = await loop.sock_recv(connected, _HEAD_BYTES)
    await loop.sock_sendall(connected, elsewhere(head))
    connected.shutdown(socket.SHUT_WR)
    with suppress(TimeoutError):  # unread bytes would reset the connection, and the answer with it
        async with asyncio.timeout(_CLOSE_SECONDS):
            while await loop.sock_recv(connected, _HEAD_BYTES):
                pass


def elsewhere(head: bytes) -> bytes:
    """The response to a plain HTTP request. Pure."""
    found, named = _LINE.match(head), _HOST.search(head)
    host = parse_authority(named[1].decode("latin-1")) if named else None
    if found is None or host is None:
        return error_bytes(400, "https_required", "this port speaks HTTPS: use https:// in place of http://")
    place = f"https://{host.host}{'' if host.port is None else f':{host.port}'}{found[2].decode('ascii')}"
    body = json.dumps(error_body(307, "https_required", f"this port speaks HTTPS: {place}")).encode()
    lines = (
        "HTTP/1.1 307 Temporary Redirect",
        f"Location: {place}",
        f"{X_REQUEST_ID}: {new_request_id()}",
        "Content-Type: application/json; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + (b"" if found[1] == b"HEAD" else body)
