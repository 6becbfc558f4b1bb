"""What a library can run models on: ``python -m pipelines.runtime.hardware_probes LIBRARY``.

Prints one line of JSON: ``devices``, ``accelerators``, ``facts`` and ``reason``, as
:class:`pipelines.runtime.hardware.Library`. It runs in a process of its own because any of these libraries may end or
hang it.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import zlib
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


def probe_litert() -> Row:
    """GPUs, which LiteRT reaches through WebGPU, and NPUs: what a model of one addition can be compiled for."""
    import tempfile

    from ai_edge_litert.compiled_model import CompiledModel, HardwareAccelerator, Options

    found = []
    gpu = "cuda" if os.path.exists("/dev/nvidiactl") else "igpu"  # WebGPU does not say whose it is
    kinds = ((HardwareAccelerator.GPU, gpu, "GPU through WebGPU"), (HardwareAccelerator.NPU, "npu", "NPU"))
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(zlib.decompress(base64.b85decode(_ADDITION)))
        file.flush()
        for kind, device, name in kinds:
            try:
                CompiledModel.from_file(file.name, options=Options(hardware_accelerators=kind)).close()
            except RuntimeError:
                continue
            found.append({"device": device, "name": name})
    reason = "" if found else "LiteRT can start no GPU (WebGPU needs Vulkan) and no NPU"
    return _row(["cpu", *(str(one["device"]) for one in found)], found, reason=reason)


PROBES: dict[str, Callable[[], Row]] = {
    "torch": probe_torch,
    "ctranslate2": probe_ctranslate2,
    "onnxruntime": probe_onnxruntime,
    "openvino": probe_openvino,
    "litert": probe_litert,
}

_IDENTITY = (
    b'\x08\x08:=\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x12\n\x01x\x12\r\n\x0b\x08\x01\x12\x07\n\x05\x12\x03x_0'
    b"b\x12\n\x01y\x12\r\n\x0b\x08\x01\x12\x07\n\x05\x12\x03y_0B\x02\x10\x11"
)
"""An ONNX model of one node, y = x: with less no session starts, and without a session no provider."""

_ADDITION = (
    b"c-mc$F%H5o6hmKVhDwbph7KLM1Dt`0fuRFODYs?h7Qsnfi1?8c{crornStecJHyDtkwmXaREIj4g}2ZNp)zpFIS2FU>x#O!*}d!("
    b"9`;O>8tYrML$hBs?7r1|3l97$G{D@&Szhw=HOIz3&F@*0e}wb3+VxKx%*T4*1H{}A*Z"
)
"""A ``.tflite`` model that adds four numbers to themselves (``tests/fakes/tiny_tflite.py``), packed."""


def _row(
    devices: list[str], accelerators: list[Row] | None = None, facts: list[str] | None = None, reason: str = ""
) -> Row:
    return {"devices": devices, "accelerators": accelerators or [], "facts": facts or [], "reason": reason}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(PROBES[sys.argv[1]]()) + "\n")
