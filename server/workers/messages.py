"""What a worker and its front tell each other: lines of JSON over the pipes of the process. Pure.

The first line that a worker gets are its :class:`Orders`; they hold secrets, so they are in no argument and no
environment. Every other line is an object with a ``type``.
"""

from __future__ import annotations

import base64
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from server.settings import Settings
from server.workers.handover import LARGEST_STATE

LONGEST_LINE = 2 * LARGEST_STATE + (1 << 20)
"""Bytes: a conversation is quoted once more inside, which at most doubles it, as :func:`line` leaves letters as they
are."""

FromWorker = Literal[
    "starting", "arrivals", "ready", "failed", "load", "kept", "forgotten", "adopted", "secret", "opened"
]
"""``starting``: it still does, ``arrivals`` {progress}, ``ready`` {rows, missing}, ``failed`` {message}, ``load``
{sessions, begun, delay_ms, level, retry_after}, ``kept`` {session, state}, ``forgotten`` {session}, ``adopted``
{session}, ``secret`` {secret}, ``opened`` {problem}."""
FromFront = Literal["adopt", "replaced", "leave", "stop", "secret", "open"]
"""``adopt`` {session, state}, ``replaced`` {session}, ``leave`` {seconds}, ``stop``, ``secret`` {secret}: a client
secret that another worker has made or changed, ``open``: the ports of Wyoming and gRPC are this worker's now."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is to be."""

    number: int
    socket: Path
    """Where it listens."""
    settings: Settings
    cores: int
    """Processors that it may count on."""
    llama_host: Path | None = None

    def to_line(self) -> bytes:
        """For the pipe of a process that runs the same code."""
        settings = {name: getattr(self.settings, name) for name in Settings.model_fields}
        plain = (self.number, self.socket, settings, self.settings.model_fields_set, self.cores, self.llama_host)
        return base64.b64encode(pickle.dumps(plain)) + b"\n"


def read_orders(line: bytes) -> Orders:
    """Of our own parent, over a pipe that nobody else has."""
    number, socket, values, given, cores, llama_host = pickle.loads(base64.b64decode(line))
    # Neither validated nor mixed with the environment again: the front has done so.
    return Orders(number, socket, Settings.model_construct(given, **values), cores, llama_host)


def line(kind: FromWorker | FromFront, **fields: object) -> bytes:
    """A message. Half a surrogate pair comes through: whoever reads it refuses it, if it must not be there."""
    return json.dumps({"type": kind, **fields}, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def read(text: bytes) -> Json:
    """The message of a line; empty where it is none."""
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
