"""Waits until nobody is in a call here any more, or as long as it is told: before a container is stopped.

Not run here in a container.

``python drain.py SECONDS``. The standard library only. Exit status 0 either way: what is to be stopped will be.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
import time
import urllib.request

LOOK_SECONDS = 2.0
_SESSIONS = re.compile(r"^visavis_sessions(?:\{[^}]*\})? ([0-9.]+)", re.MULTILINE)


def sessions(environment: dict[str, str]) -> float:
    """How many calls there are, of ``/metrics``. Raises ``OSError`` when the server does not answer."""
    secure = environment.get("VISAVIS_TLS_SELF_SIGNED", "").lower() in ("1", "true", "yes", "on")
    secure = secure or "VISAVIS_TLS_CERT" in environment
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it asks itself, and its name is another
    url = f"http{'s' if secure else ''}://127.0.0.1:{environment.get('VISAVIS_PORT', '8080')}/metrics"
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {environment.get('VISAVIS_API_KEY', '')}"})
    with urllib.request.urlopen(asked, timeout=4, context=context if secure else None) as response:
        return sum(float(found) for found in _SESSIONS.findall(response.read().decode()))


def drain(environment: dict[str, str], seconds: float) -> float:
    """Wait; returns how many calls there are then, or seem to be."""
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
