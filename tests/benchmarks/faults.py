"""What ``chaos.py`` does to a server, by name. A fault is a small class; a module with more of them is named here.

A fault names what the server is started with, does its harm in :meth:`Fault.strike`, and has undone it when that
returns (but for what is dead, which the server has to replace by itself).
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tests.benchmarks.soak import Record
from tests.benchmarks.watched import Watched

MODULES = (
    "tests.benchmarks.faults_engines",
    "tests.benchmarks.faults_machine",
    "tests.benchmarks.faults_places",
    "tests.benchmarks.faults_nodes",
)
"""Each has a tuple ``FAULTS`` of classes."""
STUBS = ("--profile", "bench")
"""Engines that answer at once: gaps are then those of the media, and not of a busy machine."""
REAL = ("--no-download",)
"""What comes by itself, as far as it is here."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a fault strikes."""

    server: Watched
    folder: Path
    """Of this run alone."""
    record: Record

    @property
    def pid(self) -> int:
        """The server's process."""
        return self.server.process.pid


class Fault:
    """One kind of trouble."""

    name: ClassVar[str]
    words: ClassVar[str]
    """What is done, in a line."""
    flags: ClassVar[tuple[str, ...]] = STUBS
    """Of ``visavis serve``."""
    environment: Mapping[str, str] = {}
    session: ClassVar[Mapping[str, Any] | None] = None
    """Settings of the callers' sessions."""
    watched: ClassVar[bool] = True
    """Whether the process that is started keeps the sessions itself; a front does not."""
    recovers_within: ClassVar[float] = 20.0
    """Seconds after the strike within which every caller has had an answer to what it said after it."""
    most_lost: ClassVar[int] = 1
    """Turns of each caller that may go unanswered."""
    calls_survive: ClassVar[bool] = True
    """Whether no call may end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def missing(self) -> str:
        """Why it cannot be tried on this machine; empty when it can."""
        return ""

    def before_start(self) -> None:
        """Called in the server's process, as it starts."""

    @asynccontextmanager
    async def surroundings(self) -> AsyncIterator[tuple[str, ...]]:
        """What must be there before the server and after it; more flags."""
        yield ()

    async def strike(self, scene: Scene) -> None:
        """Do the harm, and undo it."""
        raise NotImplementedError


def family(root: int) -> dict[int, str]:
    """Process ids and command lines of all descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
    found, new = {root}, {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    told = {}
    for pid in found - {root}:
        with suppress(OSError):
            told[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return told


def descendants(root: int, word: str) -> list[int]:
    """Those whose command line has the word. Raises ``RuntimeError`` when there is none."""
    found = [pid for pid, command in family(root).items() if word in command]
    if not found:
        raise RuntimeError(f"no process with {word!r} among {list(family(root).values())}")
    return found


async def kill(pids: list[int], signal_number: int) -> None:
    """Send a signal to each that still exists."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal_number)
    await asyncio.sleep(0)


def table() -> dict[str, type[Fault]]:
    """All faults by name."""
    return {fault.name: fault for module in MODULES for fault in importlib.import_module(module).FAULTS}
