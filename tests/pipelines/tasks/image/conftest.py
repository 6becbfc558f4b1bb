"""Tiny models, made once, and no network for anybody."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import tiny_picture_models
from tests.fakes.printed import page, png


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects to anything fails."""

    def refused(*_: object) -> None:
        raise AssertionError("a task has used the network")

    monkeypatch.setattr(socket.socket, "connect", refused)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder with the tiny model of that name."""

    @cache
    def made(name: str) -> Path:
        import torch

        torch.manual_seed(0)
        make: Any = getattr(tiny_picture_models, name)
        folder: Path = make(tmp_path_factory.mktemp(name))
        return folder

    return made


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A page with a word on it, 80 × 42 or so."""
    return png(page(["HELLO"], 20, margin=5))
