"""What aiohttp's server does before any handler of ours is asked: the one file that overrides parts of aiohttp.

``RequestHandler`` is aiohttp's protocol, one for each connection; its methods and attributes are no documented
interface. Checked against aiohttp 3.14; a test pins what is used.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from server.admission import Doors
from server.http.errors import error_bytes, error_response
from server.http.request_ids import X_REQUEST_ID, request_id

log = logging.getLogger(__name__)

_PARTING_SECONDS = 1.0
"""For the client to read why it is hung up on."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked of every connection."""

    doors: Doors
    seconds: float
    """For the head of a request to arrive, and for the client to take something of what waits for it."""


class Connection(web.RequestHandler):
    """A connection that was let in, has deadlines, and answers every error in the common shape."""

    def __init__(self, server: web.Server, limits: Limits, **options: Any) -> None:
        super().__init__(server, **options)
        self._limits = limits
        self._address: str | None = None
        """Of the client that was let in."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._has_begun = False
        """Whether the head of the next request has begun to arrive."""
        self._is_parting = False
        """Whether all has been said."""
        self._write_timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------------------------ doors

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the client in, or tell it why not and hang up."""
        opened = cast(asyncio.Transport, transport)
        address = str((opened.get_extra_info("peername") or ("?",))[0])
        connected = opened.get_extra_info("socket")
        refusal = self._limits.doors.enter(address, connected.fileno())
        if refusal is not None:
            log.warning("refused a connection from %s: %s", address, refusal.message)
            opened.write(error_bytes(refusal.status, refusal.code, refusal.message))
            opened.close()
            return
        self._address = address
        if hasattr(socket, "TCP_USER_TIMEOUT") and connected.family in (
            socket.AF_INET,
            socket.AF_INET6,
        ):  # the kernel lets go of what is still to be sent after our close
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * self._limits.seconds))
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        self._stop_timers()
        if self._address is not None:
            self._limits.doors.leave(self._address)
            self._address = None
            super().connection_lost(exc)

    # ------------------------------------------------------------------------------------------------ deadlines

    def data_received(self, data: bytes) -> None:
        """Read on; the head of a request must be whole in time."""
        if self._address is None or self._is_parting:
            return
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._stop_head_timer()
        elif self._is_waiting:
            self._has_begun = True
            self._expect_head()

    def pause_writing(self) -> None:
        """The client takes nothing, for now."""
        super().pause_writing()
        self._write_timer = self._loop.call_later(self._limits.seconds, self._give_up_writing)

    def resume_writing(self) -> None:
        """It has taken what waited."""
        self._stop_write_timer()
        super().resume_writing()

    @property
    def _is_waiting(self) -> bool:
        """Whether no request is being answered or about to be."""
        return self._waiter is not None and not self._messages

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(self._limits.seconds, self._give_up_head)

    def _give_up_head(self) -> None:
        self._head_timer = None
        if self.transport is None or not self._is_waiting:
            return
        if not self._has_begun:
            self.force_close()
            return
        message = f"the head of the request did not arrive within {self._limits.seconds:g} s"
        self.transport.write(error_bytes(408, "request_timeout", message))
        if self.transport.can_write_eof():  # TLS cannot
            self.transport.write_eof()
        # What still comes is read and ignored: a closed socket would reset the connection, and the answer with it.
        self._is_parting = True
        self._head_timer = self._loop.call_later(_PARTING_SECONDS, self.force_close)

    def _give_up_writing(self) -> None:
        self._write_timer = None
        if self.transport is not None:
            log.info("hung up on %s, which takes nothing of its answer", self._address)
            self.transport.abort()

    def _stop_timers(self) -> None:
        self._stop_head_timer()
        self._stop_write_timer()

    def _stop_head_timer(self) -> None:
        self._has_begun = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    # ------------------------------------------------------------------------------------------------ errors

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
        if isinstance(exc, ConnectionError) and (self.transport is None or self.transport.is_closing()):
            raise ConnectionError("the client has left") from exc
        response = self._explained(request, status, exc, message)
        response.headers[X_REQUEST_ID] = request_id(request)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """aiohttp reads on after the answer to a body that nobody wanted; that it is broken is no error of ours."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)

    def _explained(
        self, request: web.BaseRequest, status: int, exc: BaseException | None, message: str | None
    ) -> web.Response:
        if status >= 500:
            log.error("a request failed outside of its handler (%s)", request_id(request), exc_info=exc)
            return error_response(500, "internal_error", "the server failed; its log has the details")
        if isinstance(exc, LineTooLong):
            limits = f"the request line and every header may have {self.max_line_size} bytes"
            return error_response(431, "request_head_too_large", limits)
        what = (message or "").partition("\n")[0]
        return error_response(400, "invalid_request", f"this is no valid HTTP/1.1 request: {ascii(what)[1:-1]}")
