"""Models of transformers out of a folder: no network, no code of the folder's, no pickles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.errors import ModelError

LARGEST_CONFIG = 4 << 20
"""Bytes of a model's configuration."""


def config_of(folder: Path) -> dict[str, Any]:
    """The folder's ``config.json``. Raises :class:`ModelError` (``model_broken``)."""
    file = folder / "config.json"
    try:
        if file.stat().st_size > LARGEST_CONFIG:
            raise ValueError("its config.json is too large")
        config = json.loads(file.read_text("utf-8"))
        if not isinstance(config, dict):
            raise ValueError("its config.json is no object")
    except (OSError, ValueError) as error:
        raise ModelError("model_broken", f"{folder.name} is no model of transformers: {error}") from error
    return config


def load(folder: Path, kind: str, device: str, dtype: str) -> Any:
    """``transformers.KIND`` out of ``folder``, ready to compute. Blocking.

    Raises :class:`ModelError`: ``model_broken``, ``model_needs_remote_code``.
    """
    import torch
    import transformers

    config = config_of(folder)
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    if "auto_map" in config and config.get("model_type") not in known:
        raise ModelError("model_needs_remote_code", f"{folder.name} brings code of its own, which is never run here")
    numbers = getattr(torch, dtype, None) if dtype not in ("", "auto") else "auto"
    if numbers is None:
        raise ModelError("model_broken", f"dtype: torch has no {dtype!r}")
    options = {"local_files_only": True, "use_safetensors": True, "dtype": numbers}
    model = part(folder, kind, **options)
    return model.to(device).eval()


def part(folder: Path, kind: str, **options: Any) -> Any:
    """``transformers.KIND.from_pretrained(folder)``: processors and the like. Raises as :func:`load`."""
    import transformers

    try:
        return getattr(transformers, kind).from_pretrained(
            folder, trust_remote_code=False, **{"local_files_only": True, **options}
        )
    except Exception as error:  # whatever a broken folder makes of it
        raise ModelError("model_broken", f"{folder.name} cannot be loaded as {kind}: {error}") from error
