"""Ids that carry the node and the worker they were made by, so that every later request about them finds both without a
table. Pure.

Of worker 3 a session is ``sess_3w4f1c…``, its call ``rtc_3w4f1c…``, a start ``start_3w…``, a client secret ``ek_3w…``;
on node ``berlin`` of several they are ``sess_berlin.3w4f1c…``, or ``sess_berlin.4f1c…`` where it has no workers.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

NewId = Callable[[str], str]
"""Makes an id of a kind, such as ``sess``."""
NODE = "[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?"
"""A node's name, as a regular expression: what may stand in a host's name."""
_NAMED = r"(?:(?P<node>" + NODE + r")\.)?(?:(?P<worker>\d{1,9})w)?[0-9a-f]"
_PLACED = re.compile(r"(?<![0-9A-Za-z])(?:sess|rtc|start|ek)_" + _NAMED)
_WITHOUT_KIND = re.compile(_NAMED)


def ids_of(worker: int | None, node: str | None = None) -> NewId:
    """What makes the ids of this worker of this node; ``None``: there is only one."""
    where = f"{node}." if node is not None else ""
    where += f"{worker}w" if worker is not None else ""
    return lambda kind: f"{kind}_{where}{secrets.token_hex(8)}"


def worker_in(text: str, node: str | None = None) -> int | None:
    """The worker that the first such id in ``text`` was made by; ``None`` where there is none, or one of another node
    than ``node``."""
    found = _PLACED.search(text)
    return int(found["worker"]) if found is not None and found["worker"] and found["node"] == node else None


def node_in(text: str) -> str | None:
    """The node that the first such id in ``text`` was made by; ``None`` where there is none."""
    found = _PLACED.search(text)
    return found["node"] if found is not None else None


def node_of_bare(name: str) -> str | None:
    """The same of an id that is written without its kind, as that of a client secret is in a path."""
    found = _WITHOUT_KIND.match(name)
    return found["node"] if found is not None else None
