"""Models of transformers → OpenVINO's format, by optimum-intel.

optimum-intel follows the releases of transformers from afar, so it works in an environment of its own, which is made
once in the cache: nothing of it is imported here. See https://huggingface.co/docs/optimum-intel.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from pipelines.errors import ModelError
from pipelines.runtime.child_process import CHILDREN

Weights = Literal["fp16", "int8", "int4"]
WEIGHTS: tuple[str, ...] = get_args(Weights)
PACKAGES = (
    "torch==2.13.0",
    "optimum-intel[openvino]==2.2.0",
    "transformers==5.5.4",
    "openvino==2026.4.1",
    "openvino-tokenizers==2026.4.1.0",
    "nncf==3.4.0",
)
"""What is installed there: versions that were tried together."""
UNWANTED = ("torchvision",)
"""optimum-intel asks for it; built for another torch than the processor's, it keeps transformers from starting."""
_KINDS = {
    "ForConditionalGeneration": "automatic-speech-recognition-with-past",
    "ForCausalLM": "text-generation-with-past",
}
INSTALL_SECONDS = 1800.0
EXPORT_SECONDS = 7200.0

Run = Callable[[Sequence[str], float], "subprocess.CompletedProcess[str]"]
"""Runs a command for at most so many seconds; raises ``OSError`` and :class:`subprocess.TimeoutExpired`."""


def export(
    source: Path,
    target: Path,
    cache: Path,
    weights: Weights = "int8",
    say: Callable[[str], object] = lambda words: None,
    run: Run = CHILDREN.run,
) -> None:
    """Write the Whisper or language model in the folder ``source`` to ``target`` in OpenVINO's format.

    Blocking: minutes, the first time for the environment in ``cache``. Raises
    :class:`~pipelines.errors.ModelError`: ``model_not_convertible``, ``target_exists``, ``conversion_failed``.
    """
    task = task_of(source)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ModelError("target_exists", f"{target} exists already: give a folder that is not there yet")
    tool = environment(cache, say, run)
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    command = [str(tool), "export", "openvino", "--model", str(source), "--task", task, "--library", "transformers"]
    say(f"converting {source.name} with weights in {weights} …")
    try:
        _done(run, [*command, "--weight-format", weights, str(unfinished)], EXPORT_SECONDS, f"converting {source.name}")
        if target.exists():
            target.rmdir()
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def task_of(source: Path) -> str:
    """What optimum-intel calls the task of the model in ``source``. Raises :class:`ModelError`."""
    try:
        told = json.loads((source / "config.json").read_text("utf-8"))
        architecture = str(told["architectures"][0])
    except (OSError, ValueError, LookupError, TypeError):
        message = f"{source} is no folder of transformers: it has no config.json that names its architecture"
        raise ModelError("model_not_convertible", message) from None
    whisper = architecture.startswith("Whisper")
    for end, task in _KINDS.items():
        if architecture.endswith(end) and (whisper or end == "ForCausalLM"):
            return task
    message = f"{source.name} is a {architecture}; what can be converted is a Whisper or a model for causal language"
    raise ModelError("model_not_convertible", message)


def environment(cache: Path, say: Callable[[str], object], run: Run) -> Path:
    """``optimum-cli`` in its environment, which is made if need be. Raises :class:`ModelError`."""
    folder = cache / "openvino-export"
    tool, mark = folder / "bin" / "optimum-cli", folder / "packages.json"
    wanted = json.dumps(PACKAGES)
    if tool.is_file() and mark.is_file() and mark.read_text() == wanted:
        return tool
    say("installing optimum-intel into an environment of its own; this takes minutes, once …")
    shutil.rmtree(folder, ignore_errors=True)
    python = str(folder / "bin" / "python")
    _done(run, [sys.executable, "-m", "venv", str(folder)], INSTALL_SECONDS, "making the environment")
    _done(run, [python, "-m", "pip", "install", "--quiet", *PACKAGES], INSTALL_SECONDS, "installing optimum-intel")
    _done(run, [python, "-m", "pip", "uninstall", "--quiet", "--yes", *UNWANTED], INSTALL_SECONDS, "tidying up")
    mark.write_text(wanted)
    return tool


def _done(run: Run, command: Sequence[str], seconds: float, what: str) -> None:
    try:
        done = run(command, seconds)
    except subprocess.TimeoutExpired:
        raise ModelError("conversion_failed", f"{what} took longer than {seconds / 60:.0f} minutes") from None
    except OSError as error:
        raise ModelError("conversion_failed", f"{what} failed: {error}") from error
    if done.returncode != 0:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ["no message"]
        raise ModelError("conversion_failed", f"{what} failed with status {done.returncode}: {last[0][:300]}")
