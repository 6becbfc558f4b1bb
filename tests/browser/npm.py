"""Packages of npm, exactly as published: fetched once into a cache; where they cannot be had the test is skipped."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

FETCH_SECONDS = 150.0


def package(name: str, version: str) -> Path:
    """The folder of a package that needs no other."""
    found = _package(name, version)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@functools.cache
def _package(name: str, version: str) -> Path | str:
    """The folder, or why there is none. The cache is ``VISAVIS_TEST_CACHE``, or in the user's cache folder."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visavis-tests"
    cache = Path(os.environ.get("VISAVIS_TEST_CACHE") or usual)
    folder = cache / f"{name}-{version}"
    if folder.is_dir():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        return "no npm on this machine"
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache) as fetched:
        command = [npm, "pack", f"{name}@{version}", "--silent", "--pack-destination", fetched]
        try:
            subprocess.run(command, cwd=fetched, check=True, capture_output=True, text=True, timeout=FETCH_SECONDS)
        except subprocess.CalledProcessError as error:
            return f"{name} cannot be had: {error.stderr.strip()[-300:]}"
        except subprocess.TimeoutExpired:
            return f"{name} cannot be had: the registry did not answer within {FETCH_SECONDS:g} s"
        with tarfile.open(next(Path(fetched).glob("*.tgz"))) as archive:
            archive.extractall(fetched, filter="data")
        try:
            (Path(fetched) / "package").rename(folder)
        except OSError:  # another process was quicker
            assert folder.is_dir()
    return folder
