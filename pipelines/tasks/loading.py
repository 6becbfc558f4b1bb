"""Models of transformers out of folders: never code of theirs, never the network. Blocking."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines.errors import ModelError
from pipelines.runtime.hardware import threads_for


def refuse_remote_code(folder: Path) -> None:
    """Raise :class:`ModelError` (``model_needs_remote_code``) for a model that only its own Python code can run."""
    config = json_file(folder / "config.json")
    if not config.get("auto_map"):
        return
    from transformers import CONFIG_MAPPING

    if config.get("model_type") not in CONFIG_MAPPING:
        raise ModelError(
            "model_needs_remote_code",
            f"{folder.name} can only be run by Python code that comes with it, which is not done here: "
            "take a conversion that transformers knows by itself",
        )


def load_pretrained(kind: str, folder: Path, device: str, dtype: str, **options: Any) -> Any:
    """The model in ``folder`` by the class of transformers called ``kind``, ready to compute.

    Raises :class:`ModelError`: ``model_needs_remote_code``, ``model_broken``; what is out of memory is not caught.
    """
    refuse_remote_code(folder)
    import torch
    import transformers

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads_for("llm", cores))
    with quiet():
        model = getattr(transformers, kind).from_pretrained(
            folder, dtype=getattr(torch, dtype), local_files_only=True, trust_remote_code=False, **options
        )
    return model.to(device).eval()


def load_tokenizer(folder: Path, **options: Any) -> Any:
    """The tokenizer in ``folder``. Raises as :func:`load_pretrained`."""
    refuse_remote_code(folder)
    from transformers import AutoTokenizer

    with quiet():
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)


class quiet:
    """Within it transformers draws no progress bars."""

    def __enter__(self) -> None:
        from transformers.utils import logging as told

        logging: Any = told

        self._were_on = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()

    def __exit__(self, *raised: object) -> None:
        from transformers.utils import logging as told

        logging: Any = told

        if self._were_on:
            logging.enable_progress_bar()


def json_file(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is none."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text("utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
