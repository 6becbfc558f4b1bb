"""Where the wheels of a package index are: what is needed to download them so that it can be resumed.

pip knows the user's index, but downloads a wheel whole or not at all. So its settings are asked for, and the index
answers in JSON (PEP 691, https://peps.python.org/pep-0691/). Where that is not enough (a proxy, a client's certificate,
an index that speaks HTML), nothing is found here, and pip does it.
"""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from pipelines.errors import ModelError
from pipelines.models.catalogue_sources import WheelSource
from pipelines.models.sources_http import Downloader, Remote
from pipelines.models.store_sums import Checksum

log = logging.getLogger(__name__)

_JSON = "application/vnd.pypi.simple.v1+json"
_BEYOND_US = ("no-index", "proxy", "client-cert", "trusted-host")
"""Settings of pip with which only pip can reach the index."""


class PackageIndex:
    """The first index that pip would ask. Methods block; any thread may call."""

    def __init__(self, settings: Callable[[], Mapping[str, str] | None], downloader: Downloader) -> None:
        self._settings = settings
        self._downloader = downloader
        self._lock = threading.Lock()
        self._url: str | None = None
        """Empty when only pip can ask."""

    def find(self, source: WheelSource) -> Remote | None:
        """The wheel; ``None`` when it could not be found, for whatever reason."""
        with self._lock:
            if self._url is None:
                self._url = _index_of(self._settings())
            index = self._url
        if not index:
            return None
        name, _, version = source.wheel.partition("==")
        page, headers = _without_password(f"{index.rstrip('/')}/{canonicalize_name(name)}/")
        try:
            listed, _ = self._downloader.read_json(page, {"Accept": _JSON, **headers})
        except ModelError as error:
            log.debug("%s: %s", source.wheel, error.message)
            return None
        return _chosen(listed, source, version, page, headers)


def _index_of(settings: Mapping[str, str] | None) -> str:
    if settings is None or any(name in settings for name in _BEYOND_US):
        return ""
    url = settings.get("index-url") or _usual_index()
    return url if url.startswith(("https://", "http://")) else ""


def _usual_index() -> str:
    """Where pip looks when nothing is configured; empty without pip."""
    try:
        return str(import_module("pip._internal.models.index").PyPI.simple_url)
    except (ImportError, AttributeError):
        return ""


def _chosen(listed: Any, source: WheelSource, version: str, page: str, headers: Mapping[str, str]) -> Remote | None:
    files = listed.get("files") if isinstance(listed, dict) else None
    for file in files if isinstance(files, list) else ():
        if not isinstance(file, dict) or not _fits(str(file.get("filename")), source, version):
            continue
        url = urljoin(page, str(file.get("url")))
        sha256, size = (file.get("hashes") or {}).get("sha256"), file.get("size")
        if sha256 and url.startswith(("https://", "http://")):
            own = headers if urlsplit(url).netloc == urlsplit(page).netloc else {}
            size = size if isinstance(size, int) else None
            return Remote(source.wheel, url, size, Checksum("sha256", str(sha256)), own)
    return None


def _fits(filename: str, source: WheelSource, version: str) -> bool:
    """Whether it is the wheel that the catalogue means: of that version, for its Python and platform or for any."""
    try:
        _, found, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return False
    pythons = {"py3", f"py{source.python.replace('.', '')}", f"cp{source.python.replace('.', '')}"}
    return str(found) == version and any(
        tag.interpreter in pythons and tag.platform in ("any", source.platform) for tag in tags
    )


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """The address, and the header that takes the place of name and password in it."""
    parts = urlsplit(url)
    if parts.username is None:
        return url, {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    basic = base64.b64encode(pair.encode()).decode()
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), {"Authorization": f"Basic {basic}"}
