"""Engines and workers that die, hang or are slow."""

from __future__ import annotations

import asyncio
import signal
from typing import ClassVar

from tests.benchmarks.faults import REAL, Fault, Scene, descendants, family, kill

LLAMA = "llama_process"


class LlamaKilled(Fault):
    """The child process of llama.cpp, killed while it is asked."""

    name = "llama-killed"
    words = "SIGKILL to the llama.cpp child, three times in ten seconds"
    flags = (*REAL, "--chat-model", "smollm2-135m-instruct-gguf")

    async def strike(self, scene: Scene) -> None:
        for _ in range(3):
            await kill([pid for pid, line in family(scene.pid).items() if LLAMA in line], signal.SIGKILL)
            await asyncio.sleep(3.3)


class LlamaHangs(Fault):
    """The same, stopped: it neither answers nor ends."""

    name = "llama-hangs"
    words = "SIGSTOP to the llama.cpp child for 20 s"
    flags = (*REAL, "--chat-model", "smollm2-135m-instruct-gguf")
    most_lost = 3

    async def strike(self, scene: Scene) -> None:
        stopped = descendants(scene.pid, LLAMA)
        await kill(stopped, signal.SIGSTOP)
        try:
            await asyncio.sleep(20)
        finally:
            await kill(stopped, signal.SIGCONT)


class RecogniserKilled(Fault):
    """Embedded recognisers live in processes of their own."""

    name = "recogniser-killed"
    words = "SIGKILL to every PocketSphinx process, three times in ten seconds"
    flags = ("--profile", "embedded")
    most_lost = 2

    async def strike(self, scene: Scene) -> None:
        for _ in range(3):
            await kill(list(family(scene.pid)), signal.SIGKILL)
            await asyncio.sleep(3.3)


class RecogniserHangs(Fault):
    """The same, stopped."""

    name = "recogniser-hangs"
    words = "SIGSTOP to every PocketSphinx process for 20 s"
    flags = ("--profile", "embedded")
    most_lost = 3

    async def strike(self, scene: Scene) -> None:
        stopped = list(family(scene.pid))
        await kill(stopped, signal.SIGSTOP)
        try:
            await asyncio.sleep(20)
        finally:
            await kill(stopped, signal.SIGCONT)


class WorkerKilled(Fault):
    """One of two worker processes: its own sessions reconnect, the others notice nothing."""

    name = "worker-killed"
    words = "SIGKILL to one of two worker processes"
    flags = ("--profile", "bench", "--workers", "2")
    watched: ClassVar[bool] = False
    calls_survive = False
    recovers_within = 30.0

    async def strike(self, scene: Scene) -> None:
        import aiohttp

        async with aiohttp.ClientSession(scene.server.url) as http, http.get("/v1/workers") as told:
            workers = (await told.json())["data"]
        await kill([max(workers, key=lambda one: one["sessions"])["pid"]], signal.SIGKILL)
        await asyncio.sleep(5)


FAULTS = (LlamaKilled, LlamaHangs, RecogniserKilled, RecogniserHangs, WorkerKilled)
