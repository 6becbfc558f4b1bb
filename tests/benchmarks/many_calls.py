"""A thousand short calls, a few at a time, half of them killed: what a server still holds after them.

    .venv/bin/python -m tests.benchmarks.many_calls [--calls 1000] [--at-once 6] [--killed 50] [--tree CHECKOUT]
        [-- FLAGS of serve]

Of a hundred calls ``--killed`` are processes that kill themselves with SIGKILL, over every transport and at every
moment of ``killed_callers.TABLE`` in turn. The others connect with voice and events (and by default every other one
with a camera), say half a second, hear as much and end, every fourth one without a goodbye. After each twentieth of
all, when no session is left, one line: tasks of asyncio, threads, descriptors, megabytes.

What 200 calls leave in memory is the plateau: libraries fill caches, and the heap has its holes. The server gives back
to the system what it can once nobody is left; ``after a trim`` shows what more there would be. Exit status 1: more is
held at the end than at the plateau (``MOST``).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from media.opus import RATE
from pipelines.runtime.tidying import TIDY_SECONDS
from tests.benchmarks.hostile_calls import question
from tests.benchmarks.killed_callers import TABLE, killed
from tests.benchmarks.watched import running
from tests.fakes.peer import Peer, loud, picture_frame

CALL_SECONDS = 30.0
CONNECT_TIMEOUT = "8"
"""Seconds after which the server gives up a caller that never connects: thirty would be waited for after each block."""
PLATEAU = 0.2
"""Share of the calls after which it is noted what is held."""
MOST = {"rss_mb": 10, "descriptors": 4, "tasks": 4, "threads": 4}
"""More at the end than at the plateau."""
console = Console(highlight=False, markup=False, soft_wrap=True)


async def one_call(url: str, number: int, pictures: bool) -> str:
    """What became of it: ``ok`` or the name of the error."""
    peer = Peer(url, kinds=("audio", "video") if pictures else ("audio",))
    try:
        async with asyncio.timeout(CALL_SECONDS):
            await peer.connect()
            await peer.event("session.created", timeout=CALL_SECONDS)
            peer.say(loud(0.5), RATE)
            if pictures:
                await peer.show(lambda n: picture_frame(pts=n * 3000), lambda: len(peer.heard) > RATE // 2)
            else:
                await peer.until(lambda: len(peer.heard) > RATE // 2, CALL_SECONDS)
        if number % 4 == 3:
            peer.vanish()
    except (AssertionError, TimeoutError, OSError) as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    finally:
        with suppress(TimeoutError):  # the client's own library may wait for ever, the server's must not
            async with asyncio.timeout(3):
                await peer.close()
    return "ok"


def is_killed(number: int, percent: float) -> bool:
    """Whether this call is one of those that are killed: spread evenly.

    >>> [is_killed(n, 50) for n in range(4)]
    [False, True, False, True]
    """
    return int((number + 1) * percent / 100) > int(number * percent / 100)


def kept(plateau: dict[str, Any], end: dict[str, Any]) -> list[str]:
    """What is held beyond :data:`MOST`, in words."""
    more = {name: round(end[name] - plateau[name], 1) for name in MOST}
    return [
        f"{name}: {more[name]} more than at the plateau; at most {MOST[name]}"
        for name in MOST
        if more[name] > MOST[name]
    ]


async def main() -> int:
    """Call, and tell; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=6)
    parser.add_argument("--killed", type=float, default=50.0, metavar="PERCENT", help="of the calls")
    parser.add_argument("--pictures-every", type=int, default=2, help="one call in so many has a camera")
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop after so long")
    parser.add_argument("--tree", type=Path, default=Path.cwd(), help="the checkout whose server is called")
    parser.add_argument("flags", nargs="*", help="for the server")
    options = parser.parse_args()
    became: Counter[str] = Counter()
    os.environ.setdefault("VISAVIS_CONNECT_TIMEOUT", CONNECT_TIMEOUT)
    said = await question("How many people are there in this room?")
    block, begun = max(1, options.calls // 20), time.monotonic()
    async with running(options.tree.resolve(), *options.flags) as server:
        plateau = start = await server.ask()
        console.print(f"{0:5} {json.dumps(start)}")
        numbers, kills = iter(range(options.calls)), itertools.count()
        for done in range(block, options.calls + 1, block):
            waiting = [next(numbers) for _ in range(block)]

            async def caller(waiting: list[int] = waiting) -> None:
                while waiting:
                    number = waiting.pop()
                    if is_killed(number, options.killed):
                        became[await killed(server.url, *TABLE[next(kills) % len(TABLE)], said, number)] += 1
                    else:
                        became[await one_call(server.url, number, number % options.pictures_every == 0)] += 1

            await asyncio.gather(*(caller() for _ in range(options.at_once)))
            empty = await server.empty(60)
            await asyncio.sleep(TIDY_SECONDS + 1)
            told = await server.ask("collect")
            passed = round(time.monotonic() - begun)
            console.print(f"{done:5} {json.dumps(told)}  empty after {empty} s, {passed} s in all")
            if done <= max(block, PLATEAU * options.calls):
                plateau = told
            if time.monotonic() - begun > options.seconds:
                break
        await asyncio.sleep(10)
        end = await server.ask("collect")
        console.print(f"  end {json.dumps(end)}")
        console.print(f"after a trim {json.dumps(await server.ask('trim'))}")
        console.print(f"{dict(became)}; exceptions in the log: {server.log.count(b'Traceback')}")
        wrong = kept(plateau, end)
        for reason in wrong:
            console.print(f"broken: {reason}")
        if wrong:
            console.print(json.dumps(await server.ask("kinds")))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
