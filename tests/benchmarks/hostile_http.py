"""Thousands of hostile requests on raw sockets: what statuses they get, and whether the server lives.

    .venv/bin/python -m tests.benchmarks.hostile_http [--random 4000] [--seed 1] [--url URL] [-- FLAGS]

Without ``--url`` a server of the bench profile is started (with the FLAGS) and stopped. Exit status 1 when a request
was answered 5xx or in another shape than ours, or the server did not answer afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from itertools import chain

from rich.console import Console

from tests.fakes.hostile_requests import corpus, header_cases_with_body, mutations
from tests.fakes.raw_http import address_of, ask, attack, judge


async def started(flags: list[str]) -> tuple[asyncio.subprocess.Process, str]:
    """A server and its URL."""
    command = (sys.executable, "-m", "server", "serve", "--profile", "bench", "--port", "0", *flags)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if found := re.search(rb"http://[^ ]+", line):
            return process, found[0].decode()
    raise SystemExit("the server did not start")


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--random", type=int, default=4000, help="random requests beside the corpus (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("flags", nargs="*", help="for the server that is started")
    options = parser.parse_args()
    process, url = (None, options.url) if options.url else await started(options.flags)
    logged = bytearray()

    async def keep(stream: asyncio.StreamReader) -> None:
        while block := await stream.read(65536):
            logged.extend(block)

    keeping = asyncio.create_task(keep(process.stdout)) if process is not None and process.stdout is not None else None
    address = address_of(url)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    begun = time.monotonic()
    try:
        cases = chain(corpus(), header_cases_with_body(), mutations(options.seed, options.random))
        counts, wrong = await attack(*address, cases)
        alive = judge(await ask(*address, b"GET /healthz HTTP/1.0\r\n\r\n"))[0] == "200"
    finally:
        if process is not None and process.returncode is None:
            process.terminate()
            await process.wait()
        if keeping is not None:
            await keeping
    for line in wrong[:40]:
        console.print(line)
    console.print(
        f"{sum(counts.values())} requests in {time.monotonic() - begun:.0f} s: {dict(sorted(counts.items()))}"
    )
    server_errors = sum(n for status, n in counts.items() if status.startswith("5"))
    console.print(
        f"5xx: {server_errors}; not as it must be: {len(wrong)}; alive afterwards: {alive}; log: {len(logged)} bytes"
    )
    return 0 if alive and not wrong else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
