"""How busy this process keeps GPUs of Intel and AMD, by what Linux' graphics drivers tell of each file that is open.

OpenVINO and others that compute on such a GPU hold a file below ``/dev/dri`` open; its ``fdinfo`` names the device, the
time or the cycles for which its parts have worked, and memory. It is this process's own share: of others' nothing is
known. Source: Documentation/gpu/drm-usage-stats.rst of the kernel (i915 and amdgpu tell nanoseconds, xe cycles).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LOOK_EVERY = 10
"""Readings between looks at which files are open: there is one for each connection, and few are a GPU's."""
_DEVICES = "/dev/dri/"
_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@dataclass(slots=True)
class Client:
    """What a driver tells of one user of a device; several open files may be one."""

    device: str
    """Driver and address on the bus, such as ``i915 0000:00:02.0``."""
    number: str
    busy: dict[str, float] = field(default_factory=dict)
    """Of each part of the device, for how long it has worked for this client: seconds, or cycles …"""
    of: dict[str, float] = field(default_factory=dict)
    """… of so many; not there where ``busy`` has seconds."""
    memory: int | None = None
    """Bytes; ``None``: not told."""


def parse(text: str) -> Client | None:
    """One file of ``fdinfo``; ``None`` when it is no GPU's."""
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    if "drm-driver" not in told or "drm-client-id" not in told:
        return None
    client = Client(f"{told['drm-driver']} {told.get('drm-pdev', '')}".strip(), told["drm-client-id"])
    for name, value in told.items():
        number, _, unit = value.partition(" ")
        if not number.isdigit():
            continue
        kind, _, part = name.removeprefix("drm-").partition("-")
        if name.startswith("drm-engine-capacity-"):
            continue
        if name.startswith("drm-total-cycles-"):
            client.of[part.removeprefix("cycles-")] = float(number)
        elif kind == "engine" and unit == "ns":
            client.busy[part] = int(number) / 1e9
        elif kind == "cycles":
            client.busy[part] = float(number)
    client.memory = _memory(told)
    return client


def _memory(told: Mapping[str, str]) -> int | None:
    """Of all regions: what is resident, or what is in use where the driver is older, or else all."""
    for kind in ("drm-resident-", "drm-memory-", "drm-total-"):
        found = [value for name, value in told.items() if name.startswith(kind) and "cycles" not in name]
        with suppress(ValueError, KeyError):
            sizes = [int(value.split()[0]) * _UNITS[" ".join(value.split()[1:])] for value in found]
            if sizes:
                return sum(sizes)
    return None


class DrmClients:
    """Reads those of this process. ``root`` is the folder of the system's files."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._own = root / "proc" / "self"
        self._there = (root / "dev" / "dri").is_dir()
        self._files: list[str] = []
        self._readings = 0
        self._before: dict[tuple[str, str], Client] = {}
        self._at = 0.0

    def read(self, now: float) -> dict[str, tuple[float | None, int | None]]:
        """By device: the share of the time since the reading before in which its busiest part worked for this process
        (``None`` the first time), and bytes."""
        if not self._there:
            return {}
        if self._readings % LOOK_EVERY == 0:
            self._files = self._look()
        self._readings += 1
        clients: dict[tuple[str, str], Client] = {}
        for number in self._files:
            with suppress(OSError):
                client = parse((self._own / "fdinfo" / number).read_text("utf-8", "replace"))
                if client is not None:
                    clients[client.device, client.number] = client
        seconds, before = now - self._at, self._before
        self._before, self._at = clients, now
        devices: dict[str, list[Client]] = defaultdict(list)
        for client in clients.values():
            devices[client.device].append(client)
        return {name: (_busy(own, before, seconds), _total(own)) for name, own in devices.items()}

    def _look(self) -> list[str]:
        found = []
        with suppress(OSError):
            for number in os.listdir(self._own / "fd"):
                with suppress(OSError):
                    if os.readlink(self._own / "fd" / number).startswith(_DEVICES):
                        found.append(number)
        return found


def _busy(clients: list[Client], before: Mapping[tuple[str, str], Client], seconds: float) -> float | None:
    shares: dict[str, float] = defaultdict(float)
    known = False
    for client in clients:
        earlier = before.get((client.device, client.number))
        if earlier is None or seconds <= 0:
            continue
        known = known or bool(client.busy)
        for part, busy in client.busy.items():
            of = client.of[part] - earlier.of.get(part, 0.0) if part in client.of else seconds
            if of > 0:
                shares[part] += max(0.0, busy - earlier.busy.get(part, 0.0)) / of
    return min(1.0, max(shares.values(), default=0.0)) if known else None


def _total(clients: list[Client]) -> int | None:
    told = [client.memory for client in clients if client.memory is not None]
    return sum(told) if told else None
