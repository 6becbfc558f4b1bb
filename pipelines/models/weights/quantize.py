"""A model written with fewer bits, and what that costs: perplexity, how far its probabilities move, size and speed.

The measures are those of llama.cpp's ``perplexity --kl-divergence``: the exponential of the mean logarithm of the
text's probability, the mean Kullback-Leibler divergence of what comes next, and how often the likeliest next token is
still the same. Blocking.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import ModelError
from pipelines.models.weights.formats import GGUF_TYPES, convert, format_of, making, size_of
from pipelines.models.weights.measure import Kind, Measured, Wish
from pipelines.models.weights.passage import PASSAGE
from pipelines.models.weights.quantization import METHODS, check_readable, method_for, quantizing
from pipelines.runtime.child_process import CHILDREN

WRITTEN = (*METHODS, "ct2-int8", *(f"gguf-{kind}" for kind in GGUF_TYPES))
"""Methods whose result can be kept."""
MEASURE_SECONDS = 1800.0
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Row:
    """One set of weights."""

    name: str
    size_mb: float
    """On disk."""
    memory_mb: float
    """By which a process grows that computes with them."""
    tokens_per_second: float
    perplexity: float
    divergence: float = 0.0
    """Mean of what the original and these say comes next, in nats (Kullback-Leibler); 0: the same."""
    same_top: float = 1.0
    """Share of places at which the likeliest next token is that of the original."""


def quantize(source: Path, target: Path, method: str, say: Say = lambda words: None) -> None:
    """Write the model at ``source`` to ``target``, a folder (a file for GGUF), quantised by ``method``.

    Raises :class:`ModelError` (``quantization_unavailable`` and as :func:`~pipelines.models.weights.formats.convert`).
    """
    if method in ("gptq", "awq"):
        convert(source, target, method)  # which says what there is instead
    if method not in WRITTEN:
        legal = ", ".join(WRITTEN)
        raise ModelError("quantization_unavailable", f"method: {method[:40]!r} cannot be written; legal: {legal}")
    if method.startswith("gguf-"):
        convert(source, target, "gguf", method.removeprefix("gguf-"), say)
        return
    with ExitStack() as stack:
        folder = _as_folder(source, stack, say)
        if method == "ct2-int8":
            convert(folder, target, "ctranslate2", "int8", say)
            return
        check_readable(folder, method)
        method_for(method, "cpu")
        with making(target):
            _write(folder, target, method)


def _as_folder(source: Path, stack: ExitStack, say: Say) -> Path:
    if format_of(source) != "gguf":
        return source
    place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="visavis-")))
    convert(source, place / source.stem, "transformers", "float32", say)
    return place / source.stem


def _write(folder: Path, target: Path, method: str) -> None:
    from pipelines.engines.llm.template import import_transformers

    import_transformers()
    import torch
    import transformers

    library: Any = transformers
    try:
        model = library.AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=torch.float32, local_files_only=True, **quantizing(method, "cpu")
        )
        model.save_pretrained(target)
        library.AutoTokenizer.from_pretrained(str(folder), local_files_only=True).save_pretrained(target)
    except Exception as error:  # libraries raise whatever they like
        told = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ModelError("conversion_failed", f"{folder.name} cannot be quantised by {method}: {told}") from error


def compare(source: Path, others: dict[str, Path], say: Say, threads: int = 1, tokens: int = 512) -> list[Row]:
    """The model at ``source``, and what became of it by each method, measured one after the other on one text.

    Raises :class:`ModelError` (``measuring_failed``).
    """
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="visavis-") as place:
        say(f"measuring {source.name}")
        first, plain = _measured(source, Path(place) / "0.npy", threads, tokens, [])
        rows = [_row("original", source, first, plain, plain)]
        for n, (name, path) in enumerate(others.items(), 1):
            say(f"measuring {name}")
            found, said = _measured(path, Path(place) / f"{n}.npy", threads, tokens, first.ids)
            width = min(plain.shape[1], said.shape[1])  # some round the vocabulary up
            rows.append(_row(name, path, found, plain[:, :width], np.ascontiguousarray(said[:, :width])))
    return rows


def _row(name: str, path: Path, found: Measured, plain: Any, said: Any) -> Row:
    import numpy as np

    ids = np.array(found.ids)
    real = said[np.arange(len(ids) - 1), ids[1:]]
    moved = (np.exp(plain.astype(np.float64)) * (plain - said)).sum(-1).mean()
    same = (plain.argmax(-1) == said.argmax(-1)).mean()
    return Row(
        name,
        size_of(path) / 1e6,
        found.memory_mb,
        found.tokens_per_second,
        float(np.exp(-real.mean())),
        max(0.0, float(moved)),
        float(same),
    )


def _measured(path: Path, out: Path, threads: int, tokens: int, ids: list[int]) -> tuple[Measured, Any]:
    import numpy as np

    form = format_of(path)
    if form == "openvino" or (form == "ctranslate2" and not ids):
        raise ModelError("measuring_failed", f"{path.name}: a model for {form} is only measured against its original")
    kind: Kind = form
    found = _child(Wish(kind, str(path), str(out), PASSAGE, ids, threads, tokens))
    if form == "gguf":  # what it says is that of its weights, how fast and in how much memory that of llama.cpp
        served = _child(Wish("llama.cpp", str(path), "", "", found.ids, threads))
        found = Measured(found.ids, served.memory_mb, served.tokens_per_second)
    return found, np.load(out)


def _child(wish: Wish) -> Measured:
    name, command = Path(wish.path).name, [sys.executable, "-m", "pipelines.models.weights.measure"]
    try:
        done = CHILDREN.run([*command, json.dumps(asdict(wish))], MEASURE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelError("measuring_failed", f"{name} could not be measured: {error}") from error
    if done.returncode or not done.stdout.startswith("{"):
        why = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1][:300]
        raise ModelError("measuring_failed", f"{name} could not be measured: {why}")
    return Measured(**json.loads(done.stdout))
