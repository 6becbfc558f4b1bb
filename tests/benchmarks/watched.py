"""Servers of any checkout under watch, and a quiet call beside what is done to them. See ``hostile_calls.py``."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

WRAPPER = Path(__file__).with_name("watched_server.py")
START_SECONDS = 120.0


def more_important() -> None:
    """What is measured is not to wait for what measures; without the right to it, it does."""
    with suppress(PermissionError):
        os.nice(-10)


def ends_with_us() -> None:
    """In a child: be told to end when whoever started it is killed."""
    with suppress(OSError, AttributeError):  # Linux alone has it
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def free_port() -> int:
    """A UDP port nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Watched:
    """A running server; ``url`` is where."""

    def __init__(self, process: asyncio.subprocess.Process, watch_port: int) -> None:
        self.process = process
        self.url = ""
        self.log = bytearray()
        self.reading = asyncio.Event()
        """While it is not set, nobody reads what the server writes."""
        self.reading.set()
        self._port = watch_port

    async def ready(self) -> None:
        """Wait until it has told its URL."""
        assert self.process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            while line := await self.process.stdout.readline():
                self.log += line
                if found := re.search(rb"ready: (http://[^ ]+)", line):
                    self.url = found[1].decode()
                    return
        raise SystemExit(f"the server did not start: {self.log.decode()}")

    async def read_on(self) -> None:
        """Keep what it writes."""
        assert self.process.stdout is not None
        while block := await self.process.stdout.read(65536):
            self.log += block
            await self.reading.wait()

    async def ask(self, what: str = "late") -> dict[str, Any]:
        """What :class:`tests.benchmarks.watched_server.Watch` tells; it waits until the loop is free."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[bytes] = loop.create_future()

        class Ear(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                if not told.done():
                    told.set_result(data)

        transport, _ = await loop.create_datagram_endpoint(Ear, remote_addr=("127.0.0.1", self._port))
        try:
            transport.sendto(what.encode())
            async with asyncio.timeout(60):
                answer: dict[str, Any] = json.loads(await told)
                return answer
        finally:
            transport.close()

    async def empty(self, most: float) -> float | None:
        """Seconds until it has no session any more; ``None``: not within ``most``."""
        begun = time.monotonic()
        while time.monotonic() - begun < most:
            if (await self.ask("sessions"))["sessions"] == 0:
                return round(time.monotonic() - begun, 2)
            await asyncio.sleep(0.05)
        return None


@asynccontextmanager
async def running(
    tree: Path,
    *flags: str,
    profile: str = "bench",
    before: Callable[[], object] = more_important,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Watched]:
    """A server of the checkout ``tree``, stopped at the end; ``before`` is called in its process as it starts."""
    port = free_port()
    command = [sys.executable, "-P", str(WRAPPER), str(port), "serve", "--port", "0", *flags]
    if profile:
        command += ["--profile", profile]

    def begin() -> None:
        ends_with_us()
        before()

    process = await asyncio.create_subprocess_exec(
        *command, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200", **(environment or {})},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, preexec_fn=begin,
    )  # fmt: skip
    server = Watched(process, port)
    reading: asyncio.Task[None] | None = None
    try:
        await server.ready()
        reading = asyncio.create_task(server.read_on())
        yield server
    finally:
        await _end(process)
        if reading is not None:
            reading.cancel()


class Quiet:
    """A call in which nothing happens, in a process of its own; it tells the longest gap between packets it got."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def gap(self) -> float:
        """Milliseconds, since the last question."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(b"\n")
        return float(await self._process.stdout.readline())


@asynccontextmanager
async def quiet_call(url: str) -> AsyncIterator[Quiet]:
    """A quiet call to the server at ``url``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.watched", url,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, preexec_fn=more_important,
    )  # fmt: skip
    quiet = Quiet(process)
    try:
        await quiet.gap()
        yield quiet
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGCONT)  # somebody may have stopped it
        process.terminate()
        try:
            async with asyncio.timeout(15):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def be_quiet(url: str) -> None:
    """The quiet call's process: a line on the standard input is answered by the longest gap."""
    from media.aiortc_internals.direct import take_directly
    from tests.fakes.peer import Peer

    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with Peer(url) as peer:
        await peer.event("session.created")
        receiver: Any = peer.pc.getReceivers()[0]
        handle, last, longest = receiver._handle_rtp_packet, 0.0, 0.0

        async def timed(*args: Any, **more: Any) -> None:
            nonlocal last, longest
            now = time.monotonic()
            longest, last = max(longest, now - (last or now)), now
            await handle(*args, **more)

        receiver._handle_rtp_packet = timed
        take_directly(receiver, None)  # so that every packet comes by there
        await asyncio.sleep(1)
        last = longest = 0.0
        while await reader.readline():
            longest = max(longest, time.monotonic() - last if last else 0)
            sys.stdout.write(f"{1000 * longest:.1f}\n")
            sys.stdout.flush()
            longest = 0.0


if __name__ == "__main__":
    asyncio.run(be_quiet(sys.argv[1]))
