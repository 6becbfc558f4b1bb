"""How downloads connect: two timeouts, redirects that change neither scheme nor who gets the key."""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.request
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.errors import ModelError

if TYPE_CHECKING:
    _Base = http.client.HTTPConnection
else:
    _Base = object


def build_opener(stall_seconds: float) -> urllib.request.OpenerDirector:
    """Opens http and https addresses, through the proxy of the environment if there is one.

    The timeout given to ``open`` is for the connection; ``stall_seconds`` is the longest wait between bytes.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _HttpHandler(stall_seconds),
        _HttpsHandler(stall_seconds),
        _SameScheme(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _Timed(_Base):
    stall_seconds = 10.0

    def connect(self) -> None:
        _resolve(self.host, self.port, float(self.timeout or 0))
        super().connect()
        self.sock.settimeout(self.stall_seconds)


class _TimedHttp(_Timed, http.client.HTTPConnection):
    pass


class _TimedHttps(_Timed, http.client.HTTPSConnection):
    pass


class _HttpHandler(urllib.request.HTTPHandler):
    def __init__(self, stall_seconds: float) -> None:
        super().__init__()
        self._stall_seconds = stall_seconds

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, req)

    def _connect(self, host: str, /, **options: Any) -> http.client.HTTPConnection:
        connection = _TimedHttp(host, **options)
        connection.stall_seconds = self._stall_seconds
        return connection


class _HttpsHandler(urllib.request.HTTPSHandler):
    def __init__(self, stall_seconds: float) -> None:
        super().__init__()
        self._stall_seconds = stall_seconds

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, req)

    def _connect(self, host: str, /, **options: Any) -> http.client.HTTPConnection:
        connection = _TimedHttps(host, **options)
        connection.stall_seconds = self._stall_seconds
        return connection


class _SameScheme(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if before.scheme != after.scheme:
            way = f"from {before.scheme} to {after.scheme}"
            raise ModelError("download_failed", f"{before.hostname} redirects {way}, which is not followed")
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and before.netloc != after.netloc:
            new.remove_header("Authorization")
        return new


def _resolve(host: str, port: int, seconds: float) -> None:
    """Look a name up; unlike the system's own, this gives up in time. Raises :class:`OSError`."""
    failure: list[OSError] = []

    def look() -> None:
        try:
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            failure.append(error)

    thread = threading.Thread(target=look, name="resolve", daemon=True)
    thread.start()
    thread.join(seconds or None)
    if thread.is_alive():
        raise TimeoutError
    if failure:
        raise failure[0]
