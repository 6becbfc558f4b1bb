"""Model files out of packages of the configured package index. A package is never installed or imported."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipelines.children import CHILDREN
from pipelines.errors import ModelError
from pipelines.models.catalogue import PackageFile, WheelSource

PipRun = Callable[[list[str], float, Mapping[str, str]], "subprocess.CompletedProcess[str]"]
"""Runs a command for at most so many seconds with additions to the environment; raises
``subprocess.TimeoutExpired`` after that."""
Count = Callable[[int], object]
"""Is told how many bytes have arrived, now and then, on a thread of its own."""

_UNREACHABLE = re.compile(r"connection broken by|Failed to establish a new connection|Max retries exceeded")
_CAUSE = re.compile(r"\[Errno -?\d+\] ([^'\")]+)|(timed out|certificate verify failed)")
_WATCH_SECONDS = 0.25


def _run(command: list[str], seconds: float, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return CHILDREN.run(command, seconds, {**os.environ, **environment})


@dataclass(frozen=True, slots=True)
class Pip:
    """pip as a downloader: it knows the user's index, proxy and certificates, which we need not learn."""

    total_seconds: float = 600.0
    """Longest download."""
    stall_seconds: float = 4.0
    """Longest wait for a connection or the next bytes: a closed network must answer within seconds."""
    retries: int = 1
    run: PipRun = _run

    def download(self, source: WheelSource, into: Path, count: Count = lambda done: None) -> Path:
        """Fetch the wheel into the folder ``into`` and return its path.

        Raises :class:`ModelError` (``download_failed``) with pip's reason in one line.
        """
        command = [
            *(sys.executable, "-m", "pip", "download", source.wheel, "--dest", str(into)),
            *("--no-deps", "--only-binary=:all:", "--implementation", "cp"),
            *("--python-version", source.python, "--platform", source.platform),
            *("--timeout", f"{self.stall_seconds:g}", "--retries", str(self.retries)),
            *("--quiet", "--no-input", "--no-cache-dir", "--disable-pip-version-check"),
        ]
        try:
            with _counting(into, count):  # pip downloads into a temporary folder: there the bytes can be counted
                done = self.run(command, self.total_seconds, {"TMPDIR": str(into)})
        except subprocess.TimeoutExpired:
            raise ModelError("download_failed", f"not downloaded within {self.total_seconds:g} s") from None
        except OSError as error:
            raise ModelError("download_failed", f"pip could not be started: {error.strerror or error}") from error
        wheels = list(into.glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise ModelError("download_failed", condense(done.stderr, done.returncode))
        return wheels[0]


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


def fetch_from_wheel(
    pip: Pip,
    source: WheelSource,
    members: Mapping[str, PackageFile],
    into: Path,
    count: Count = lambda done: None,
) -> None:
    """Download a wheel and lay ``members`` (name to give → where it is) into the folder; the wheel is not kept.

    Files are streamed: none is ever whole in memory. Raises :class:`ModelError` (``download_failed``) also when the
    wheel is broken or lacks a member.
    """
    with tempfile.TemporaryDirectory(dir=into) as folder:
        wheel = pip.download(source, Path(folder), count)
        try:
            with zipfile.ZipFile(wheel) as archive:
                for name, member in members.items():
                    with _opened(archive, member) as packed, (into / name).open("wb") as file:
                        shutil.copyfileobj(packed, file, 1 << 20)
        except KeyError as error:
            raise ModelError("download_failed", f"{source.wheel} lacks a file: {error.args[0]}") from error
        except zipfile.BadZipFile as error:
            raise ModelError("download_failed", f"{source.wheel} arrived broken: {error}") from error


@contextmanager
def _opened(archive: zipfile.ZipFile, member: PackageFile) -> Iterator[IO[bytes]]:
    with archive.open(member.path) as file:
        if member.inside is None:
            yield file
            return
        with zipfile.ZipFile(file) as inner, inner.open(member.inside) as packed:
            yield packed
