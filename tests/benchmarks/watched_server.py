"""The server of any checkout, with a UDP port that tells how late its event loop was and what its process holds.

    PYTHONPATH=CHECKOUT python -P tests/benchmarks/watched_server.py WATCH_PORT serve --profile bench …

A datagram ``late`` is answered by JSON and begins a new measurement; see :func:`Watch.told`. ``collect`` frees first
what nobody holds any more, ``trim`` gives free memory back to the system as well, ``heaps`` tells what the C library
has for it, ``kinds`` what there is most of, ``wall SECONDS`` sets the clock. It asks nothing of the checkout but
``server.cli.main`` and the registry of sessions, so that two versions can be compared.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

BEAT_SECONDS = 0.002
MOST_KINDS = 60
"""Kinds of objects that ``kinds`` tells; a datagram holds no more."""


class Watch(asyncio.DatagramProtocol):
    """Lives on the loop that it watches."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._transport: Any = None
        self._late = 0.0
        self._due = 0.0
        self._collecting = self._collected = 0.0
        gc.callbacks.append(self._collection)

    def connection_made(self, transport: Any) -> None:
        """Begin to watch."""
        self._transport = transport
        self._beat_again()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Somebody asks."""
        if data in (b"collect", b"trim"):
            gc.collect()
        if data.startswith(b"wall "):
            move_wall_clock(float(data[5:]))
        if data == b"trim":
            with suppress(OSError, AttributeError):  # a libc other than GNU's
                ctypes.CDLL(None).malloc_trim(0)
        told = {b"kinds": kinds, b"heaps": heaps}.get(data, self.told)()
        self._transport.sendto(json.dumps(told).encode(), addr)
        self._late = self._collected = 0.0

    def told(self) -> dict[str, Any]:
        """The longest lateness and collection since the last question in milliseconds, and what there is now."""
        from server.http.signaling.offer import REGISTRY

        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return {
            "late_ms": round(1000 * max(self._late, time.monotonic() - self._due), 1),
            "collected_ms": round(1000 * self._collected, 1),
            "sessions": len(self._app[REGISTRY]),
            "tasks": len(asyncio.all_tasks()),
            "threads": int(status["Threads"]),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "rss_mb": round(int(status["VmRSS"].split()[0]) / 1024, 1),
            "peak_mb": round(int(status["VmHWM"].split()[0]) / 1024, 1),
            "cpu_s": round(time.process_time(), 2),
            "objects": sys.getallocatedblocks(),
        }

    def _collection(self, phase: str, info: dict[str, int]) -> None:
        """Python begins or ends looking for what nobody holds any more; nothing else runs meanwhile."""
        if phase == "start":
            self._collecting = time.perf_counter()
        else:
            self._collected = max(self._collected, time.perf_counter() - self._collecting)

    def _beat_again(self) -> None:
        now = time.monotonic()
        if self._due:
            self._late = max(self._late, now - self._due)
        self._due = now + BEAT_SECONDS
        asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat_again)


def move_wall_clock(seconds: float, now: Callable[[], float] = time.time) -> None:
    """Let this process believe that it is so much later than it is: what a machine sees whose clock is set.

    Linux has no such namespace for the wall clock (only for the monotonic ones), so it is Python that is told.
    """
    import aiortc.clock

    time.time = lambda: now() + seconds
    time.time_ns = lambda: round(10**9 * time.time())
    aiortc.clock.current_datetime = lambda: datetime.fromtimestamp(time.time(), UTC)


def kinds() -> dict[str, Any]:
    """How many objects there are of each type, and tasks by what they run: the most frequent ones."""
    gc.collect()
    types = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    tasks = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    return {"types": dict(types.most_common(MOST_KINDS)), "tasks": dict(tasks.most_common(MOST_KINDS))}


def heaps() -> dict[str, Any]:
    """What the heaps of glibc hold, by ``malloc_info(3)``; empty with another libc.

    ``free_mb`` is in holes between what is used; a part of it may have been given back to the system by a trim.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_info"):
        return {}
    text, size = ctypes.c_char_p(), ctypes.c_size_t()
    libc.open_memstream.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(libc.open_memstream(ctypes.byref(text), ctypes.byref(size)))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    told = ctypes.string_at(text, size.value).decode()
    libc.free(text)
    each, total = told.split("</heap>")[:-1], told.rpartition("</heap>")[2]
    free, held, mapped = (
        sum(int(one) for one in re.findall(rf'<{kind}" (?:count="\d+" )?size="(\d+)"', total))
        for kind in ('total type="(?:fast|rest)', 'system type="current', 'total type="mmap')
    )
    mb = {"held_mb": held, "free_mb": free, "mapped_mb": mapped}
    return {"heaps": len(each), **{name: round(size / 2**20, 1) for name, size in mb.items()}}


def main() -> None:
    """Run the command line of the checkout on the path, watched."""
    port = int(sys.argv[1])
    setup = web.AppRunner.setup

    async def setup_watched(self: web.AppRunner) -> None:
        from server.http.signaling.offer import REGISTRY

        await setup(self)
        if REGISTRY not in self.app:
            return  # what answers while the engines are being loaded
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: Watch(self.app), local_addr=("127.0.0.1", port))

    web.AppRunner.setup = setup_watched  # type: ignore[method-assign]
    from server.cli.main import main as run

    run(sys.argv[2:])


if __name__ == "__main__":
    main()
