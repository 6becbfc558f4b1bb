"""What one set of weights says to a text, how fast, and what it takes in memory: run as a process of its own.

``python -m pipelines.models.weights.measure WISH`` takes a :class:`Wish` as JSON and writes a :class:`Measured` as one
line of it. A process each, so that memory is that of these weights alone. What it says are logarithms of probabilities,
which go into a file of numpy.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipelines.models.memory import MachineMemory

Kind = Literal["transformers", "gguf", "llama.cpp", "ctranslate2"]
WINDOW = 192
"""Tokens that are read at once, each window from its own beginning."""
SAID = 24
"""Tokens that are written for the speed."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be measured."""

    kind: Kind
    """``gguf``: the weights of a GGUF file in transformers; ``llama.cpp``: the same file where it is served."""
    path: str
    out: str = ""
    """File for the logarithms of probabilities, ``(tokens, vocabulary)``; empty: only speed and memory."""
    text: str = ""
    ids: list[int] = field(default_factory=list)
    """The text as tokens, where these are known."""
    threads: int = 1
    tokens: int = 512
    """Of the text, at most."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found."""

    ids: list[int]
    """The text as tokens."""
    memory_mb: float
    """By which the process has grown, loading and computing."""
    tokens_per_second: float
    """Written one after the other."""


def main() -> None:
    """Measure what the argument asks for."""
    wish = Wish(**json.loads(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not come between
    measured = {"llama.cpp": _llama, "ctranslate2": _ctranslate2}.get(wish.kind, _transformers)(wish)
    answers.write(json.dumps(asdict(measured)) + "\n")
    answers.flush()
    os._exit(0)  # threads of libraries may wait for something


def _memory() -> float:
    return (MachineMemory().used("cpu") or 0) / 1e6


def _transformers(wish: Wish) -> Measured:
    from pipelines.engines.llm.template import import_transformers

    import_transformers()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pipelines.models.weights.formats import dense
    from pipelines.models.weights.quantization import quantized_as

    library: Any = AutoModelForCausalLM
    torch.set_num_threads(wish.threads)
    path = Path(wish.path)
    before = _memory()
    if wish.kind == "gguf":
        model, tokenizer = dense(path)
    else:
        where = {"device_map": "cpu"} if quantized_as(path) else {}
        model = library.from_pretrained(str(path), dtype=torch.float32, local_files_only=True, **where)
        tokenizer = None if wish.ids else AutoTokenizer.from_pretrained(str(path), local_files_only=True)
    model.eval()
    ids = wish.ids or list(tokenizer(wish.text)["input_ids"])[: wish.tokens]
    with torch.inference_mode():
        if wish.out:
            rows = [
                model(input_ids=torch.tensor([ids[at : at + WINDOW]])).logits[0].float().log_softmax(-1)
                for at in range(0, len(ids), WINDOW)
            ]
            _save(torch.cat(rows).numpy(), wish.out)
        cache, token = None, torch.tensor([ids[:16]])
        for n in range(SAID + 1):
            if n == 1:
                begun = time.perf_counter()
            answer = model(input_ids=token, past_key_values=cache, use_cache=True)
            cache, token = answer.past_key_values, answer.logits[:, -1:].argmax(-1)
        seconds = time.perf_counter() - begun
    return Measured(ids, _memory() - before, SAID / seconds)


def _ctranslate2(wish: Wish) -> Measured:
    import ctranslate2
    import numpy as np

    before = _memory()
    generator: Any = ctranslate2.Generator(wish.path, device="cpu", intra_threads=wish.threads)
    words = json.loads((Path(wish.path) / "vocabulary.json").read_text("utf-8"))
    tokens = [words[n] for n in wish.ids]
    if wish.out:
        windows = [tokens[at : at + WINDOW] for at in range(0, len(tokens), WINDOW)]
        rows = [np.array(generator.forward_batch([one], return_log_probs=True))[0] for one in windows]
        _save(np.concatenate(rows), wish.out)
    begun = time.perf_counter()
    generator.generate_batch([tokens[:16]], max_length=SAID, min_length=SAID, include_prompt_in_result=False)
    return Measured(wish.ids, _memory() - before, SAID / (time.perf_counter() - begun))


def _llama(wish: Wish) -> Measured:
    import xllamacpp

    before = _memory()
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel = wish.path, 512, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = wish.threads
    params.verbosity, params.warmup = -1, False
    server: Any = xllamacpp.Server(params)
    told: dict[str, Any] = {}
    asked = {"prompt": wish.ids[:16], "n_predict": SAID, "temperature": 0, "ignore_eos": True}
    server.handle_completions(asked, told.update)
    return Measured(wish.ids, _memory() - before, float(told["timings"]["predicted_per_second"]))


def _save(rows: Any, out: str) -> None:
    import numpy as np

    np.save(out, rows.astype(np.float32))


if __name__ == "__main__":
    main()
