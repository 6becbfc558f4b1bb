"""A machine that stops, is busy, sets its clock, has no descriptors or no memory left."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from tests.benchmarks.faults import REAL, STUBS, Fault, Scene, kill


class Stopped(Fault):
    """The whole server gets no time: a laptop that sleeps, a virtual machine that is moved."""

    seconds = 0.0

    async def strike(self, scene: Scene) -> None:
        await kill([scene.pid], signal.SIGSTOP)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            await kill([scene.pid], signal.SIGCONT)


class Stopped1(Stopped):
    """A hiccup."""

    name, words, seconds = "stopped-1", "SIGSTOP to the server for 1 s", 1.0


class Stopped5(Stopped):
    """Shorter than a peer that is silent is waited for."""

    name, words, seconds = "stopped-5", "SIGSTOP to the server for 5 s", 5.0


class Stopped20(Stopped):
    """Longer than that, and shorter than ICE consent lasts."""

    name, words, seconds = "stopped-20", "SIGSTOP to the server for 20 s", 20.0
    most_lost = 2


class Hogs(Fault):
    """Others take the processor."""

    name = "hogs"
    words = "four processes that compute without end, for 20 s"
    flags = REAL
    most_lost = 2

    async def strike(self, scene: Scene) -> None:
        hogs = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: sum(range(9999))") for _ in range(4)
        ]
        try:
            await asyncio.sleep(20)
        finally:
            for hog in hogs:
                hog.kill()
                await hog.wait()


class LogStuck(Fault):
    """Somebody presses Ctrl-S in the terminal, or what collects the log hangs."""

    name = "log-stuck"
    words = "nobody reads what the server prints (all details, some 50 kB/s) for 15 s"
    flags = (*STUBS, "--log-level", "debug")
    most_lost = 0

    async def strike(self, scene: Scene) -> None:
        scene.server.reading.clear()
        try:
            await asyncio.sleep(15)
        finally:
            scene.server.reading.set()


class Clock(Fault):
    """The wall clock is set, as NTP or a person does."""

    name = "clock"
    words = "the wall clock an hour ahead for 10 s, then an hour behind for 10 s"
    most_lost = 0

    async def strike(self, scene: Scene) -> None:
        for seconds in (3600, -3600, 0):
            await scene.server.ask(f"wall {seconds}")
            await asyncio.sleep(10 if seconds else 0)


class Descriptors(Fault):
    """Somebody opens connections until there are no descriptors."""

    name = "descriptors"
    words = "a limit of 160 descriptors, and 400 idle connections for 15 s"
    most_lost = 0

    def before_start(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))

    async def strike(self, scene: Scene) -> None:
        place, writers = urlsplit(scene.server.url), []
        statuses: dict[str, int] = {}
        try:
            for _ in range(400):
                with suppress(OSError):
                    writers.append((await asyncio.open_connection(place.hostname, place.port))[1])
            async with aiohttp.ClientSession() as http:
                for _ in range(5):
                    try:
                        async with http.post(f"{scene.server.url}/offer", json={}) as told:
                            statuses[str(told.status)] = statuses.get(str(told.status), 0) + 1
                    except aiohttp.ClientError as error:
                        statuses[type(error).__name__] = statuses.get(type(error).__name__, 0) + 1
                    await asyncio.sleep(3)
        finally:
            for writer in writers:
                writer.close()
        scene.record.tell("note", newcomers=statuses, opened=len(writers))


def address_space(pid: int) -> int:
    """Bytes that a process has mapped."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


class MemoryLimit(Fault):
    """The process may take hardly more than it has: allocations fail."""

    name = "memory"
    words = "20 s in which the server's address space may grow by 8 MB alone"
    flags = REAL
    most_lost = 4
    calls_survive = False

    async def strike(self, scene: Scene) -> None:
        most = address_space(scene.pid) + 8 * 2**20
        before = resource.prlimit(scene.pid, resource.RLIMIT_AS, (most, -1))
        try:
            await asyncio.sleep(20)
        finally:
            with suppress(ProcessLookupError):
                resource.prlimit(scene.pid, resource.RLIMIT_AS, before)


class MemoryBudget(Fault):
    """``memory_mb`` is less than the models need: some have to go while others are used."""

    name = "memory-budget"
    words = "memory_mb of 450: models are unloaded to make room, for half a minute"
    flags = REAL
    environment = {"VISAVIS_MEMORY_MB": "450"}  # noqa: RUF012 - a constant of the class
    most_lost = 2

    async def strike(self, scene: Scene) -> None:
        await asyncio.sleep(30)


FAULTS = (Stopped1, Stopped5, Stopped20, Hogs, LogStuck, Clock, Descriptors, MemoryLimit, MemoryBudget)
