"""Opening models and processors of transformers from a folder: nothing is fetched, and no code of a model is run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import ModelError
from pipelines.models.memory import is_out_of_memory
from pipelines.tasks.loading import load_pretrained, quiet


def config_of(folder: Path) -> dict[str, Any]:
    """``config.json``; empty without one. Raises :class:`ModelError` (``model_broken``)."""
    file = folder / "config.json"
    if not file.is_file():
        return {}
    try:
        config = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ModelError("model_broken", f"{folder.name}: config.json cannot be read") from error
    return config if isinstance(config, dict) else {}


def opened(kind: str, folder: Path, device: str, dtype: str = "float32") -> Any:
    """The model, by a class of transformers such as ``AutoModelForImageClassification``.

    Raises :class:`ModelError` (``model_broken``, ``model_needs_remote_code``).
    """
    with _told(folder):
        return load_pretrained(kind, folder, device, dtype, use_safetensors=True)


def from_folder(kind: Any, folder: Path, **more: Any) -> Any:
    """``kind.from_pretrained``. Raises :class:`ModelError` (``model_broken``, ``model_needs_remote_code``)."""
    with _told(folder), quiet():
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **more)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """What transformers raises in this block, as an error that names the model."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ImportError) as error:
        if is_out_of_memory(error):
            raise
        if "trust_remote_code" in str(error):
            told = f"{folder.name} brings code of its own, which is not run: use a conversion for transformers itself"
            raise ModelError("model_needs_remote_code", told) from error
        raise ModelError("model_broken", f"{folder.name} cannot be loaded: {_first_line(error)}") from error


def image_processor(folder: Path) -> Any:
    """What prepares pictures, without torchvision."""
    from transformers import AutoImageProcessor

    return from_folder(AutoImageProcessor, folder, backend="pil")


def tokenizer(folder: Path) -> Any:
    """What prepares text."""
    from transformers import AutoTokenizer

    return from_folder(AutoTokenizer, folder)


def processor(folder: Path) -> Any:
    """What prepares both."""
    from transformers import AutoProcessor

    return from_folder(AutoProcessor, folder, backend="pil")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
