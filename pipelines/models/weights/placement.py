"""Where the parts of a model go that is larger than one device: transformers' device map, which accelerate carries out.

The layers are dealt out in order, so that the devices compute one after the other: that makes room, not speed. Tensor
parallelism, which makes speed, is a server of its own (vLLM), reached by ``llm_url``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from pipelines.errors import LLMError

LEGAL = ("auto", "balanced", "balanced_low_0", "sequential")
"""``auto`` and ``balanced`` fill all GPUs alike, ``balanced_low_0`` spares the first, ``sequential`` fills one after
another. What does not fit goes to the processor's memory, if ``max_memory`` lets it."""
_SIZE = re.compile(r"[1-9][0-9]*(?:\.[0-9]+)?(?:[KMGT]i?B)")
_DEVICE = re.compile(r"[0-9]{1,2}|cpu")


@dataclass(frozen=True, slots=True)
class DeviceMap:
    """How a model is dealt out."""

    how: str
    """One of :data:`LEGAL`."""
    max_memory: Mapping[str, str] = field(default_factory=dict)
    """Number of the GPU, or ``cpu`` → the most that it takes, such as ``20GiB``."""


def problem_with(memory: Mapping[str, str]) -> str:
    """What is wrong with ``max_memory``; empty: nothing."""
    for device, size in memory.items():
        if not _DEVICE.fullmatch(device):
            return f"{device[:20]!r} is no device; legal values are the numbers of GPUs (0, 1, …) and cpu"
        if not _SIZE.fullmatch(size):
            return f"{size[:20]!r} is no size for {device}; a size is such as 20GiB or 500MB"
    return ""


def placing(wanted: DeviceMap | None, device: str) -> dict[str, Any]:
    """Arguments with which ``from_pretrained`` deals the model out.

    Raises :class:`~pipelines.errors.LLMError` (``device_map_unknown``, ``device_unavailable``, ``library_missing``).
    """
    if wanted is None:
        return {}
    if wanted.how not in LEGAL:
        message = f"unknown device map {wanted.how[:40]!r}; legal: {', '.join(LEGAL)}"
        raise LLMError("device_map_unknown", message)
    if problem := problem_with(wanted.max_memory):
        raise LLMError("device_map_unknown", f"max_memory: {problem}")
    if device == "cpu":
        message = f"device map {wanted.how}: it deals a model out to GPUs, and torch sees none here, or device is cpu"
        raise LLMError("device_unavailable", message)
    if find_spec("accelerate") is None:
        raise LLMError(
            "library_missing", f"device map {wanted.how} needs the package accelerate: pip install accelerate"
        )
    limits = {(int(name) if name.isdecimal() else name): size for name, size in wanted.max_memory.items()}
    return {"device_map": wanted.how, **({"max_memory": limits} if limits else {})}
