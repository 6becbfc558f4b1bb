"""Opening pipelines of diffusers, which the extra ``diffusion`` installs."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipelines.errors import ModelError
from pipelines.interfaces.task import ModelFolder, TaskError
from pipelines.tasks.batching import deserted

INDEX = "model_index.json"
"""The file that makes a folder a pipeline of diffusers."""
REMEDY = "pip install '.[diffusion]'"


def kind_of(folder: Path) -> str:
    """The class of the pipeline in ``folder``; empty where there is none."""
    file = folder / INDEX
    try:
        told = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise ModelError("model_broken", f"{folder.name}: {INDEX} cannot be read") from error
    kind = told.get("_class_name") if isinstance(told, dict) else None
    return kind if isinstance(kind, str) else ""


def opened_pipeline(folder: Path, device: str, dtype: str, kind: Any = None) -> Any:
    """The pipeline, as one of the class ``kind`` if not its own.

    Raises :class:`ModelError` (``model_broken``, ``model_not_here``, ``model_needs_remote_code``).
    """
    if find_spec("diffusers") is None:
        raise ModelError("model_not_here", f"{folder.name} needs the package diffusers: {REMEDY}")
    import diffusers
    import torch

    kind = kind or getattr(diffusers, kind_of(folder), None)
    if kind is None:
        raise ModelError(
            "model_broken", f"{folder.name}: diffusers knows no {kind_of(folder) or 'pipeline'} of its own"
        )
    diffusers.utils.logging.disable_progress_bar()
    try:
        pipeline = kind.from_pretrained(
            folder, local_files_only=True, dtype=getattr(torch, dtype), use_safetensors=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ImportError) as error:
        raise ModelError("model_broken", f"{folder.name} cannot be loaded: {str(error)[:200]}") from error
    finally:
        diffusers.utils.logging.enable_progress_bar()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def is_pipeline(folder: ModelFolder, *, video: bool) -> bool:
    """Whether a folder holds a pipeline that makes videos, or pictures."""
    kind = kind_of(folder.path) if INDEX in folder.names else ""
    return bool(kind) and _makes_videos(kind) is video


def _makes_videos(kind: str) -> bool:
    return any(word in kind for word in ("Video", "LTX", "Wan", "CogVideo", "Mochi", "AnimateDiff", "TextToVideo"))


def generator(seed: int | None) -> Any:
    """Random numbers that come again with the same seed; ``None``: whichever."""
    import torch

    return None if seed is None else torch.Generator("cpu").manual_seed(seed)


def stops_when_deserted(pipeline: Any) -> dict[str, Any]:
    """Arguments with which the pipeline looks after every step whether anybody still waits for the result, and raises
    :class:`TaskError` where nobody does."""
    is_deserted = deserted.get()

    def look(pipeline: Any, step: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        if is_deserted():
            raise TaskError("deserted", "nobody waits for the result any more")
        return given

    try:
        return takes(pipeline, {"callback_on_step_end": look})
    except ValueError:  # it cannot be stopped
        return {}


def takes(pipeline: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Of ``given`` what has a value. Raises :class:`ValueError` naming what the pipeline does not take."""
    import inspect

    known = inspect.signature(pipeline.__call__).parameters
    wanted = {name: value for name, value in given.items() if value is not None}
    for name in wanted:
        if name not in known:
            raise ValueError(name)
    return wanted
