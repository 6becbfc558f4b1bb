"""How busy GPUs are, as far as anybody tells: NVIDIA's library if it is installed, else torch for their memory; and
Linux of those of Intel and AMD that this process uses, by OpenVINO mostly (:mod:`server.observability.history.drm`).

Where there is none, or nobody tells, that is said in words and not as a curve of zeros.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from server.observability.history.drm import DrmClients

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """One GPU now. ``None``: not told."""

    name: str
    busy: float | None
    """Share of the last moments in which it had work, 0–1."""
    memory: int | None
    """Bytes in use."""


class Gpus:
    """Reads them; ``reason`` says why there is nothing to read, or what is missing."""

    def __init__(
        self,
        load: Callable[[str], Any] = import_module,
        found: Callable[[str], Any] = find_spec,
        clients: DrmClients | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reason = ""
        self._clients = clients or DrmClients()
        self._now = now
        self._read: Callable[[], Sequence[GpuLoad]] = tuple
        try:
            if found("pynvml") is not None:
                self._read = _nvml(load("pynvml"))
                return
            self.reason = "the load of NVIDIA's GPUs needs the package nvidia-ml-py, which is not installed"
        except Exception as error:  # noqa: BLE001 - NVMLError and whatever else its bindings raise
            self.reason = f"NVIDIA's library tells nothing ({type(error).__name__}): there is no such GPU, or no driver"
        torch = sys.modules.get("torch")  # whoever uses it has imported it; it takes seconds
        if torch is not None and torch.cuda.is_available():
            self._read = _torch(torch)
            self.reason += "; their memory is told by torch"

    def read(self) -> Sequence[GpuLoad]:
        """Each of them. One whose library fails is told once, and no more."""
        used = self._clients.read(self._now())
        return (*self._told(), *(GpuLoad(name, busy, memory) for name, (busy, memory) in used.items()))

    def _told(self) -> Sequence[GpuLoad]:
        try:
            return self._read()
        except Exception as error:  # noqa: BLE001 - see above
            self._read = tuple
            self.reason = f"reading the load of GPUs failed ({type(error).__name__})"
            log.warning("%s", self.reason)
            return ()


def _nvml(nvml: Any) -> Callable[[], Sequence[GpuLoad]]:
    nvml.nvmlInit()
    handles = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]

    def read() -> list[GpuLoad]:
        return [
            GpuLoad(
                str(n),
                nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
                int(nvml.nvmlDeviceGetMemoryInfo(handle).used),
            )
            for n, handle in enumerate(handles)
        ]

    return read


def _torch(torch: Any) -> Callable[[], Sequence[GpuLoad]]:
    def read() -> list[GpuLoad]:
        told = [torch.cuda.mem_get_info(n) for n in range(torch.cuda.device_count())]
        return [GpuLoad(str(n), None, int(total - free)) for n, (free, total) in enumerate(told)]

    return read
