"""Does making a film slow the words beside it? Twenty tokens a second, alone and beside the real extrapolation.

    python -m tests.benchmarks.foresight [--quality high] [--rounds 3]

The two are measured in turn, and the shortest of each is compared, for other load only ever makes them longer.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import get_args

from rich.console import Console

from pipelines.errors import ModelError
from pipelines.foresight.events import TextDone
from pipelines.foresight.executor import Makers, foresee
from pipelines.foresight.filming import Scene
from pipelines.foresight.quality import Quality
from pipelines.foresight.service import Foresight
from pipelines.runtime.worker import Worker
from tests.fakes.foresight import FakeDescriber, FakeFilmer, Told
from tests.fakes.moving import moving

TOKENS = 20
TOKEN_SECONDS = 0.05


async def words_took(makers: Makers, quality: Quality) -> float:
    """Seconds from the request to the last word."""
    told, ended = Told(), asyncio.Event()

    async def take(event: object) -> None:
        await told(event)
        if isinstance(event, TextDone):
            ended.set()

    begun = time.perf_counter()
    running = asyncio.create_task(foresee(SCENE, quality, makers, take))
    await ended.wait()
    took = time.perf_counter() - begun
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return took


async def measure(quality: Quality, rounds: int) -> tuple[float, float]:
    """Seconds until the last word, with no film and beside one."""

    async def token() -> None:
        await asyncio.sleep(TOKEN_SECONDS)

    foresight, worker = Foresight(), Worker("bench")
    try:
        film = foresight.makers(SCENE).filmer
        alone, beside = list[float](), list[float]()
        for _ in range(rounds):
            for filmer, found in ((FakeFilmer(errors=[ModelError("no_film", "")]), alone), (film, beside)):
                makers = Makers(FakeDescriber(["word "] * TOKENS, token), filmer, worker)
                found.append(await words_took(makers, quality))
    finally:
        await foresight.settle()
        foresight.close()
        worker.close()
    return min(alone), min(beside)


SCENE = Scene(moving(1), moving(0), 1 / 15)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", default="high", choices=get_args(Quality))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    alone, beside = asyncio.run(measure(args.quality, args.rounds))
    told = f"{TOKENS} tokens alone {1000 * alone:.0f} ms, beside a film {1000 * beside:.0f} ms: {beside / alone:.2f} ×"
    Console(width=120).print(told)


if __name__ == "__main__":
    main()
