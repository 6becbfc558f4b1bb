"""A hundred requests for runs at the same moment, with real engines: is everybody served, and how long does it take?

    python -m tests.benchmarks.crowd [--requests 100] [--pipeline voice-assistant] [--runs 4] [--words "…"]

The question is spoken once by the voice of this machine; every request brings it as PCM, a tenth of them critical. What
is measured is the whole on one machine: server and clients share its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections import Counter
from typing import Any

import aiohttp
from rich.console import Console

from server.engines.build import build_engines
from server.http.app import create_app
from server.http.web_server import WebServer
from server.settings import load_settings


async def question(http: aiohttp.ClientSession, words: str) -> bytes:
    """The words, spoken: PCM at 16 kHz."""
    headers = {"Content-Type": "text/plain", "Accept": "audio/pcm"}
    async with http.post("/v1/pipelines/read-aloud?rate=16000", data=words, headers=headers) as response:
        response.raise_for_status()
        return await response.read()


async def ask(http: aiohttp.ClientSession, pipeline: str, sound: bytes, priority: str) -> tuple[int, float, float, str]:
    """Status, seconds to the first byte and to the last, and the priority."""
    began = time.monotonic()
    headers = {"Content-Type": "audio/pcm", "X-Priority": priority}
    async with http.post(f"/v1/pipelines/{pipeline}", data=sound, headers=headers) as response:
        first = None
        async for _ in response.content.iter_any():
            first = first or time.monotonic() - began
        return response.status, first or 0.0, time.monotonic() - began, priority


def told(name: str, seconds: list[float]) -> str:
    """Median, 95 % and the longest."""
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    shown = f"median {statistics.median(ordered):6.2f} s   95 % {late:6.2f} s   longest {ordered[-1]:6.2f} s"
    return f"{name:<24} n={len(ordered):<4} {shown}"


async def crowd(options: argparse.Namespace) -> None:
    """Serve, ask, tell."""
    console = Console(highlight=False, soft_wrap=True)
    flags: dict[str, Any] = {"port": 0, "pipeline_runs": options.runs, "pipeline_queue": options.requests}
    settings = load_settings({**flags, "download": False})
    engines = await build_engines(settings, console.print)
    server = WebServer(create_app(settings, engines), settings)
    await server.start()
    try:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(server.url, connector=connector, timeout=timeout) as http:
            sound = await question(http, options.words)
            alone = await ask(http, options.pipeline, sound, "normal")
            console.print(f"alone: {alone[0]}, first byte after {alone[1]:.2f} s, all after {alone[2]:.2f} s")
            began = time.monotonic()
            urgent = {number for number in range(options.requests) if number % 10 == 9}
            asked = (
                ask(http, options.pipeline, sound, "critical" if number in urgent else "normal")
                for number in range(options.requests)
            )
            answers = await asyncio.gather(*asked)
            spent = time.monotonic() - began
        console.print(
            f"{options.requests} at once, {options.runs} at a time: {dict(Counter(one[0] for one in answers))}"
        )
        for priority in ("critical", "normal"):
            mine = [one for one in answers if one[3] == priority and one[0] == 200]
            if mine:
                console.print(told(f"{priority}, first byte", [one[1] for one in mine]))
                console.print(told(f"{priority}, all", [one[2] for one in mine]))
        console.print(f"{len(answers) / spent:.2f} a second")
    finally:
        await server.close()
        await engines.close()


def main() -> None:
    """Read the command line and go."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--pipeline", default="voice-assistant")
    parser.add_argument("--words", default="What is the weather in Paris?")
    asyncio.run(crowd(parser.parse_args()))


if __name__ == "__main__":
    main()
