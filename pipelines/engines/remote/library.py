"""The one door to the library: everything else here is imported without Ray, which takes a second and 100 MB."""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipelines.engines.remote.wire import RemoteError

REMEDY = "pip install '.[ray]'"
ROUTER = "ray.serve.experimental.consistent_hash_router:ConsistentHashRouter"
"""Sends all that is asked for one session to one replica, as long as there is that."""


def is_installed() -> bool:
    """Whether Ray Serve is here, without importing it."""
    return all(find_spec(name) is not None for name in ("ray", "mmh3", "fastapi"))


def ray() -> Any:
    """The library. Raises :class:`RemoteError` (``not_installed``)."""
    return _imported("ray")


def serve() -> Any:
    """Ray Serve. Raises :class:`RemoteError` (``not_installed``)."""
    _imported("mmh3")
    return _imported("ray.serve")


def module(name: str) -> Any:
    """A module of the library, such as ``serve.config``. Raises :class:`RemoteError` (``not_installed``)."""
    return _imported(f"ray.{name}")


def show_token() -> None:
    """Let Ray show its token to the cluster where the machine has one, as ``ray start`` demands it there (from Ray 2.60
    on); drivers do not by themselves, unless the mode is set."""
    named = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if named or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _imported(name: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of ours tells others how it is used
    show_token()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses what others have deprecated
            return import_module(name)
    except ImportError as error:
        raise RemoteError("not_installed", f"Ray Serve is not installed ({error}): {REMEDY}") from error
