"""What it costs that a server keeps a history of itself: ``python -m tests.benchmarks.tracking``.

A process with as many threads and sessions as given samples itself many times over; processor time is counted, so that
a busy machine makes little difference. Prints one line of JSON: milliseconds of processor time of one sample, the share
of a core that one a second takes, and what an answer costs: ten minutes of all series, in steps of five seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable

from pipelines.runtime.usage import Ledger
from pipelines.runtime.worker import Worker
from pipelines.voice.events import TurnLatency
from server.http.tracking.history import curves, told
from server.observability.history.book import MOST_BYTES, Question
from server.observability.history.history import THREADS_EVERY, History
from tests.fakes.clock import FakeClock

PARTS = {"endpoint": 0.2, "transcript": 0.01, "first_token": 0.06, "first_clause": 0.02, "first_audio": 0.01}


async def measure(threads: int, sessions: int, samples: int) -> dict[str, float]:
    """The figures."""
    workers = [Worker(f"engine {n}", threads=2) for n in range(threads // 2)]
    ledger = Ledger()
    clock = FakeClock()
    history = History(clock, ledger=ledger, wall=clock.now)
    ids = [f"sess_{n}" for n in range(sessions)]
    history.watched.sessions = lambda: ids
    observers = [history.notes.observer(one) for one in ids]

    def talk() -> None:
        for n, one in enumerate(ids):
            ledger.begins(one, f"engine {n % 8}", [one], 0.01)
            ledger.used(f"engine {n % 8}", one, 0.3)
            ledger.answered(f"engine {n % 8}", 0.1)
            observers[n](TurnLatency("r", 0.3, PARTS))
            ledger.ends(one)

    async def sample() -> None:
        talk()
        clock.advance(1.0)
        await history.sample()

    for _ in range(2 * THREADS_EVERY):
        await sample()
    noise = await spent(lambda: asyncio.sleep(0, talk()), samples)
    each = await spent(sample, samples) - noise
    question = Question((), clock.now() - 600, clock.now(), 5.0)

    async def answered() -> bytes:
        return json.dumps(told(question, curves(await history.ask(question), question))).encode()

    answer = await spent(answered, 20)
    size = len(await answered())
    keys = len(await history.keys())
    await history.close()
    for worker in workers:
        worker.close()
    return {
        "threads": threads,
        "sessions": sessions,
        "series": keys,
        "sample_ms": round(1000 * each, 3),
        "percent_of_a_core": round(100 * each, 3),
        "answer_ms": round(1000 * answer, 2),
        "answer_kb": round(size / 1000),
        "most_bytes": MOST_BYTES,
        "load": round(os.getloadavg()[0], 1),
    }


async def spent(work: Callable[[], Awaitable[object]], times: int) -> float:
    """Processor seconds of one."""
    before = time.process_time()
    for _ in range(times):
        await work()
    return (time.process_time() - before) / times


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--threads", type=int, default=60)
    parser.add_argument("--sessions", type=int, default=24)
    parser.add_argument("--samples", type=int, default=900)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measure(given.threads, given.sessions, given.samples))))  # noqa: T201


if __name__ == "__main__":
    main()
