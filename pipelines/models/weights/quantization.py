"""Weights with fewer bits: the methods there are, what each needs, and the arguments for transformers.

Measured on a processor (docs/reference/weights.md): torchao's 8 bits and bitsandbytes' 8 and 4 bits work there;
torchao's 4 bits do not. Imports torch only inside functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import LLMError, ModelError

Quantization = Literal["8bit", "4bit", "torchao-int8", "torchao-int8-dynamic", "bnb-int8", "bnb-nf4"]


@dataclass(frozen=True, slots=True)
class Method:
    """One way to quantise while loading."""

    package: str
    bits: int
    about: str


METHODS: Mapping[str, Method] = {
    "torchao-int8": Method("torchao", 8, "8-bit weights, computed in the model's own precision"),
    "torchao-int8-dynamic": Method("torchao", 8, "8-bit weights, and activations in 8 bits as they come"),
    "bnb-int8": Method("bitsandbytes", 8, "LLM.int8(): 8-bit weights, outliers apart"),
    "bnb-nf4": Method("bitsandbytes", 4, "4-bit NormalFloat weights"),
}
"""Names → methods."""
GENERAL: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "8bit": {"cpu": ("torchao-int8", "bnb-int8"), "cuda": ("bnb-int8",)},
    "4bit": {"cpu": ("bnb-nf4",), "cuda": ("bnb-nf4",)},
}
"""Names that leave the method open → the kind of device → methods, the preferred first."""
LEGAL = (*GENERAL, *METHODS)
_NEEDS = {
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "torchao": "torchao",
    "compressed-tensors": "compressed_tensors",
    "hqq": "hqq",
    "quanto": "optimum.quanto",
}
"""How weights on disk are quantised → the package that reads them."""


def method_for(quantization: str, device: str) -> str:
    """The method that ``quantization`` names or leaves open, and that can be had here.

    Raises :class:`~pipelines.errors.LLMError` (``quantization_unavailable``).
    """
    if quantization in METHODS:
        methods: tuple[str, ...] = (quantization,)
    elif quantization in GENERAL:
        methods = GENERAL[quantization]["cpu" if device == "cpu" else "cuda"]
    else:
        message = f"unknown quantisation {quantization[:80]!r}; legal: {', '.join(LEGAL)}"
        raise LLMError("quantization_unavailable", message)
    for method in methods:
        if find_spec(METHODS[method].package) is not None:
            return method
    package = METHODS[methods[0]].package
    message = f"{quantization} on {device} needs the package {package}: pip install {package}"
    raise LLMError("quantization_unavailable", message)


def quantizing(quantization: str | None, device: str) -> dict[str, Any]:
    """Arguments with which ``from_pretrained`` quantises the weights while it loads them."""
    if quantization is None:
        return {}
    method = method_for(quantization, device)
    config: Any
    if METHODS[method].package == "torchao":
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        dynamic = method == "torchao-int8-dynamic"
        config = TorchAoConfig(Int8DynamicActivationInt8WeightConfig() if dynamic else Int8WeightOnlyConfig())
    else:
        import transformers

        library: Any = transformers
        four = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
        config = library.BitsAndBytesConfig(**(four if method == "bnb-nf4" else {"load_in_8bit": True}))
    return {"quantization_config": config, "device_map": device}


def quantized_as(folder: Path) -> str:
    """How the weights in ``folder`` are quantised, as their ``config.json`` says; empty: they are not."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""  # what is wrong with the folder is told by whoever loads it
    told = config.get("quantization_config") if isinstance(config, dict) else None
    return str(told.get("quant_method", "unknown"))[:40] if isinstance(told, dict) else ""


def check_readable(folder: Path, quantization: str | None) -> None:
    """Refuse what is quantised on disk and cannot be read here, or is to be quantised once more.

    Raises :class:`~pipelines.errors.ModelError` (``library_missing``, ``quantized_already``).
    """
    how = quantized_as(folder)
    if not how:
        return
    package = _NEEDS.get(how, how)
    if find_spec(package.partition(".")[0]) is None:
        what = f"pip install {package}" if how in _NEEDS else "no library here is known to read it"
        if package == "gptqmodel":
            what += " (it is built from source, for a GPU); or take the model's GGUF file, which llama.cpp runs"
        raise ModelError("library_missing", f"{folder.name} holds weights in {how}, which need {package}: {what}")
    if quantization is not None:
        message = f"{folder.name} is quantised already ({how}); leave {quantization} out, or take the original"
        raise ModelError("quantized_already", message)
