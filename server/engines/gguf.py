"""A language model on llama.cpp: which file it is, and the engine on it."""

from __future__ import annotations

import asyncio
from functools import cache
from importlib import resources
from pathlib import Path

from pipelines.engines.llm.llama import LlamaChat, Manner
from pipelines.engines.llm.llama_process import Config
from pipelines.errors import ModelError, ThinkError, listed
from pipelines.models.catalogue import ChatSpec
from pipelines.models.sources_folder import refuse_pointers
from pipelines.routing.definition import SHIPPED, load
from pipelines.runtime.hardware import threads_for
from server.engines.parts import Parts

_PROJECTOR = "mmproj"
"""In the names of files that only see for a model that thinks."""


def gguf_in(path: Path) -> Path | None:
    """The model that ``path`` is or holds; ``None`` when it holds none, for other libraries may know it.

    Raises :class:`ModelError` (``model_ambiguous``) when it holds several.
    """
    if path.suffix.lower() == ".gguf":
        return path
    if not path.is_dir():
        return None
    found = sorted(file for file in path.glob("*.gguf") if _PROJECTOR not in file.name)
    if len(found) > 1:
        names = listed(tuple(file.name for file in found), 8)
        raise ModelError("model_ambiguous", f"{path} holds several models: name the file, one of {names}")
    return found[0] if found else None


async def on_llama(parts: Parts, name: str, file: Path, *, required: bool) -> tuple[LlamaChat, str]:
    """The engine on ``file``, started, and why it computes where it does. Raises :class:`ModelError`.

    ``required``: somebody has asked for this model, and on the device of the settings.
    """
    await asyncio.to_thread(refuse_pointers, [file])
    spec, adapter = _entry(parts, name)
    threads = threads_for("llama.cpp", parts.cores)
    wanted = parts.settings.device
    config = Config(
        str(file),
        threads=threads,
        threads_batch=threads,
        gpu_layers=-1 if wanted in ("auto", "cuda") else 0,
        sampling={str(word): value for word, value in spec.sampling.items()},
        lora=[str(adapter)] if adapter is not None else [],
    )
    manner = Manner(spec.prompt, _ordinary(), spec.surroundings, spec.tools)
    engine = LlamaChat(name, config, manner=manner)
    try:
        await engine.warm()
        if required and wanted == "cuda" and engine.device != wanted:
            message = f"device: llama.cpp finds no {wanted} (the package xllamacpp is built for the processor)"
            raise ModelError("device_unavailable", message)
    except BaseException as error:
        await engine.close()
        if isinstance(error, ThinkError):
            raise ModelError(error.code, error.message) from error
        raise
    where = f"{threads} thread{'s' if threads > 1 else ''}" if engine.device == "cpu" else engine.device
    return engine, f"llama.cpp in a process of its own, {where}"


def starter_first(parts: Parts, name: str) -> bool:
    """Whether the starter is asked before the model of this name."""
    return _entry(parts, name)[0].starter_first


def _entry(parts: Parts, name: str) -> tuple[ChatSpec, Path | None]:
    """What the catalogue knows of a model, and the adapter that belongs to it."""
    for model in parts.store.catalogue.models:
        if model.id == name:
            adapter = Path(str(resources.files("pipelines") / model.adapter)) if model.adapter is not None else None
            return model.chat, adapter
    return ChatSpec(), None


@cache
def _ordinary() -> str:
    """The instructions of the pipeline that ships: whoever wants others has written them."""
    stage = load(SHIPPED / "voice-assistant.yaml").pipelines[0].stage("text_generation")
    return str(stage.parameters.get("instructions", "")) if stage is not None else ""
