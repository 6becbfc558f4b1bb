"""Locks, scratch folders and half-downloaded files of the store."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipelines.errors import ModelError


class Workspace:
    """What lies beside the models under ``root``: ``locks/``, ``tmp/`` and ``parts/``."""

    def __init__(self, root: Path, lock_seconds: float) -> None:
        self.root = root
        self._lock_seconds = lock_seconds

    @contextmanager
    def lock(self, name: str, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Hold the lock ``name``, between threads and processes; ``waiting`` is called when somebody else has it."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock", timeout=self._lock_seconds)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            try:
                lock.acquire()
            except Timeout:
                message = f"another process has held the lock of {name} for too long"
                raise ModelError("store_failed", message) from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """An empty folder on the same file system. The caller holds a lock, so what a killed process left can go."""
        folder = self.root / "tmp" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def part(self, sha256: str) -> Path:
        """Where a published file lies that several models may be made of."""
        return self.root / "parts" / sha256

    def downloads(self, model_id: str) -> Path:
        """Where the files of a model arrive. They outlive a killed process, so that the next goes on with them."""
        return self.root / "parts" / model_id
