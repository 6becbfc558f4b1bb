"""Other people's clients as they are published: fetched once, by exact version, into a cache beside no repository.

The cache is ``VISAVIS_TEST_CACHE``, or ``visavis-tests`` in the user's cache folder (``XDG_CACHE_HOME``). What cannot
be had skips the tests that need it, with the reason.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

AIORTC = "1.16.0"
FETCH_SECONDS = 150.0
"""After which a registry counts as out of reach."""
DONE = ".complete"


def cache_folder() -> Path:
    """Where packages are kept from one run to the next."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visavis-tests"
    folder = Path(os.environ.get("VISAVIS_TEST_CACHE") or usual)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def node() -> str:
    """The Node.js of this machine."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("no Node.js on this machine (looked for node)")
    return path


def node_modules(wanted: Mapping[str, str]) -> Path:
    """The folder ``node_modules`` with what is wanted of npm: versions by name."""
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine")
    return _had(_installed(json.dumps({"private": True, "dependencies": wanted}, sort_keys=True)))


def aiortc_examples() -> Path:
    """The folder ``examples`` of aiortc's source distribution."""
    return _had(_unpacked())


def _had(found: Path | str) -> Path:
    if isinstance(found, str):
        pytest.skip(found)
    return found


@functools.cache
def _installed(wanted: str) -> Path | str:
    """The modules of this ``package.json``, or why there are none."""
    folder = cache_folder() / f"npm-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    install = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--no-package-lock",
        "--fetch-retries=1",
    ]

    def fetch() -> None:
        (folder / "package.json").write_text(wanted, "utf-8")
        _run(install, folder)

    why = _once(folder, fetch)
    return f"the npm packages cannot be had: {why}" if why else folder / "node_modules"


@functools.cache
def _unpacked() -> Path | str:
    folder = cache_folder() / f"aiortc-{AIORTC}"
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "aiortc"]

    def fetch() -> None:
        _run([*download, "--dest", str(folder), f"aiortc=={AIORTC}"], folder)
        with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")

    why = _once(folder, fetch)
    return f"aiortc's source cannot be had: {why}" if why else folder / f"aiortc-{AIORTC}" / "examples"


def _once(folder: Path, fetch: Callable[[], None]) -> str:
    """Fill a folder unless it is full, one process at a time; returns why it could not be filled."""
    try:
        with FileLock(folder.with_suffix(".lock"), timeout=2 * FETCH_SECONDS):
            if not (folder / DONE).exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fetch()
                (folder / DONE).touch()
    except Timeout:
        return "another process has been fetching them for minutes"
    except subprocess.TimeoutExpired:
        return f"the registry did not answer within {FETCH_SECONDS:g} s"
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines() or ["it did not say why"]
        return next((line for line in lines if "error" in line.lower()), lines[-1])[:300]
    return ""


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=FETCH_SECONDS)
