"""Tiny models, and tasks on them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.models.residency import Residency
from pipelines.tasks.service import TaskOptions, TaskService
from tests.fakes.devices import only_cpu


@pytest.fixture
async def text_tasks(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TaskService]:
    """The tasks on these, with no way to the network."""

    def connect(self: Any, address: Any) -> None:
        raise AssertionError(f"tries to reach {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    service = TaskService(None, Residency(), only_cpu, TaskOptions(folders=(tiny_models,)))
    yield service
    service.close()
