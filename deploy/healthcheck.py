"""Whether the server in this container serves: exit status 0, else 1. The standard library only.

A server that is full is healthy: to start it anew would end every call.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import urllib.error
import urllib.request


def healthy(environment: dict[str, str]) -> bool:
    """Ask ``/readyz`` of the port and the scheme that the settings in ``environment`` name."""
    secure = environment.get("VISAVIS_TLS_SELF_SIGNED", "").lower() in ("1", "true", "yes", "on")
    secure = secure or "VISAVIS_TLS_CERT" in environment
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it asks itself, and its name is another
    url = f"http{'s' if secure else ''}://127.0.0.1:{environment.get('VISAVIS_PORT', '8080')}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=4, context=context if secure else None) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        try:
            return bool(json.load(error).get("status") == "full")
        except ValueError:
            return False
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy(dict(os.environ)) else 1)
