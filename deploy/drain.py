"""Waits until nobody is in a call here any more, or as long as it is told: before a container is stopped.

One of several nodes (``VISAVIS_CLUSTER_URL``) lets its calls go on at the others. Not run here in a container.

``python drain.py SECONDS``. The standard library only. Exit status 0 either way: what is to be stopped will be.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
import time
import urllib.request
from contextlib import suppress

LOOK_SECONDS = 2.0
_SESSIONS = re.compile(r"^visavis_sessions(?:\{[^}]*\})? ([0-9.]+)", re.MULTILINE)


def ask(environment: dict[str, str], method: str, path: str) -> str:
    """What the server here answers. Raises ``OSError`` when it does not."""
    secure = environment.get("VISAVIS_TLS_SELF_SIGNED", "").lower() in ("1", "true", "yes", "on")
    secure = secure or "VISAVIS_TLS_CERT" in environment
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it asks itself, and its name is another
    url = f"http{'s' if secure else ''}://127.0.0.1:{environment.get('VISAVIS_PORT', '8080')}{path}"
    headers = {"Authorization": f"Bearer {environment.get('VISAVIS_API_KEY', '')}"}
    asked = urllib.request.Request(url, headers=headers, method=method)
    with urllib.request.urlopen(asked, timeout=4, context=context if secure else None) as response:
        text: str = response.read().decode()
        return text


def sessions(environment: dict[str, str]) -> float:
    """How many calls there are, of ``/metrics``. Raises ``OSError`` when the server does not answer."""
    return sum(float(found) for found in _SESSIONS.findall(ask(environment, "GET", "/metrics")))


def let_go(environment: dict[str, str]) -> None:
    """Ask a node of several to let its calls go on at the others; at its end it does so by itself."""
    if environment.get("VISAVIS_CLUSTER_URL"):
        with suppress(OSError):
            ask(environment, "POST", "/v1/node/drain")


def drain(environment: dict[str, str], seconds: float) -> float:
    """Wait; returns how many calls there are then, or seem to be."""
    let_go(environment)
    end, left = time.monotonic() + seconds, 0.0
    while True:
        try:
            left = sessions(environment)
        except OSError:
            return 0.0
        if not left or time.monotonic() >= end:
            return left
        time.sleep(min(LOOK_SECONDS, max(0.0, end - time.monotonic())))


if __name__ == "__main__":
    sys.stdout.write(f"{drain(dict(os.environ), float(sys.argv[1])):g} calls are left\n")
