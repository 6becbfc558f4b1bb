"""``GET /v1/errors``: reports of unexpected errors, as far as they are written (setting ``error_reports``)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aiohttp import hdrs, web

from pipelines.runtime.worker import Worker
from server.http.errors import HttpError
from server.observability.reports.store import Reports

ERRORS = "/v1/errors"
ERROR = ERRORS + "/{id}"


class ErrorRoutes:
    """The handlers; ``reports`` is ``None`` where none are written."""

    def __init__(self, reports: Reports | None) -> None:
        self._reports = reports
        self._worker = Worker("error-reader", inbox=32)

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(ERRORS, self.all)
        app.router.add_get(ERROR, self.one)
        app.cleanup_ctx.append(self._end)

    async def all(self, request: web.Request) -> web.Response:
        """The heads of all reports."""
        data = [] if self._reports is None else await self._worker.run(self._reports.all)
        return _answer({"object": "list", "enabled": self._reports is not None, "data": data})

    async def one(self, request: web.Request) -> web.Response:
        """A whole report."""
        name = request.match_info["id"]
        found = None if self._reports is None else await self._worker.run(self._reports.find, name)
        if found is None:
            lists = f"id: there is no report {name[:40]!a} (GET {ERRORS} lists them)"
            off = "id: this server writes no error reports (setting error_reports)"
            raise HttpError(404, "not_found", off if self._reports is None else lists, "id")
        return _answer(found)

    async def _end(self, app: web.Application) -> AsyncIterator[None]:
        yield
        self._worker.close()


def _answer(body: dict[str, Any]) -> web.Response:
    return web.json_response(body, headers={hdrs.CACHE_CONTROL: "no-store"})
