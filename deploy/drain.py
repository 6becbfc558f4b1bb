"""Waits until nobody is in a call here any more, or as long as it is told: before a container is stopped.

One of several nodes (``VISAVIS_CLUSTER_URL``) lets its calls go on at the others. Not run here in a container.

``python drain.py SECONDS``. The standard library only. Exit status 0 either way: what is to be stopped will be.
"""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import suppress

from healthcheck import ask  # which lies beside it

LOOK_SECONDS = 2.0
_SESSIONS = re.compile(r"^visavis_sessions(?:\{[^}]*\})? ([0-9.]+)", re.MULTILINE)


def sessions(environment: dict[str, str]) -> float:
    """How many calls there are, of ``/metrics``. Raises ``OSError`` when the server does not answer."""
    return sum(float(found) for found in _SESSIONS.findall(ask(environment, "GET", "/metrics")))


def let_go(environment: dict[str, str]) -> None:
    """Ask a node of several to let its calls go on at the others; at its end it does so by itself."""
    if environment.get("VISAVIS_CLUSTER_URL"):
        with suppress(OSError):
            ask(environment, "POST", "/v1/node/drain")


def drain(environment: dict[str, str], seconds: float) -> float | None:
    """Wait; returns how many calls there are then, ``None`` where the server did not say.

    Only a server that nothing listens for is gone: one that is late, or wants a key that is not in its environment, may
    be in calls, and gets the time it was promised.
    """
    let_go(environment)
    end = time.monotonic() + seconds
    while True:
        left: float | None
        try:
            left = sessions(environment)
        except ConnectionRefusedError:
            return 0.0
        except OSError:
            left = None
        if left == 0 or time.monotonic() >= end:
            return left
        time.sleep(min(LOOK_SECONDS, max(0.0, end - time.monotonic())))


if __name__ == "__main__":
    calls = drain(dict(os.environ), float(sys.argv[1]))
    sys.stdout.write(
        "the server does not say how many calls are left\n" if calls is None else f"{calls:g} calls are left\n"
    )
