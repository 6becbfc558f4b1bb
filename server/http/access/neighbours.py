"""Where other nodes come in between the checks of a request: after those of its name and rate, and before its key's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client.core import Metric


class Neighbours(Protocol):
    """Found in an application as ``app[NEIGHBOURS]``; one that is alone has none."""

    def received(self, request: web.Request) -> web.Request:
        """The request as its client has sent it, if another node has passed it on. Raises
        :class:`~server.http.errors.HttpError` (403) where that is pretended."""
        ...

    async def served(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Its answer, of whichever node; ``handler`` serves it here."""
        ...

    def status(self) -> dict[str, Any] | None:
        """What ``GET /v1/status`` tells of this node."""
        ...

    def collect(self) -> Iterable[Metric]:
        """What ``GET /metrics`` tells of it."""
        ...


NEIGHBOURS: web.AppKey[Neighbours] = web.AppKey("neighbours")
