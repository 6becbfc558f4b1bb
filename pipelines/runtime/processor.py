"""The processor and the memory that this process may use, read from the system (Linux; elsewhere what Python knows)."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

USEFUL_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")
"""Instructions that make models faster; the names are the kernel's."""
_NO_LIMIT = 1 << 60
"""What cgroups say when they mean no limit is far above this."""


@dataclass(frozen=True, slots=True)
class Processor:
    """What there is to compute with."""

    model: str
    cores: int
    """That this process may use: its affinity, or what its container is given, whichever is less."""
    cores_present: int
    memory_total: int | None = None
    """Bytes, of the machine or of the container, whichever is less."""
    memory_free: int | None = None
    flags: tuple[str, ...] = ()
    """Those of :data:`USEFUL_FLAGS` that it has."""


def read_processor(root: Path = Path("/")) -> Processor:
    """The processor; ``root`` is where ``proc`` and ``sys`` are."""
    facts = _fields(_text(root / "proc/cpuinfo"))
    memory = _fields(_text(root / "proc/meminfo"))
    present = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else present
    limit, used = _memory_limit(root)
    total, free = _kilobytes(memory.get("MemTotal")), _kilobytes(memory.get("MemAvailable"))
    if limit is not None and (total is None or limit < total):
        total = limit
        free = limit - used if free is None else min(free, limit - used)
    return Processor(
        model=facts.get("model name") or platform.processor() or platform.machine() or "unknown",
        cores=max(1, min(allowed, _quota(root) or allowed)),
        cores_present=present,
        memory_total=total,
        memory_free=free,
        flags=tuple(flag for flag in USEFUL_FLAGS if flag in facts.get("flags", "").split()),
    )


def _quota(root: Path) -> int | None:
    """Cores that the control group of a container grants, rounded up; ``None`` without a limit."""
    words = _text(root / "sys/fs/cgroup/cpu.max").split()
    if len(words) != 2:  # version 1
        words = [_text(root / f"sys/fs/cgroup/cpu/cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    try:
        quota, period = map(int, words)
    except ValueError:  # "max", or nothing there
        return None
    return -(-quota // period) if quota > 0 and period > 0 else None


def _memory_limit(root: Path) -> tuple[int | None, int]:
    """Bytes that the control group grants (``None`` without a limit) and that it uses."""
    for limit_name, used_name in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            limit = int(_text(root / "sys/fs/cgroup" / limit_name))
            used = int(_text(root / "sys/fs/cgroup" / used_name))
        except ValueError:
            continue
        if limit < _NO_LIMIT:
            return limit, min(limit, used)
    return None, 0


def _fields(text: str) -> dict[str, str]:
    """``name : value`` lines; of several of a name the first."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def _kilobytes(value: str | None) -> int | None:
    return int(value.split()[0]) * 1024 if value else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
