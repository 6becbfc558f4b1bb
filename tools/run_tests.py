"""Runs the whole suite as three pytest processes and `make lint` side by side, where there is more than one processor.

Most tests wait for something (a browser, a peer, a process) and leave the processor idle meanwhile. Each process has
folders of its own, so fixtures are made once and nobody shares a port or a file. What a process has to say is printed
when it has ended; the exit status is that of the worst.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

TESTS = Path(__file__).parents[1] / "tests"
GROUPS = (("browser", "interop", "loopback"), ("pipelines", "benchmarks", "media", "pipecat", "docs"))
"""Folders that together take about as long as all the rest of ``tests``, which is another group. No more than these:
tests in real time suffer where many processes compute at a time."""


LINT = ["make", "--no-print-directory", "lint"]
"""Types above all: a minute and a half of one processor, while the tests mostly wait."""


def main(arguments: list[str]) -> int:
    """Run the suite with these arguments of pytest; returns the exit status."""
    processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if processes < 2:
        return subprocess.call(LINT) or subprocess.call([sys.executable, "-m", "pytest", *arguments])
    began = time.monotonic()
    sys.stdout.write("the tests run side by side; what they have to say comes at their end\n")
    sys.stdout.flush()
    pytest = [sys.executable, "-m", "pytest"]
    running = [_start(command) for command in (*([*pytest, *group, *arguments] for group in _groups()), LINT)]
    worst = 0
    for process, output in running:
        status = process.wait()
        output.seek(0)
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()
        worst = max(worst, status if status >= 0 else 128 - status)
    sys.stdout.write(f"all tests: {time.monotonic() - began:.0f} s, exit status {worst}\n")
    return worst


def _groups() -> list[list[str]]:
    named = {name for group in GROUPS for name in group}
    rest = [path for path in sorted(TESTS.iterdir()) if path.name not in named and _has_tests(path)]
    return [[str(TESTS / name) for name in group] for group in GROUPS] + [[str(path) for path in rest]]


def _has_tests(path: Path) -> bool:
    return any(path.rglob("test_*.py")) if path.is_dir() else path.match("test_*.py")


def _start(command: list[str]) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    output = TemporaryFile()  # noqa: SIM115 - read when the process has ended
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads that wait for each other by spinning cost the others
    return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment), output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
