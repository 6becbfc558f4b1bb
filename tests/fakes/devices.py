"""Machines to choose devices on."""

from __future__ import annotations

from pipelines.runtime.hardware import Devices, Library
from pipelines.runtime.processor import Processor


def only_cpu() -> Devices:
    """A machine with a processor alone."""
    found = {name: Library(name, "1", ("cpu",)) for name in ("torch", "onnxruntime", "litert")}
    return Devices(Processor("test", 2, 2), False, False, found)
