"""How busy GPUs are, as far as anybody tells: NVIDIA's library if it is installed, else torch for their memory.

Where there is none, or nobody tells, that is said in words and not as a curve of zeros. OpenVINO names Intel's devices
but tells no load of them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

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

    def __init__(self, load: Callable[[str], Any] = import_module, found: Callable[[str], Any] = find_spec) -> None:
        self.reason = ""
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
        try:
            return self._read()
        except Exception as error:  # noqa: BLE001 - see above
            self._read = tuple
            self.reason = f"reading the load of GPUs failed ({type(error).__name__})"
            log.warning("%s", self.reason)
            return ()


def intel_devices() -> list[str]:
    """Names of the GPUs and NPUs that OpenVINO has found, where it is in use already."""
    openvino = sys.modules.get("openvino")
    try:
        devices = [] if openvino is None else list(openvino.Core().available_devices)
    except Exception:  # noqa: BLE001 - its errors have no common base
        return []
    return [name for name in devices if name != "CPU"]


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
