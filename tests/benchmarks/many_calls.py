"""A thousand short calls, a few at a time: what a server still holds after them.

    .venv/bin/python -m tests.benchmarks.many_calls [--calls 1000] [--at-once 6] [--tree CHECKOUT] [-- FLAGS]

Each call connects with voice and events (and by default every other one with a camera), says half a second, hears as
much and ends, every fourth one without a goodbye. After each twentieth of them, when no session is left, one line:
tasks of asyncio, threads, descriptors, megabytes. What 200 calls leave in memory is the plateau.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from media.opus import RATE
from tests.benchmarks.watched import running
from tests.fakes.peer import Peer, loud, picture_frame

CALL_SECONDS = 30.0
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


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=6)
    parser.add_argument("--pictures-every", type=int, default=2, help="one call in so many has a camera")
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop after so long")
    parser.add_argument("--tree", type=Path, default=Path.cwd(), help="the checkout whose server is called")
    parser.add_argument("flags", nargs="*", help="for the server")
    options = parser.parse_args()
    became: Counter[str] = Counter()
    block, begun = max(1, options.calls // 20), time.monotonic()
    async with running(options.tree.resolve(), *options.flags) as server:
        start = await server.ask()
        console.print(f"{0:5} {json.dumps(start)}")
        numbers = iter(range(options.calls))
        for done in range(block, options.calls + 1, block):
            waiting = [next(numbers) for _ in range(block)]

            async def caller(waiting: list[int] = waiting) -> None:
                while waiting:
                    number = waiting.pop()
                    became[await one_call(server.url, number, number % options.pictures_every == 0)] += 1

            await asyncio.gather(*(caller() for _ in range(options.at_once)))
            empty = await server.empty(60)
            told = await server.ask()
            passed = round(time.monotonic() - begun)
            console.print(f"{done:5} {json.dumps(told)}  empty after {empty} s, {passed} s in all")
            if time.monotonic() - begun > options.seconds:
                break
        await asyncio.sleep(10)
        console.print(f"  end {json.dumps(await server.ask())}")
        console.print(f"after a collection {json.dumps(await server.ask('collect'))}")
        console.print(f"{dict(became)}; exceptions in the log: {server.log.count(b'Traceback')}")


if __name__ == "__main__":
    asyncio.run(main())
