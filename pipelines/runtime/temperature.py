"""How warm processors are: the kernel's thermal zones, and NVIDIA's library where it is installed.

Zones are files (https://docs.kernel.org/driver-api/thermal/sysfs-api.html): ``type`` names a sensor, ``temp`` is in
thousandths of a degree Celsius. ``pynvml`` (package nvidia-ml-py) is used if somebody has installed it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from media.clock import Clock, MonotonicClock

log = logging.getLogger(__name__)

KEPT_SECONDS = 2.0
"""For how long a reading holds: silicon warms more slowly than requests come."""
_PROCESSOR = ("x86_pkg_temp", "coretemp", "k10temp", "cpu", "soc", "acpitz")
"""Beginnings of the types of zones on or beside the processor, the best first; integrated GPUs and NPUs share its
package."""
_PLAUSIBLE = (0.0, 150.0)


class Temperatures(Protocol):
    """Where temperatures come from."""

    def __call__(self, hardware: str) -> float | None:
        """Degrees Celsius of ``cpu``, ``igpu``, ``npu`` or ``cuda``; ``None`` where nobody tells."""
        ...


class Sensors:
    """Implements :class:`Temperatures` on this machine. A reading takes well under a millisecond, and is kept."""

    def __init__(self, root: Path = Path("/"), clock: Clock | None = None) -> None:
        self._zones = root / "sys/class/thermal"
        self._clock = clock or MonotonicClock()
        self._nvml: Callable[[], float | None] | None = None
        self._read: dict[str, tuple[float, float | None]] = {}

    def __call__(self, hardware: str) -> float | None:
        """See :class:`Temperatures`."""
        if hardware == "remote":
            return None
        sensor = "cuda" if hardware == "cuda" else "cpu"
        now = self._clock.now()
        known = self._read.get(sensor)
        if known is None or now - known[0] > KEPT_SECONDS:
            known = (now, self._cuda() if sensor == "cuda" else hottest(zones(self._zones)))
            self._read[sensor] = known
        return known[1]

    def _cuda(self) -> float | None:
        if self._nvml is None:
            self._nvml = nvml_reader()
        return self._nvml()


def zones(folder: Path) -> Mapping[str, float]:
    """Type of each thermal zone → its degrees Celsius, the hottest of those of one type. Unreadable ones are left out.

    A driver that sleeps answers with an error; some give senseless values.
    """
    found: dict[str, float] = {}
    with suppress(OSError):
        for zone in sorted(folder.glob("thermal_zone*")):
            with suppress(OSError, ValueError):
                kind = (zone / "type").read_text("utf-8", "replace").strip()
                degrees = int((zone / "temp").read_text("ascii")) / 1000
                if _PLAUSIBLE[0] < degrees < _PLAUSIBLE[1]:
                    found[kind] = max(degrees, found.get(kind, degrees))
    return found


def hottest(found: Mapping[str, float]) -> float | None:
    """Of the best kind of sensor that there is beside the processor. Pure."""
    for beginning in _PROCESSOR:
        degrees = [value for kind, value in found.items() if kind.lower().startswith(beginning)]
        if degrees:
            return max(degrees)
    return None


def nvml_reader() -> Callable[[], float | None]:
    """Reads the hottest NVIDIA GPU; gives ``None`` where the library or the driver is missing."""
    if find_spec("pynvml") is None:
        return lambda: None
    library: Any = import_module("pynvml")
    try:
        library.nvmlInit()
        gpus = [library.nvmlDeviceGetHandleByIndex(n) for n in range(library.nvmlDeviceGetCount())]
    except library.NVMLError as error:
        log.info("no temperatures of NVIDIA GPUs: %s", error)
        return lambda: None

    def read() -> float | None:
        try:
            return max((float(library.nvmlDeviceGetTemperature(gpu, 0)) for gpu in gpus), default=None)
        except library.NVMLError:
            return None

    return read
