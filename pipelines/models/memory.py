"""How much memory there is, how much this process has, and whether an error means that it ran out."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

MIB = 1 << 20
_ARENA_MAX = -8
"""``M_ARENA_MAX`` of glibc's ``mallopt``."""
_WORDS = (
    "out of memory",  # torch, CTranslate2 and CUDA itself
    "can't allocate memory",  # torch's allocator for the processor
    "cannot allocate memory",  # the C library, in ENOMEM
    "failed to allocate memory",  # onnxruntime
    "bad_alloc",
    "bad allocation",
    "alloc_failed",  # cuBLAS and cuDNN
)


class Memory(Protocol):
    """Memory by device: ``cpu`` or ``cuda``. Bytes; ``None`` where it cannot be told."""

    def used(self, device: str) -> int | None:
        """What this process holds (on a GPU: what is taken)."""
        ...

    def free(self, device: str) -> int | None:
        """What could still be taken without pushing anything out."""
        ...

    def trim(self) -> None:
        """Give what has been dropped back to the system."""
        ...


def few_heaps() -> None:
    """Let the C library keep no more heaps than there are processors, two at least; before threads are started.

    glibc makes up to eight for each, and spreads threads over them. What one thread has freed is then of no use to
    others, and a process with a hundred threads has holes in all of them. Threads that hold the GIL wait for each
    other anyway. What the environment says (``MALLOC_ARENA_MAX``, ``GLIBC_TUNABLES``) is left as it is.
    """
    told = "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform == "linux" and not told and (mallopt := getattr(_libc(), "mallopt", None)) is not None:
        mallopt(_ARENA_MAX, max(2, len(os.sched_getaffinity(0))))


def trim_heap() -> None:
    """Give what C libraries have freed back to the system, which glibc does not do by itself. A few milliseconds."""
    if sys.platform == "linux" and (trim := getattr(_libc(), "malloc_trim", None)) is not None:
        trim(0)


class MachineMemory:
    """This machine's memory, within what its control group allows."""

    def __init__(self, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._cgroups = cgroups

    def used(self, device: str) -> int | None:
        if device != "cpu":
            figures = _gpu_figures(device)
            return None if figures is None else figures[1] - figures[0]
        try:
            pages = int((self._proc / "self/statm").read_text().split()[1])
        except (OSError, ValueError, IndexError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE")

    def free(self, device: str) -> int | None:
        if device != "cpu":
            figures = _gpu_figures(device)
            return None if figures is None else figures[0]
        known = [free for free in (self._available(), *self._left_in_groups()) if free is not None]
        return max(0, min(known)) if known else None

    def trim(self) -> None:
        gc.collect()
        if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        trim_heap()

    def _available(self) -> int | None:
        return _field(self._proc / "meminfo", "MemAvailable:", unit=1024)

    def _left_in_groups(self) -> Iterator[int | None]:
        """What each control group around this process leaves, as version 2 and version 1 tell it."""
        try:
            lines = (self._proc / "self/cgroup").read_text().splitlines()
        except OSError:
            return
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                yield from self._left(self._cgroups, path, ("memory.max", "memory.current", "inactive_file"))
            elif "memory" in controllers.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                yield from self._left(self._cgroups / "memory", path, names)

    def _left(self, root: Path, path: str, names: tuple[str, str, str]) -> Iterator[int | None]:
        group = root / path.strip("/")  # inside a container the path may be that of the host, and only the root exists
        for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(root))):
            limit, usage = _number(folder / names[0]), _number(folder / names[1])
            if limit is not None and usage is not None:
                yield limit - usage + (_field(folder / "memory.stat", names[2]) or 0)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether the error, or what caused it, says that memory ran out: engines wrap the errors of their libraries."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, MemoryError) or any(word in str(error).lower() for word in _WORDS):
            return True
        seen.add(id(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def mebibytes(count: int) -> str:
    """For people: ``1536 MiB``."""
    return f"{-(-count // MIB)} MiB"


def _gpu_figures(device: str) -> tuple[int, int] | None:
    """Free and total bytes, if torch is in use: it is not loaded just to be asked."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_available():
        return None
    try:
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError:  # no such device, or one that has failed
        return None
    return int(free), int(total)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _number(path: Path) -> int | None:
    """The number in a file; ``None`` for ``max`` and for a file that is not there."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _field(path: Path, name: str, unit: int = 1) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(words[1]) * unit for line in lines if (words := line.split())[:1] == [name]), None)
