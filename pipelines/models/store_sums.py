"""Files of the store: their checksums, moving and linking them, locks, scratch folders and half-downloaded ones."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from pipelines.errors import ModelError

_BLOCK = 1 << 20
_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a publisher says a file is. ``git`` is the id of a git blob, which hubs give for small files."""

    kind: Literal["sha256", "git"]
    hex: str

    def mismatch(self, path: Path) -> str | None:
        """Why ``path`` is not the file with this checksum; ``None`` when it is."""
        try:
            actual = sha256_of(path) if self.kind == "sha256" else _git_blob_id(path)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            return f"{path.name} is missing" if missing else f"{path.name} cannot be read ({error.strerror})"
        return (
            None if actual == self.hex else f"{path.name} has the checksum {actual[:12]}… instead of {self.hex[:12]}…"
        )


def mismatch(path: Path, sha256: str) -> str | None:
    """Why ``path`` is not the file with that checksum; ``None`` when it is."""
    return Checksum("sha256", sha256).mismatch(path)


def sha256_of(path: Path) -> str:
    """Hexadecimal. Raises :class:`OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_pointer(path: Path) -> bool:
    """Whether git left a note there instead of the file, as it does where Git LFS is missing. Raises :class:`OSError`.

    https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
    """
    with path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER


def _git_blob_id(path: Path) -> str:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        summed = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        while block := file.read(_BLOCK):
            summed.update(block)
    return summed.hexdigest()


def move(source: Path, target: Path) -> None:
    """Put ``source`` in the place of ``target``, at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)


def link_or_copy(source: Path, target: Path) -> None:
    """``target`` gets the content of ``source``, where the file system can without a second copy."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


class Workspace:
    """What lies beside the models under ``root``: ``hub/``, ``locks/``, ``tmp/`` and ``parts/``."""

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

    @property
    def hub(self) -> Path:
        """The cache of what comes from hubs, in the layout of ``huggingface_hub``."""
        return self.root / "hub"

    def part(self, sha256: str) -> Path:
        """Where a published file lies that several models may be made of."""
        return self.root / "parts" / sha256

    def downloads(self, model_id: str) -> Path:
        """Where the files of a model arrive. They outlive a killed process, so that the next goes on with them."""
        return self.root / "parts" / model_id
