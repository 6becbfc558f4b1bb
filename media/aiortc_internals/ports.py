"""Which UDP ports media goes through: aioice binds every socket to a port of the system's choice and cannot be told.

Nor does it tell that the process has no descriptor for one: its call would have an answer without candidates, and
never come about. It asks the running loop for its sockets by way of the module ``asyncio`` that it has imported, in
``Connection.get_component_candidates``. What it finds there is a stand-in that hands out such ports alone. Both names
are private to the release line that :mod:`media.aiortc_internals.version` insists on; a test pins them.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from typing import Any

import aioice.ice

import media.aiortc_internals.version  # noqa: F401 - checked before anything here is used

_TAKEN = (errno.EADDRINUSE, errno.EACCES)
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class NoPortError(Exception):
    """All ports of the range are taken, or the system gives no sockets any more."""


def bind_within(ports: range | None) -> None:
    """From now on, for the whole process: sockets of calls are bound to ``ports``; ``None``: to any."""
    setattr(aioice.ice, "asyncio", _Asyncio(None if ports is None else _Turns(ports)))  # noqa: B010 - not exported


class _Turns:
    """Hands out the ports in turn: one that has just been left may still get packets of its last call."""

    def __init__(self, ports: range) -> None:
        self.ports = ports
        self._next = 0

    def order(self) -> Iterator[int]:
        """Every port once, those first that were longest not tried."""
        for _ in self.ports:
            port = self.ports[self._next % len(self.ports)]
            self._next += 1
            yield port


class _Asyncio:
    """The module ``asyncio``, but for the loop that it tells."""

    def __init__(self, turns: _Turns | None) -> None:
        self._turns = turns

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    def get_running_loop(self) -> _Loop:
        return _Loop(asyncio.get_running_loop(), self._turns)


class _Loop:
    """The running loop for one gathering of candidates."""

    def __init__(self, loop: asyncio.AbstractEventLoop, turns: _Turns | None) -> None:
        self._loop = loop
        self._turns = turns
        self._made: list[asyncio.DatagramTransport] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_datagram_endpoint(
        self, factory: Callable[[], Any], local_addr: tuple[str, int] | None = None, **options: Any
    ) -> tuple[asyncio.DatagramTransport, Any]:
        """As the loop's, but port 0 means one of the range. Raises :class:`NoPortError`: then what was made is gone."""
        try:
            if self._turns is None or local_addr is None or local_addr[1] != 0:
                made = await self._loop.create_datagram_endpoint(factory, local_addr=local_addr, **options)
            else:
                bound = self._bound(self._turns, local_addr[0])
                made = await self._loop.create_datagram_endpoint(factory, sock=bound, **options)
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._give_back()
                raise NoPortError(f"the system gives no sockets any more ({error.strerror})") from error
            raise
        except NoPortError:
            self._give_back()
            raise
        self._made.append(made[0])
        return made

    def _give_back(self) -> None:
        for transport in self._made:
            transport.abort()

    def _bound(self, turns: _Turns, address: str) -> socket.socket:
        """A socket of the range. Raises ``OSError`` for an address that is none here, and :class:`NoPortError`."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        place: Any = socket.getaddrinfo(address, 0, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)[0][4]
        for port in turns.order():
            made = socket.socket(family, socket.SOCK_DGRAM)
            try:
                made.setblocking(False)
                made.bind((place[0], port, *place[2:]))
            except OSError as error:
                made.close()
                if error.errno not in _TAKEN:
                    raise
            else:
                return made
        raise NoPortError(f"all {len(turns.ports)} UDP ports for media are taken on {address} (ice_port_range)")
