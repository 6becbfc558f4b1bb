"""What a library can run models on: ``python -m pipelines.runtime.hardware_probes LIBRARY``.

Prints one line of JSON: ``devices``, ``accelerators``, ``facts`` and ``reason``, as
:class:`pipelines.runtime.hardware.Library`. It runs in a process of its own because any of these libraries may end or
hang it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]


def probe_torch() -> Row:
    """CUDA devices with their memory."""
    import torch

    if torch.version.cuda is None:
        return _row(["cpu"], reason="this torch is built without CUDA")
    if not torch.cuda.is_available():
        return _row(["cpu"], reason=f"torch cannot start CUDA {torch.version.cuda} (driver missing or too old)")
    gpus = []
    for n in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(n)
        name = torch.cuda.get_device_name(n)
        gpus.append({"device": "cuda", "name": name, "memory_total": total, "memory_free": free})
    return _row(["cpu", "cuda"], gpus, facts=[f"CUDA {torch.version.cuda}"])


def probe_ctranslate2() -> Row:
    """CUDA devices by number, and the number formats for each kind of device."""
    import ctranslate2

    facts = [f"cpu: {', '.join(sorted(ctranslate2.get_supported_compute_types('cpu')))}"]
    count = ctranslate2.get_cuda_device_count()
    if not count:
        return _row(["cpu"], facts=facts, reason="CTranslate2 finds no CUDA device")
    facts.append(f"cuda: {', '.join(sorted(ctranslate2.get_supported_compute_types('cuda')))}")
    gpus = [{"device": "cuda", "name": f"CUDA device {n}"} for n in range(count)]
    return _row(["cpu", "cuda"], gpus, facts=facts)


def probe_onnxruntime() -> Row:
    """The execution providers that were built in and that really start."""
    import onnxruntime

    built_in = onnxruntime.get_available_providers()
    facts = [f"providers: {', '.join(built_in)}"]
    if "CUDAExecutionProvider" not in built_in:
        return _row(["cpu"], facts=facts, reason="this onnxruntime is built without CUDA")
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(_IDENTITY, providers=["CUDAExecutionProvider"])
    if "CUDAExecutionProvider" not in session.get_providers():
        return _row(["cpu"], facts=facts, reason="onnxruntime cannot start CUDA (its CUDA or cuDNN libraries)")
    return _row(["cpu", "cuda"], facts=facts)


def probe_openvino() -> Row:
    """The processor, and Intel's NPU and GPUs if OpenVINO sees them."""
    import openvino

    core = openvino.Core()
    present = {name: str(core.get_property(name, "FULL_DEVICE_NAME")) for name in core.available_devices}
    facts = [f"{name}: {full}" for name, full in present.items()]
    kinds = (("NPU", "npu"), ("GPU", "igpu"))
    found = [
        {"device": ours, "name": full}
        for kind, ours in kinds
        for name, full in present.items()
        if name.startswith(kind)
    ]
    devices = list(dict.fromkeys(["cpu", *(str(one["device"]) for one in found)]))
    return _row(devices, found, facts, "" if found else "OpenVINO finds no NPU and no GPU of Intel's")


PROBES: dict[str, Callable[[], Row]] = {
    "torch": probe_torch,
    "ctranslate2": probe_ctranslate2,
    "onnxruntime": probe_onnxruntime,
    "openvino": probe_openvino,
}

_IDENTITY = (
    b'\x08\x08:=\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x12\n\x01x\x12\r\n\x0b\x08\x01\x12\x07\n\x05\x12\x03x_0'
    b"b\x12\n\x01y\x12\r\n\x0b\x08\x01\x12\x07\n\x05\x12\x03y_0B\x02\x10\x11"
)
"""An ONNX model of one node, y = x: with less no session starts, and without a session no provider."""


def _row(
    devices: list[str], accelerators: list[Row] | None = None, facts: list[str] | None = None, reason: str = ""
) -> Row:
    return {"devices": devices, "accelerators": accelerators or [], "facts": facts or [], "reason": reason}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(PROBES[sys.argv[1]]()) + "\n")
