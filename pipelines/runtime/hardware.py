"""Which devices there are, which library can use which of them, and which one an engine should run on.

Looking is cheap where it can be: processor and memory are read from the system, versions and builds from the packages'
metadata. Only what cannot be known without starting a library (does CUDA come up? how much memory is free?) is asked,
and each library is asked in a process of its own (see :mod:`pipelines.runtime.hardware_probes`): importing torch takes
1.5 s and 200 MB that the server may never need, a broken CUDA installation can end or hang the process that touches it,
and a process that has started CUDA keeps memory on the card. Without an NVIDIA driver or an NPU nothing needs asking.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

from pipelines.errors import ModelError
from pipelines.runtime.child_process import CHILDREN
from pipelines.runtime.processor import Processor, read_processor

Device = Literal["cpu", "cuda", "igpu", "npu"]
"""``igpu``: Intel's GPUs, built into a processor or on a card, through OpenVINO."""
Wanted = Literal["auto", "cpu", "cuda", "igpu", "npu"]
WANTED: tuple[str, ...] = get_args(Wanted)
PREFERENCE: tuple[Device, ...] = ("cuda", "npu", "igpu", "cpu")
"""What ``auto`` takes first."""
LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "ctranslate2": ("ctranslate2",),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime"),
    "openvino": ("openvino",),
    "litert": ("ai-edge-litert",),
}
"""Libraries that run models → the packages that may bring them."""
PROBE_SECONDS = 60.0
"""A library that takes longer to start is broken."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A GPU or NPU as a library sees it."""

    device: Device
    name: str
    memory_total: int | None = None
    """Bytes."""
    memory_free: int | None = None


@dataclass(frozen=True, slots=True)
class Library:
    """A library that runs models, and where it can run them."""

    name: str
    version: str | None = None
    """``None``: not installed."""
    devices: tuple[Device, ...] = ()
    accelerators: tuple[Accelerator, ...] = ()
    facts: tuple[str, ...] = ()
    """For people, such as the number formats it can compute with."""
    reason: str = ""
    """Why it can use no more devices than these; empty when there is nothing to say."""


@dataclass(frozen=True, slots=True)
class Devices:
    """What was found on this machine."""

    processor: Processor
    nvidia_driver: bool
    npu: bool
    libraries: Mapping[str, Library] = field(default_factory=dict)

    def library(self, name: str) -> Library:
        """The library called ``name``; one that is not installed if it was not looked for."""
        return self.libraries.get(name) or Library(name, reason=f"{name} is not installed")


def choose_device(wanted: str, found: Library) -> tuple[Device, str]:
    """Where an engine on the library ``found`` should run, and why. Pure.

    Raises :class:`~pipelines.errors.ModelError`: ``unknown_device``, ``device_unavailable``, both naming what is legal.
    """
    if wanted not in WANTED:
        raise ModelError("unknown_device", f"device: '{wanted}' is not one of {', '.join(WANTED)}")
    why_not = f": {found.reason}" if found.reason else ""
    if not found.devices:
        raise ModelError("device_unavailable", f"{found.name} can run nowhere here{why_not}")
    if wanted == "auto":
        device = next(device for device in PREFERENCE if device in found.devices)
        return device, _why(device, found, why_not)
    for device in found.devices:
        if device == wanted:
            return device, "asked for"
    legal = ", ".join(("auto", *found.devices))
    raise ModelError(
        "device_unavailable", f"device: {found.name} has no {wanted} here, legal values are {legal}{why_not}"
    )


def openvino_name(device: str) -> str:
    """What OpenVINO calls ``device``."""
    return {"cpu": "CPU", "igpu": "GPU", "npu": "NPU"}[device]


def _why(device: Device, found: Library, why_not: str) -> str:
    if device == "cpu":
        return f"{found.name} finds no other device{why_not}"
    names = ", ".join(accelerator.name for accelerator in found.accelerators if accelerator.device == device)
    return f"{found.name} finds {names or device}"


_THREADS: Mapping[str, Callable[[int], int]] = {
    "vad": lambda cores: 1,
    "turn": lambda cores: 1,
    "stt": lambda cores: min(4, cores // 2),
    "llm": lambda cores: min(8, cores // 2),
    "llama.cpp": lambda cores: min(8, max(2, cores // 2), cores),
    "tts": lambda cores: min(2, cores // 4),
    "vision": lambda cores: min(4, cores // 2),
}


def threads_for(stage: str, cores: int) -> int:
    """How many threads one computation of ``stage`` should use on ``cores`` cores, at least 1.

    One on two cores, which is measured: a second thread there makes a language model twice as slow as soon as anything
    else runs, and delays the sound. llama.cpp's threads sleep while they wait for each other
    (:mod:`pipelines.engines.llm.llama_process`), so a second one helps and is no worse beside others. More cores are
    shared out so that hearing and thinking never take them all.
    """
    if stage not in _THREADS:
        raise ValueError(f"stage: {stage!r} is not one of {', '.join(_THREADS)}")
    return max(1, _THREADS[stage](cores))


# ------------------------------------------------------------------------------------------------- looking

Ask = Callable[[str], dict[str, Any]]
"""Starts a library elsewhere, returns what :mod:`pipelines.runtime.hardware_probes` says of it, raises ``OSError``."""


def survey(*, deep: bool = False, root: Path = Path("/"), ask: Ask | None = None) -> Devices:
    """Look around. Blocking: a few milliseconds, or seconds if libraries are asked.

    They are asked when there is an accelerator that they might use, and all of them with ``deep``. A library that
    cannot be asked runs on the processor, with the reason.
    """
    nvidia = (root / "dev/nvidiactl").exists() or (root / "dev/dxg").exists()
    npu = (root / "dev/accel/accel0").exists()
    renders = any((root / "dev/dri").glob("renderD*"))
    may_use = {"torch": nvidia, "ctranslate2": nvidia, "onnxruntime": nvidia or npu, "openvino": npu or renders}
    may_use["litert"] = nvidia or npu or renders
    found = {name: package_of(name) for name in LIBRARIES}
    asked = [name for name, package in found.items() if package is not None and (deep or may_use[name])]
    with ThreadPoolExecutor(max_workers=len(LIBRARIES)) as pool:  # each waits for a process
        answers = dict(zip(asked, pool.map(lambda name: _answer(ask or ask_process, name), asked), strict=True))
    libraries = {
        name: _library(name, package[1] if package else None, answers.get(name)) for name, package in found.items()
    }
    return Devices(read_processor(root), nvidia, npu, libraries)


def package_of(library: str) -> tuple[str, str] | None:
    """The installed package that brings ``library``, and its version."""
    for package in LIBRARIES[library]:
        try:
            return package, version(package)
        except PackageNotFoundError:
            continue
    return None


def ask_process(library: str) -> dict[str, Any]:
    """Start ``library`` in a process of its own and return what it can do. Raises ``OSError``."""
    command = [sys.executable, "-m", "pipelines.runtime.hardware_probes", library]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = CHILDREN.run(command, PROBE_SECONDS, environment)
    except subprocess.TimeoutExpired:
        raise OSError(f"did not start within {PROBE_SECONDS:.0f} s") from None
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise OSError(f"ended with status {done.returncode}: {last[0][:300]}")
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise OSError("gave no answer") from None
    return dict(answer)


_NO_HARDWARE = {"openvino": "there is no NPU and no GPU of Intel's", "litert": "there is no GPU and no NPU"}
"""Why a library that was not asked has no other device."""


def _answer(ask: Ask, library: str) -> dict[str, Any]:
    try:
        return ask(library)
    except OSError as error:
        return {"devices": [] if library == "openvino" else ["cpu"], "reason": f"{library} {error}"}


def _library(name: str, installed: str | None, answer: dict[str, Any] | None) -> Library:
    if installed is None:
        return Library(name, reason=f"{name} is not installed")
    if answer is None:
        reason = _NO_HARDWARE.get(name, "there is no NVIDIA driver")
        return Library(name, installed, ("cpu",), reason=reason)
    accelerators = tuple(Accelerator(**row) for row in answer.get("accelerators", ()))
    return Library(
        name,
        installed,
        tuple(answer["devices"]),
        accelerators,
        tuple(answer.get("facts", ())),
        answer.get("reason", ""),
    )
