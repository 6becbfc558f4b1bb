"""Pipecat's JavaScript clients as they are published, bundled with esbuild.

They are fetched once, by exact version, into a cache outside of the repository: ``VISAVIS_TEST_CACHE``, or
``visavis-tests`` in the user's cache folder (``XDG_CACHE_HOME``). What cannot be had skips the tests that need it, with
the reason.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

ESBUILD = {"esbuild": "0.25.12"}
CLIENT = {"@pipecat-ai/client-js": "1.13.1", "@pipecat-ai/small-webrtc-transport": "1.10.8", **ESBUILD}
CONSOLE = {
    **CLIENT,
    "@pipecat-ai/client-react": "1.8.2",
    "@pipecat-ai/voice-ui-kit": "0.14.0",
    "react": "19.2.3",
    "react-dom": "19.2.3",
}
FETCH_SECONDS = 150.0
"""After which a registry counts as out of reach."""
DONE = ".complete"


def bundled(source: str, wanted: Mapping[str, str], folder: Path, *flags: str) -> Path:
    """``source``, a module that imports what is ``wanted`` of npm (versions by name), as one script in ``folder``."""
    modules = node_modules(wanted)
    (folder / "app.jsx").write_text(source, "utf-8")
    command = [str(modules / ".bin" / "esbuild"), "app.jsx", "--bundle", "--outfile=bundle.js", "--jsx=automatic"]
    environment = {**os.environ, "NODE_PATH": str(modules)}
    done = subprocess.run([*command, *flags], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / "bundle.js"


def node_modules(wanted: Mapping[str, str]) -> Path:
    """The folder ``node_modules`` with what is wanted; the test is skipped where it cannot be had."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on this machine")
    found = _installed(json.dumps({"private": True, "dependencies": wanted}, sort_keys=True))
    if isinstance(found, str):
        pytest.skip(f"the npm packages cannot be had: {found}")
    return found


@functools.cache
def _installed(wanted: str) -> Path | str:
    """The modules, or why there are none."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visavis-tests"
    cache = Path(os.environ.get("VISAVIS_TEST_CACHE") or usual)
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"npm-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
    try:
        with FileLock(folder.with_suffix(".lock"), timeout=2 * FETCH_SECONDS):
            if not (folder / DONE).exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                (folder / "package.json").write_text(wanted, "utf-8")
                subprocess.run(install, cwd=folder, check=True, capture_output=True, text=True, timeout=FETCH_SECONDS)
                (folder / DONE).touch()
    except Timeout:
        return "another process has been fetching them for minutes"
    except subprocess.TimeoutExpired:
        return f"the registry did not answer within {FETCH_SECONDS:g} s"
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip()[-500:]
    return folder / "node_modules"
