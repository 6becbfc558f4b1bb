"""Language models on transformers: any ``AutoModelForCausalLM`` with a chat template, on a CPU or a GPU.

:func:`load_chat` makes the model; :class:`~pipelines.engines.llm.local.LocalChat` serves it. Each conversation keeps
the keys and values of what was read, so a turn reads only what is new; an answer that was cut to the words that were
heard costs no more than those words. Code that comes with a model is never run.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.model import ChatModel
from pipelines.engines.llm.template import ChatTemplate, import_transformers, load_tokenizer
from pipelines.engines.registry import Built, Found, Site
from pipelines.errors import LLMError, ModelError, PipelineError
from pipelines.models.plans import Loadable
from pipelines.models.weights.adapters import Adapters
from pipelines.models.weights.placement import DeviceMap, placing
from pipelines.models.weights.quantization import check_readable, quantized_as, quantizing
from pipelines.runtime.hardware import threads_for

if TYPE_CHECKING:
    from pipelines.engines.llm.transformers_decode import LoadedChat


def load_chat(
    source: Path | str,
    device: str = "cpu",
    dtype: str = "auto",
    threads: int = 1,
    quantization: str | None = None,
    *,
    adapters: Adapters | None = None,
    device_map: DeviceMap | None = None,
) -> LoadedChat:
    """Load the model in the folder ``source``, or of the repository of that name in the hub's cache.

    ``device`` is ``cpu``, ``cuda`` or ``cuda:N``; ``dtype`` is ``auto`` (bfloat16 where the device computes with it,
    else float32), ``bfloat16``, ``float16`` or ``float32``; ``threads`` is for the CPU; ``adapters`` are those that
    answers can be asked for with; ``device_map`` deals the model out to several devices. Blocking, and to be called on
    the thread that will use the model: torch counts threads for each. Raises
    :class:`~pipelines.errors.ModelError` (``model_broken``, ``model_not_chat``, ``library_missing``,
    ``quantized_already``) and :class:`~pipelines.errors.LLMError` (``quantization_unavailable``,
    ``device_unavailable``, ``device_map_unknown``, ``dtype_unknown``).
    """
    import_transformers()
    import torch
    import transformers.utils.logging

    from pipelines.engines.llm.transformers_decode import LoadedChat

    library: Any = transformers
    library.utils.logging.disable_progress_bar()
    chosen = choose_dtype(device, dtype)
    check_readable(Path(source), quantization)
    options = {**quantizing(quantization, device), **placing(device_map, device)}
    if quantized_as(Path(source)):
        options.setdefault("device_map", device)  # weights of fewer bits are not moved once they are loaded
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
    return LoadedChat(model.eval(), template, adapters)


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
        partial(
            load_chat,
            folder,
            device,
            threads=threads_for("llm", site.cores),
            quantization=bits,
            adapters=site.adapters,
            device_map=site.asked.device_map,
        ),
        precision=precision,
        device=device,
        estimate=site.estimate(found.name, precision),
    )
    resident = site.residency.add(plan)
    with resident.lease():
        pass
    return Built(LocalChat(resident, adapters=site.adapters), device, reason)
