"""Downloads over HTTP: resumed where they broke off, checked, and given up within seconds where there is no network.

Built on the standard library: what it has to do (one stream, a range, two timeouts) needs no client library, and proxy
settings of the environment are honoured.
"""

from __future__ import annotations

import errno
import http.client
import json
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from pipelines.errors import ModelError
from pipelines.models.sources_connect import build_opener
from pipelines.models.store_sums import Checksum, move

MIB = 1 << 20
_BLOCK = 256 << 10
_LARGEST_JSON = 16 * MIB
_ATTEMPTS = 5
"""Connections for one file; another is only made when the last one brought something."""
_REMEMBERED_SECONDS = 30.0
"""How long a host that could not be reached is not tried again: several models are often looked for in a row."""

Count = Callable[[int, int | None], None]
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
        self._free = free
        self._opener = build_opener(stall_seconds)
        self._unreachable: dict[str, tuple[float, str]] = {}

    def check_space(self, folder: Path, needed: int, what: str) -> None:
        """Raises :class:`ModelError` (``no_space``) unless ``needed`` bytes fit where ``folder`` is."""
        if needed > (free := self._free(folder)):
            raise ModelError(
                "no_space", f"{what} needs {_mib(needed)} MiB, the disk of {folder} has {free // MIB} MiB free"
            )

    def read_json(self, url: str, headers: Mapping[str, str] | None = None) -> tuple[Any, str | None]:
        """The JSON at ``url`` and the address of its next page. Raises :class:`ModelError` (``download_failed``)."""
        with self._open(url, headers or {}) as response:
            try:
                data = response.read(_LARGEST_JSON + 1)
            except (OSError, http.client.HTTPException) as error:
                raise ModelError("download_failed", f"{_host(url)}: {_reason(error)}") from error
            link = response.headers.get("Link")
        try:
            return json.loads(data), _next_page(link)
        except ValueError as error:
            raise ModelError("download_failed", f"{_host(url)} answered with something else than JSON") from error

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
                    raise ModelError("download_failed", f"{_host(remote.url)}: {broken}{kept}") from broken

    def _continue(self, remote: Remote, part: Path, tag: Path, count: Count) -> None:
        """One connection's worth. Raises :class:`_BrokenError` when it ends too early."""
        start = part.stat().st_size if part.exists() else 0
        headers = dict(remote.headers)
        if start:
            headers["Range"] = f"bytes={start}-"
            if tag.exists():
                headers["If-Range"] = tag.read_text()
        try:
            response = self._open(remote.url, headers)
        except _RangeRefusedError:
            part.unlink()
            tag.unlink(missing_ok=True)
            raise _BrokenError("the server refused to go on where the download broke off") from None
        with response:
            start = start if response.status == 206 and _starts_at(response, start) else 0
            length = response.headers.get("Content-Length")
            total = start + int(length) if length and length.isdecimal() else remote.size
            if remote.size is not None and total != remote.size:
                raise ModelError("download_failed", f"{remote.name} has {total} bytes instead of {remote.size}")
            self.check_space(part.parent, (total or 0) - start, remote.name)
            _keep_tag(response.headers.get("ETag"), tag)
            with part.open("ab" if start else "wb") as file:
                self._copy(response, file, start, total, count)

    def _copy(self, response: IO[bytes], file: IO[bytes], done: int, total: int | None, count: Count) -> None:
        count(done, total)
        while total is None or done < total:
            try:
                block = response.read(_BLOCK if total is None else min(_BLOCK, total - done))
            except (OSError, http.client.HTTPException) as error:
                raise _BrokenError(_reason(error)) from error
            if not block:
                break
            try:
                file.write(block)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                raise ModelError("no_space", f"the disk is full after {_mib(done)} MiB of {file.name}") from error
            done += len(block)
            count(done, total)
        if total is not None and done < total:
            raise _BrokenError("the connection was closed too early")

    def _open(self, url: str, headers: Mapping[str, str]) -> Any:
        host = _host(url)
        until, reason = self._unreachable.get(host, (0.0, ""))
        if time.monotonic() < until:
            raise ModelError("download_failed", reason)
        request = urllib.request.Request(url, headers={"User-Agent": "visavis", **headers})
        try:
            return self._opener.open(request, timeout=self._connect_seconds)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and "Range" in headers:
                    raise _RangeRefusedError from None
                raise ModelError("download_failed", f"{host} answered {error.code} {_meaning(error.code)}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = f"{host} could not be reached ({_reason(error)})"
            self._unreachable[host] = time.monotonic() + _REMEMBERED_SECONDS, reason
            raise ModelError("download_failed", reason) from error


class _BrokenError(Exception):
    pass


class _RangeRefusedError(Exception):
    pass


def _keep_tag(etag: str | None, tag: Path) -> None:
    """Only a strong tag may be used to go on with a file."""
    if etag and not etag.startswith("W/"):
        tag.write_text(etag)
    else:
        tag.unlink(missing_ok=True)


def _starts_at(response: Any, start: int) -> bool:
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {start}-")


def _next_page(link: str | None) -> str | None:
    for entry in (link or "").split(","):
        address, _, rest = entry.strip().partition(";")
        if 'rel="next"' in rest:
            return address.strip("<> ")
    return None


def _mib(size: int) -> int:
    return -(-size // MIB)


def _host(url: str) -> str:
    """Host and port, without a password that may stand before them."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _reason(error: BaseException) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "timed out"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {cause.verify_message}"
    if isinstance(cause, http.client.HTTPException):
        return "the connection was closed too early"
    return str(getattr(cause, "strerror", None) or cause).lower()


def _meaning(status: int) -> str:
    hints = {401: "(a key is needed, or the one given is wrong)", 403: "(not allowed with this key)"}
    return hints.get(status, http.client.responses.get(status, "")).strip()
