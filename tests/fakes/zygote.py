"""Where processes are forked from that answer each line with their number and the line, and end with a number."""

from __future__ import annotations

import os
import sys
import threading


def main() -> None:
    """What each does."""
    while line := os.read(0, 100).decode():
        if line.strip().isdecimal():
            os._exit(int(line))
        os.write(1, f"{os.getpid()} {line}".encode())


if __name__ == "__main__":
    from server.workers.processes.zygote import run

    if "threads" in sys.argv:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    run((), "tests.fakes.zygote")
