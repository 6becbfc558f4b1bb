"""What this process, its threads, its child processes and the machine use, read from Linux' ``/proc``.

Source: proc(5). Elsewhere than on Linux only the processor time and the greatest memory of this process are known.
Deltas are the difference to the reading before, so one reader is made for one history.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LOOP, OTHER = "event loop", "other"
"""Threads that are no engine's: the one of the event loop, and those that libraries started in it or before it."""


@dataclass(slots=True)
class Used:
    """Since the reading before; memory as it is now. ``None``: the system does not tell."""

    cpu: float | None = None
    """Processor seconds of this process."""
    memory: int | None = None
    """Resident bytes."""
    machine: float | None = None
    """Share of all processors in use, 0–1."""
    available: int | None = None
    """Bytes that the machine could still give."""
    threads: dict[str, float] = field(default_factory=dict)
    """Processor seconds by the name of threads, which that of their worker is."""
    children: dict[str, float] = field(default_factory=dict)
    """Processor seconds of child processes, by their engine."""
    children_memory: dict[str, int] = field(default_factory=dict)


class Resources:
    """Reads them. ``root`` is the folder of the system's files."""

    def __init__(self, root: Path = Path("/"), process: int | None = None) -> None:
        self._proc = str(root / "proc")
        self._own = str(os.getpid() if process is None else process)
        system = sys.platform == "linux"
        self._tick = float(os.sysconf("SC_CLK_TCK")) if system else 100.0
        self._page = os.sysconf("SC_PAGE_SIZE") if system else 4096
        self._before: dict[str, float] = {}
        self._machine = (0.0, 0.0)

    def read(self, children: Mapping[int, str], *, threads: bool = True) -> Used:
        """``children``: process id → engine. ``threads``: whether the times of threads are read, which costs the most,
        and those of the children with them: since they were read last."""
        used, now = Used(), dict[str, float]()
        own = self._times(f"{self._proc}/{self._own}/stat")
        used.cpu = self._since("own", own[0], now) if own else self._since("own", sum(os.times()[:2]), now)
        used.memory = own[1] if own else None
        self._read_machine(used)
        for pid, engine in children.items():
            if (child := self._times(f"{self._proc}/{pid}/stat")) is not None:
                if threads:
                    used.children[engine] = used.children.get(engine, 0.0) + self._since(f"child {pid}", child[0], now)
                used.children_memory[engine] = used.children_memory.get(engine, 0) + child[1]
        if threads:
            self._read_threads(used, now)
        else:
            now |= {name: ticks for name, ticks in self._before.items() if name.startswith(("thread ", "child "))}
        self._before = now
        return used

    def _read_threads(self, used: Used, now: dict[str, float]) -> None:
        folder = f"{self._proc}/{self._own}/task"
        try:
            tasks = os.listdir(folder)
        except OSError:
            return
        names: dict[str, tuple[str, float]] = {}
        for task in tasks:
            if (found := self._stat(f"{folder}/{task}/stat")) is not None:
                name, fields = found
                names[task] = name, (int(fields[11]) + int(fields[12])) / self._tick
        own = names.get(self._own, ("", 0.0))[0]
        for task, (name, seconds) in names.items():
            label = LOOP if task == self._own else OTHER if name == own else name
            used.threads[label] = used.threads.get(label, 0.0) + self._since(f"thread {task}", seconds, now)

    def _read_machine(self, used: Used) -> None:
        text = _text(f"{self._proc}/stat")
        if text is not None:
            times = [float(word) for word in text.split("\n", 1)[0].split()[1:9]]
            total, idle = sum(times), times[3] + times[4]
            before, self._machine = self._machine, (total, idle)
            if before[0] and total > before[0]:
                used.machine = max(0.0, min(1.0, 1.0 - (idle - before[1]) / (total - before[0])))
        for line in (_text(f"{self._proc}/meminfo") or "").splitlines():
            if line.startswith("MemAvailable:"):
                used.available = int(line.split()[1]) * 1024
                break

    def _times(self, path: str) -> tuple[float, int] | None:
        """Processor seconds and resident bytes of a process."""
        found = self._stat(path)
        if found is None:
            return None
        fields = found[1]
        return (int(fields[11]) + int(fields[12])) / self._tick, int(fields[21]) * self._page

    def _stat(self, path: str) -> tuple[str, list[str]] | None:
        text = _text(path)
        if text is None:
            return None
        head, _, rest = text.rpartition(")")
        return head.partition("(")[2], rest.split()

    def _since(self, what: str, seconds: float, now: dict[str, float]) -> float:
        """How much more than the reading before. What was not there then began at nothing, but for the first time."""
        now[what] = seconds
        first = not self._before
        return 0.0 if first else max(0.0, seconds - self._before.get(what, 0.0))


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None
