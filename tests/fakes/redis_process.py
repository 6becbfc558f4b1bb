"""A real ``redis-server`` of the system on a free port of this machine, which can be killed and started again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

PROGRAM = shutil.which("redis-server")
START_SECONDS = 20.0


def needed() -> None:
    """Skip the test where it cannot be had."""
    pytest.importorskip("redis", reason="needs the extra `cluster`")
    if PROGRAM is None:
        pytest.skip("needs redis-server (Debian: apt-get install redis-server)")


class RedisProcess:
    """Keeps nothing on the disk. ``folder``: where it runs."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns when it answers."""
        assert PROGRAM is not None
        flags = ("--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no")
        nowhere = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM, *flags, cwd=self._folder, stdout=nowhere, stderr=nowhere
        )
        async with asyncio.timeout(START_SECONDS):
            while not await self._answers():
                assert self._process.returncode is None, "redis-server has ended"
                await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        try:
            return (await self.command("PING")).startswith("+PONG")
        except OSError:
            return False

    async def command(self, *words: str) -> str:
        """The first line of its answer to a command without spaces in it. Raises ``OSError``."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(" ".join(words).encode() + b"\r\n")
        answer = await reader.readline()
        writer.close()
        return answer.decode().strip()

    def hold(self, *, still: bool) -> None:
        """Let it stand still, or go on: it takes connections and answers nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP if still else signal.SIGCONT)

    async def kill(self) -> None:
        """By force. Idempotent."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
