"""Tiny models, and tasks on them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.models.residency import Residency
from pipelines.runtime.hardware import Devices, Library
from pipelines.runtime.processor import Processor
from pipelines.tasks.service import TaskOptions, TaskService
from tests.fakes.tiny_models import all_of


def only_cpu() -> Devices:
    """A machine with a processor alone."""
    found = {name: Library(name, "1", ("cpu",)) for name in ("torch", "onnxruntime")}
    return Devices(Processor("test", 2, 2), False, False, found)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny model of each kind."""
    return all_of(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def text_tasks(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TaskService]:
    """The tasks on these, with no way to the network."""

    def connect(self: Any, address: Any) -> None:
        raise AssertionError(f"tries to reach {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    service = TaskService(None, Residency(), only_cpu, TaskOptions(folders=(tiny_models,)))
    yield service
    service.close()
