"""What aiohttp's server answers before any handler of ours is asked: the one file that overrides parts of aiohttp.

``RequestHandler`` is aiohttp's protocol, one for each connection; its methods and attributes are no documented
interface. Checked against aiohttp 3.14; a test pins what is used.
"""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from server.http_errors import error_response

log = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """A connection that answers every error in the common shape."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what cannot be read as HTTP, and to what went wrong outside of the middlewares."""
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun, it can only be broken off")
        response = self._explained(status, exc, message)
        response.force_close()
        return response

    def _explained(self, status: int, exc: BaseException | None, message: str | None) -> web.Response:
        if status >= 500:
            log.error("a request failed outside of its handler", exc_info=exc)
            return error_response(500, "internal_error", "the server failed; its log has the details")
        if isinstance(exc, LineTooLong):
            limits = f"the request line and every header may have {self.max_line_size} bytes"
            return error_response(431, "request_head_too_large", limits)
        what = (message or "").partition("\n")[0]
        return error_response(400, "invalid_request", f"this is no valid HTTP/1.1 request: {ascii(what)[1:-1]}")


def connection(server: web.Server, **options: Any) -> Connection:
    """A protocol for the event loop to give a new connection to."""
    return Connection(server, **options)
