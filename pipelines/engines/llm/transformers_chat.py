"""Language models on transformers: any ``AutoModelForCausalLM`` with a chat template, on a CPU or a GPU.

:func:`load_chat` makes the model; :class:`~pipelines.engines.llm.local.LocalChat` serves it. Each conversation keeps
the keys and values of what was read, so a turn reads only what is new; an answer that was cut to the words that were
heard costs no more than those words. Code that comes with a model is never run.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.model import ChatModel
from pipelines.engines.llm.template import ChatTemplate, import_transformers, load_tokenizer
from pipelines.engines.registry import Built, Found, Site
from pipelines.errors import LLMError, ModelError, PipelineError
from pipelines.models.plans import Loadable
from pipelines.runtime.hardware import threads_for

if TYPE_CHECKING:
    from pipelines.engines.llm.transformers_decode import LoadedChat

Quantization = Literal["8bit", "4bit"]


def load_chat(
    source: Path | str,
    device: str = "cpu",
    dtype: str = "auto",
    threads: int = 1,
    quantization: Quantization | None = None,
) -> LoadedChat:
    """Load the model in the folder ``source``, or of the repository of that name in the hub's cache.

    ``device`` is ``cpu``, ``cuda`` or ``cuda:N``; ``dtype`` is ``auto`` (bfloat16 where the device computes with it,
    else float32), ``bfloat16``, ``float16`` or ``float32``; ``threads`` is for the CPU. Blocking, and to be called on
    the thread that will use the model: torch counts threads for each. Raises
    :class:`~pipelines.errors.ModelError` (``model_broken``, ``model_not_chat``) and
    :class:`~pipelines.errors.LLMError` (``quantization_unavailable``, ``device_unavailable``, ``dtype_unknown``).
    """
    import_transformers()
    import torch
    import transformers.utils.logging

    from pipelines.engines.llm.transformers_decode import LoadedChat

    library: Any = transformers
    library.utils.logging.disable_progress_bar()
    chosen = choose_dtype(device, dtype)
    options = _quantized(quantization, device)
    template = ChatTemplate(load_tokenizer(source), str(source))
    if device == "cpu":
        torch.set_num_threads(threads)
    elif not torch.cuda.is_available():
        raise LLMError("device_unavailable", f"torch sees no GPU for {device}; legal here: cpu")
    try:
        model = library.AutoModelForCausalLM.from_pretrained(
            str(source), dtype=chosen, local_files_only=True, **options
        )
        if "device_map" not in options:
            model.to(device)
    except PipelineError:
        raise
    except Exception as error:
        raise ModelError("model_broken", f"{source} could not be loaded by transformers: {error}") from error
    model.requires_grad_(False)
    return LoadedChat(model.eval(), template)


def choose_dtype(device: str, dtype: str) -> Any:
    """The torch dtype of that name; ``auto`` is what the device computes with fastest without losing accuracy."""
    import torch

    named = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
    if dtype in named:
        return named[dtype]
    if dtype != "auto":
        raise LLMError("dtype_unknown", f"unknown dtype {dtype!r}; legal: auto, {', '.join(named)}")
    if device == "cpu":
        native = torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16")
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if not torch.cuda.is_available() or torch.cuda.is_bf16_supported() else torch.float16


def _quantized(quantization: Quantization | None, device: str) -> dict[str, Any]:
    """Arguments that make transformers quantise the weights while it loads them."""
    if quantization is None:
        return {}
    if quantization not in ("8bit", "4bit"):
        raise LLMError("quantization_unavailable", f"unknown quantisation {quantization!r}; legal: 8bit, 4bit")
    if find_spec("bitsandbytes") is not None and (device != "cpu" or find_spec("torchao") is None):
        import transformers

        library: Any = transformers
        config: Any = library.BitsAndBytesConfig(
            load_in_8bit=quantization == "8bit", load_in_4bit=quantization == "4bit"
        )
    elif find_spec("torchao") is not None and quantization == "8bit" and device == "cpu":
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        config = TorchAoConfig(Int8WeightOnlyConfig())
    else:
        package = "torchao" if device == "cpu" and quantization == "8bit" else "bitsandbytes"
        raise LLMError(
            "quantization_unavailable", f"{quantization} on {device} needs the package {package}: pip install {package}"
        )
    return {"quantization_config": config, "device_map": device}


async def build(site: Site, found: Found) -> Built[LocalChat]:
    """The folder ``found``, loaded once (see :data:`pipelines.engines.registry.Build`)."""
    return await site.aside(_built, site, found)


def _built(site: Site, found: Found) -> Built[LocalChat]:
    folder = found.place
    if (folder / "model.bin").exists() and not any(folder.glob("*.safetensors")):
        message = f"{folder} holds a model for CTranslate2 (model.bin), which no longer thinks here"
        raise ModelError("model_not_chat", f"{message}: give its GGUF file, or its folder from the hub")
    device, reason = site.device_for("torch")
    bits = site.asked.quantization
    precision = bits or "bfloat16"
    plan: Loadable[ChatModel] = Loadable(
        found.name,
        partial(load_chat, folder, device, threads=threads_for("llm", site.cores), quantization=bits),
        precision=precision,
        device=device,
        estimate=site.estimate(found.name, precision),
    )
    resident = site.residency.add(plan)
    with resident.lease():
        pass
    return Built(LocalChat(resident), device, reason)
