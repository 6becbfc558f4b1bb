"""Downloads over HTTP: resumed where they broke off, checked, and given up within seconds where there is no network.

Proxy settings of the environment are honoured. Redirects keep the scheme, and a key does not follow to another host.
"""

from __future__ import annotations

import errno
import http.client
import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx2

from pipelines.errors import ModelError
from pipelines.models.store_sums import Checksum, move

MIB = 1 << 20
_BLOCK = 256 << 10
_LARGEST_JSON = 16 * MIB
_ATTEMPTS = 5
"""Connections for one file; another is only made when the last one brought something."""
_REMEMBERED_SECONDS = 30.0
"""How long a host that could not be reached is not tried again: several models are often looked for in a row."""
_HINTS = {401: "(a key is needed, or the one given is wrong)", 403: "(not allowed with this key)"}

T = TypeVar("T")
Count = Callable[[int, int | None], object]
"""Gets bytes that are here and bytes that there will be (if known)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the download of a file has come."""

    model: str
    file: str
    done: int
    """Bytes."""
    total: int | None
    """Bytes, if the server said."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on a server."""

    name: str
    """What the model calls it."""
    url: str
    size: int | None = None
    """Bytes, if known."""
    checksum: Checksum | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def free_space(folder: Path) -> int:
    """Bytes free for this user where ``folder`` is."""
    return shutil.disk_usage(folder).free


class Downloader:
    """Fetches files and JSON. Methods block; use one instance, so that a closed network is noticed once."""

    def __init__(
        self,
        *,
        connect_seconds: float = 4.0,
        stall_seconds: float = 10.0,
        free: Callable[[Path], int] = free_space,
    ) -> None:
        self._connect_seconds = connect_seconds
        self._timeout = httpx2.Timeout(stall_seconds, connect=connect_seconds)
        self._free = free
        self._unreachable: dict[str, tuple[float, str]] = {}

    def check_space(self, folder: Path, needed: int, what: str) -> None:
        """Raises :class:`ModelError` (``no_space``) unless ``needed`` bytes fit where ``folder`` is."""
        if needed > (free := self._free(folder)):
            raise ModelError(
                "no_space", f"{what} needs {_mib(needed)} MiB, the disk of {folder} has {free // MIB} MiB free"
            )

    def check_reachable(self, url: str) -> None:
        """Raises :class:`ModelError` (``download_failed``) within seconds when its host takes no connections."""
        with self._remembering(url):
            _resolve(url, self._connect_seconds, connect=True)

    def read_json(self, url: str, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON at ``url``. Raises :class:`ModelError` (``download_failed``)."""
        data = bytearray()
        with self._open(url, headers or {}) as response:
            try:
                for block in response.iter_bytes(_BLOCK):
                    data += block
                    if len(data) > _LARGEST_JSON:
                        break
            except httpx2.HTTPError as error:
                raise ModelError("download_failed", f"{host_of(url)}: {reason_of(error)}") from error
        try:
            return json.loads(data)
        except ValueError as error:
            raise ModelError("download_failed", f"{host_of(url)} answered with something else than JSON") from error

    def fetch(self, remote: Remote, target: Path, count: Count = lambda done, total: None) -> None:
        """Download to ``target``. What arrives lies in ``target.part``, where the next call goes on.

        Raises :class:`ModelError`: ``download_failed``, ``checksum``, ``no_space``.
        """
        part, tag = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.etag")
        target.parent.mkdir(parents=True, exist_ok=True)
        resumed = part.exists()
        self._complete(remote, part, tag, count)
        problem = remote.checksum.mismatch(part) if remote.checksum else None
        if problem and resumed:  # the beginning may be what was wrong
            part.unlink()
            self._complete(remote, part, tag, count)
            problem = remote.checksum.mismatch(part) if remote.checksum else None
        tag.unlink(missing_ok=True)
        if problem:
            part.unlink()
            raise ModelError("checksum", problem.replace(part.name, remote.name))
        move(part, target)

    def _complete(self, remote: Remote, part: Path, tag: Path, count: Count) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            before = part.stat().st_size if part.exists() else 0
            if before and before == remote.size:
                return
            try:
                self._continue(remote, part, tag, count)
                return
            except _BrokenError as broken:
                here = part.stat().st_size if part.exists() else 0
                if here <= before or attempt == _ATTEMPTS:
                    kept = f"; the {_mib(here)} MiB that arrived are kept" if here else ""
                    raise ModelError("download_failed", f"{host_of(remote.url)}: {broken}{kept}") from broken

    def _continue(self, remote: Remote, part: Path, tag: Path, count: Count) -> None:
        """One connection's worth. Raises :class:`_BrokenError` when it ends too early."""
        start = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity", **remote.headers}
        if start:
            headers["Range"] = f"bytes={start}-"
            if tag.exists():
                headers["If-Range"] = tag.read_text()
        try:
            with self._open(remote.url, headers) as response:
                start = start if response.status_code == 206 and _starts_at(response, start) else 0
                length = response.headers.get("Content-Length")
                total = start + int(length) if length and length.isdecimal() else remote.size
                if remote.size is not None and total != remote.size:
                    raise ModelError("download_failed", f"{remote.name} has {total} bytes instead of {remote.size}")
                self.check_space(part.parent, (total or 0) - start, remote.name)
                _keep_tag(response.headers.get("ETag"), tag)
                with part.open("ab" if start else "wb") as file:
                    self._copy(response, file, start, total, count)
        except _RangeRefusedError:
            part.unlink()
            tag.unlink(missing_ok=True)
            raise _BrokenError("the server refused to go on where the download broke off") from None

    def _copy(self, response: httpx2.Response, file: IO[bytes], done: int, total: int | None, count: Count) -> None:
        count(done, total)
        try:
            for block in response.iter_raw():
                piece = block if total is None else block[: total - done]
                _write(file, piece, done)
                done += len(piece)
                count(done, total)
        except httpx2.HTTPError as error:
            raise _BrokenError(reason_of(error)) from error
        if total is not None and done < total:
            raise _BrokenError("the connection was closed too early")

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
        """The answer, whose content has not been read. Raises :class:`ModelError` (``download_failed``)."""
        hooks: dict[str, list[Callable[..., Any]]] = {"request": [partial(_keep_scheme, urlsplit(url))]}
        with self._remembering(url):
            _resolve(url, self._connect_seconds)
            verify = not url.startswith("http:")  # reading the certificates takes a while, and the scheme stays
            client = httpx2.Client(timeout=self._timeout, follow_redirects=True, event_hooks=hooks, verify=verify)
            request = client.build_request("GET", url, headers={"User-Agent": "visavis", **headers})
        with client:
            with self._remembering(url):
                response = client.send(request, stream=True)
            try:
                if response.status_code == 416 and "Range" in headers:
                    raise _RangeRefusedError
                if not response.is_success:
                    raise ModelError("download_failed", answered(url, response.status_code))
                yield response
            finally:
                response.close()

    @contextmanager
    def _remembering(self, url: str) -> Iterator[None]:
        """Turn what keeps a host from being reached into a :class:`ModelError`, and do not try again for a while."""
        host = host_of(url)
        until, reason = self._unreachable.get(host, (0.0, ""))
        if time.monotonic() < until:
            raise ModelError("download_failed", reason)
        try:
            yield
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, ImportError) as error:
            reason = f"{host} could not be reached ({reason_of(error)})"
            self._unreachable[host] = time.monotonic() + _REMEMBERED_SECONDS, reason
            raise ModelError("download_failed", reason) from error


class _BrokenError(Exception):
    pass


class _RangeRefusedError(Exception):
    pass


def _resolve(url: str, seconds: float, *, connect: bool = False) -> None:
    """Look a host's name up; unlike the system's own, this gives up in time. Raises :class:`OSError`.

    With ``connect``, a connection is made too. Behind a proxy there is nothing to look up here.
    """
    parts = urlsplit(url)
    if parts.scheme in (proxies := getproxies()) or "all" in proxies:
        return
    address = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    def resolve() -> None:
        socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        if connect:
            socket.create_connection(address, seconds).close()

    within(seconds, resolve)


def within(seconds: float, resolve: Callable[[], T]) -> T:
    """What ``resolve`` returns or raises; :class:`TimeoutError` after so long, for the system itself never gives up."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(resolve())
        except UnicodeError:  # a part of the name is empty, or too long
            done.set_exception(socket.gaierror(socket.EAI_NONAME, "it is no name of a host"))
        except OSError as error:
            done.set_exception(error)

    threading.Thread(target=run, name="resolve", daemon=True).start()
    return done.result(seconds)


def _keep_scheme(before: Any, request: httpx2.Request) -> None:
    if request.url.scheme != before.scheme:
        way = f"from {before.scheme} to {request.url.scheme}"
        raise ModelError("download_failed", f"{before.hostname} redirects {way}, which is not followed")


def _write(file: IO[bytes], block: bytes, done: int) -> None:
    try:
        file.write(block)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise ModelError("no_space", f"the disk is full after {_mib(done)} MiB of {file.name}") from error


def _keep_tag(etag: str | None, tag: Path) -> None:
    """Only a strong tag may be used to go on with a file."""
    if etag and not etag.startswith("W/"):
        tag.write_text(etag)
    else:
        tag.unlink(missing_ok=True)


def _starts_at(response: httpx2.Response, start: int) -> bool:
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {start}-")


def _mib(size: int) -> int:
    return -(-size // MIB)


def host_of(url: str) -> str:
    """Host and port, without a password that may stand before them."""
    return urlsplit(url).netloc.rpartition("@")[2]


def answered(url: str, status: int) -> str:
    """A refusal, for people."""
    return f"{host_of(url)} answered {status} {_HINTS.get(status, http.client.responses.get(status, ''))}".strip()


def reason_of(error: BaseException) -> str:
    """What kept a connection from being made or used, in a few words."""
    cause: BaseException | None = error
    while cause is not None and (not isinstance(cause, OSError) or not cause.strerror):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {cause.verify_message}"
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return "timed out"
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError):
        return "the connection was closed too early"
    return str(cause.strerror if isinstance(cause, OSError) else error).lower()
