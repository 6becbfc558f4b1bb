"""What the routing policy does about backends that are slow, wrong, hot or dead: ``python -m tests.benchmarks.routes``.

Five language models that only pretend: one too hot, one dead, one that does not know, one that takes a minute, one that
is good after a tenth of a second. Each request is to have an answer within a second. Printed are who was asked, why,
and what became of it; then how long the requests took, and what is counted. Last, what a route costs by itself.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from media.clock import MonotonicClock
from pipelines.errors import LLMError
from pipelines.routing.run import StageRecord
from server.observability.run_metrics import forwards
from tests.fakes.backends import Backend, recorded, routed, said

REQUESTS = 10
LIMIT_MS = 1000.0
POLICY = {
    "enable_latency_check": True,
    "max_latency_ms": 300.0,
    "enable_confidence_check": True,
    "min_confidence": 0.5,
    "enable_thermal_check": True,
    "max_temperature": 80.0,
}


async def escalations() -> list[tuple[StageRecord, float]]:
    """The record of each request, and its milliseconds."""
    clock = MonotonicClock()
    hot = Backend("hot", "Never.", clock=clock)
    hot.temperature = 95.0
    found = []
    for _ in range(REQUESTS):
        dead = Backend("dead", LLMError("llm_unreachable", "no answer from it"), clock=clock)
        wrong, slow = (
            Backend("wrong", "I don't know.", clock=clock),
            Backend("slow", "Late.", clock=clock, seconds=60.0),
        )
        model = routed(clock, hot, dead, wrong, slow, Backend("good", "Paris.", clock=clock, seconds=0.1), **POLICY)
        with recorded(max_latency_ms=LIMIT_MS) as record:
            begun = time.perf_counter()
            answer = await said(model)
            found.append((record, (time.perf_counter() - begun) * 1000))
        assert answer == "Paris.", answer
    return found


async def overhead(**policy: object) -> float:
    """Microseconds that a route adds to an answer of 20 pieces."""
    clock = MonotonicClock()
    backend = Backend("one", *("word " for _ in range(20)), clock=clock)
    model, times = routed(clock, backend, Backend("two", "No.", clock=clock), **policy), []
    for _ in range(300):
        begun = time.perf_counter()
        await said(model)
        routed_seconds, begun = time.perf_counter() - begun, time.perf_counter()
        async for _piece in backend.stream(None):  # type: ignore[arg-type]  # it does not look
            pass
        times.append(routed_seconds - (time.perf_counter() - begun))
    return statistics.median(times) * 1e6


async def main() -> None:
    """Print all of it."""
    found = await escalations()
    record, _ = found[0]
    for attempt in record.attempts:
        what = f"{attempt.outcome:8}  {attempt.reason}"
        sys.stdout.write(f"{attempt.backend:6} {what}{f': {attempt.message}' if attempt.message else ''}\n")
    spent = sorted(milliseconds for _, milliseconds in found)
    sys.stdout.write(f"\n{REQUESTS} requests: median {statistics.median(spent):.0f} ms, worst {spent[-1]:.0f} ms")
    sys.stdout.write(f" (limit {LIMIT_MS:.0f})\n")
    for origin, target in forwards(record.attempts):
        sys.stdout.write(f'pipeline_forward_count{{from="{origin}",to="{target}"}}\n')
    sys.stdout.write(f"\na route by itself: {await overhead():.0f} µs an answer of 20 pieces")
    sys.stdout.write(f", with hedging {await overhead(enable_latency_check=True, max_latency_ms=300.0):.0f} µs\n")
    assert spent[-1] <= LIMIT_MS, "an answer came too late"


if __name__ == "__main__":
    asyncio.run(main())
