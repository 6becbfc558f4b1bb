"""Ids that carry the worker they were made by, so that every later request about them finds it without a table. Pure.

Of worker 3 a session is ``sess_3w4f1c…``, its call ``rtc_3w4f1c…``, a start ``start_3w…``, a client secret ``ek_3w…``.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

NewId = Callable[[str], str]
"""Makes an id of a kind, such as ``sess``."""
_PLACED = re.compile(r"(?<![0-9A-Za-z])(?:sess|rtc|start|ek)_(\d{1,9})w[0-9a-f]")


def ids_of(worker: int) -> NewId:
    """What makes the ids of this worker."""
    return lambda kind: f"{kind}_{worker}w{secrets.token_hex(8)}"


def worker_in(text: str) -> int | None:
    """The worker that the first such id in ``text`` was made by; ``None`` where there is none."""
    found = _PLACED.search(text)
    return int(found[1]) if found is not None else None
