"""Whether the server in this container serves: exit status 0, else 1. The standard library only.

A server that is full or has too much to do is healthy: to start it anew would end every call.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
import urllib.error
import urllib.request

SECONDS = 4
"""For an answer; the whole check has five."""
FULL = ("full", "busy")
"""What a server says that serves and takes nobody new: all places are taken, or it has too much to do."""


def ask(environment: dict[str, str], method: str, path: str) -> str:
    """What the server here answers.

    The port is that of ``VISAVIS_PORT``. Whether HTTPS is served may be told by a flag or a file, which nobody but the
    server has read: so the scheme that the variables name is tried first, and then the other.

    Raises :class:`urllib.error.HTTPError` for an answer that is none of success, other kinds of :class:`OSError` when
    nothing answers (:class:`ConnectionRefusedError`: nothing listens).
    """
    secure = environment.get("VISAVIS_TLS_SELF_SIGNED", "").lower() in ("1", "true", "yes", "on")
    schemes = ["http", "https"]
    if secure or environment.get("VISAVIS_TLS_CERT"):
        schemes.reverse()
    for last, scheme in enumerate(schemes):
        try:
            return _ask(f"{scheme}://127.0.0.1:{environment.get('VISAVIS_PORT') or '8080'}{path}", environment, method)
        except (ssl.SSLError, ConnectionResetError, http.client.HTTPException) as error:  # it speaks the other one
            if last:
                raise ConnectionError(str(error)) from error
    raise AssertionError("one of both has answered or was the last")


def _ask(url: str, environment: dict[str, str], method: str) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it asks itself, and its name is another
    headers = {"Authorization": f"Bearer {key}"} if (key := environment.get("VISAVIS_API_KEY")) else {}
    asked = urllib.request.Request(url, headers=headers, method=method)
    no_proxy = urllib.request.ProxyHandler({})
    opener = urllib.request.build_opener(no_proxy, urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(asked, timeout=SECONDS) as response:
            text: str = response.read().decode("utf-8", "replace")
            return text
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:
        raise error.reason if isinstance(error.reason, OSError) else error from None


def healthy(environment: dict[str, str]) -> bool:
    """Ask ``/readyz``."""
    try:
        ask(environment, "GET", "/readyz")
    except urllib.error.HTTPError as error:
        try:
            return json.load(error).get("status") in FULL
        except (ValueError, AttributeError, OSError, http.client.HTTPException):
            return False
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(0 if healthy(dict(os.environ)) else 1)
