"""A worker that loads lets those go first who talk: for as long as it loads, it stands back for the processors (Linux).

Every thread has a policy and a niceness of its own, and new ones take those of the thread that starts them, in child
processes, too; so all are set back in the end. Whoever may not lower a niceness again is not given one, and is a batch
job alone.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOADING_NICENESS = 10
_CAP_SYS_NICE = 23
_STATUS = Path("/proc/self/status")


@contextmanager
def standing_back() -> Iterator[None]:
    """In this block. A thread that has a niceness of its own keeps it, or has it again afterwards."""
    if not hasattr(os, "sched_setscheduler") or not Path("/proc/self/task").is_dir():
        yield
        return
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    loading = max(usual, LOADING_NICENESS) if _may_go_back(usual) else usual
    before: dict[int, int] = {}
    for task in _threads_of(os.getpid()):
        with suppress(OSError):  # it has ended
            before[task] = os.getpriority(os.PRIO_PROCESS, task)
            _set(task, os.SCHED_BATCH, max(loading, before[task]))
    try:
        yield
    finally:
        for task in _threads_of(os.getpid()):
            with suppress(OSError):
                now = os.getpriority(os.PRIO_PROCESS, task)
                _set(task, os.SCHED_OTHER, before.get(task, usual if now == loading else now))


def _set(task: int, policy: int, niceness: int) -> None:
    if os.sched_getscheduler(task) in (os.SCHED_OTHER, os.SCHED_BATCH):  # else it has chosen for itself
        os.sched_setscheduler(task, policy, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, task, niceness)


def _threads_of(pid: int) -> Iterator[int]:
    """Of a process and of its children."""
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            yield int(task.name)
            for child in (task / "children").read_text().split():
                yield from _threads_of(int(child))


def _may_go_back(niceness: int) -> bool:
    """Whether this process may lower its niceness to that again."""
    if resource.getrlimit(resource.RLIMIT_NICE)[0] >= 20 - niceness:
        return True
    rights = next((line for line in _STATUS.read_text().splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(rights.split()[1], 16) >> _CAP_SYS_NICE & 1)
