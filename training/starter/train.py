"""Training of the starter chat model, from nothing, on conversations made while it trains. Blocking.

Step ``n`` of a seed always learns from the same conversations, so training goes on from a checkpoint as if it had not
stopped. Matrix multiplications are bfloat16 where the processor computes with it, weights stay float32 until they are
saved.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from pipelines.engines.llm.template import import_transformers, load_tokenizer
from pipelines.errors import ModelError
from training.starter import tokens
from training.starter.drills import drill
from training.starter.grammar import dialogue
from training.starter.mishearing import mishear

CHECKPOINT = "checkpoint.pt"
_CACHES = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")
"""oneDNN keeps what it compiled for each shape of a batch, and no two batches are alike: 300 MB more each minute."""
LONGEST = 512
"""Tokens of a conversation that is learned from."""
_ROUND = 8
"""Batches that are made together, of conversations of similar length."""

_DRILLS, _LATER_DRILLS, _DRILLED = 0.5, 0.45, 0.35
"""Share of conversations that are drills in the first part of the training and in the rest, and how large that is."""


@dataclass(frozen=True, slots=True)
class Training:
    """What is trained and how."""

    steps: int = 7_000
    seed: int = 1
    layers: int = 6
    width: int = 256
    inner: int = 640
    heads: int = 4
    """Of 64 each: half as many as usual cost half as much attention on a CPU."""
    batch: int = 4_096
    """Tokens of a step, about."""
    rate: float = 3e-3
    """Highest learning rate: of the matrices (Muon), and of the rest (AdamW)."""
    warmup: int = 100
    threads: int = 1
    """Of the CPU."""
    device: str = "cpu"
    compile: bool = False
    """Fuse what torch can: nearly twice as fast after a minute, needs a C++ compiler."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Told every few steps."""

    step: int
    steps: int
    loss: float
    """Mean over the learned tokens since the last time, in nats."""
    tokens_per_second: float


class Trainer:
    """A model on its way; :meth:`step` by step, or :meth:`run` to the end."""

    def __init__(self, training: Training, folder: Path) -> None:
        for cache in _CACHES:
            os.environ.setdefault(cache, "64")
        import_transformers()
        import torch

        torch.set_num_threads(training.threads)
        torch.manual_seed(training.seed)
        self.training = training
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "tokenizer.json").exists():
            tokens.save_tokenizer(folder)
        self.tokenizer = load_tokenizer(folder)
        self.model = _model(training, self.tokenizer)
        self._body: Any = torch.compile(self.model.model, dynamic=True) if training.compile else self.model.model
        self.done = 0
        matrices = [p for name, p in self.model.named_parameters() if p.ndim == 2 and "embed" not in name]
        others = [p for name, p in self.model.named_parameters() if p.ndim != 2 or "embed" in name]
        self._optimizers: list[Any] = [
            torch.optim.Muon(matrices, lr=training.rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=training.rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self._batches: list[Any] = []

    def step(self) -> tuple[float, int, int]:
        """Learn from the next batch: the sum of its losses, how many tokens were learned, how many were read."""
        import torch
        from torch.nn.functional import cross_entropy

        ids, marks = self._batch(self.done)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.training.rate * self._share(self.done)
        with torch.autocast(self.training.device.partition(":")[0], torch.bfloat16, enabled=_has_bfloat16()):
            hidden = self._body(ids[:, :-1]).last_hidden_state
            logits = self.model.lm_head(hidden[marks[:, 1:]])
        loss = cross_entropy(logits.float(), ids[:, 1:][marks[:, 1:]])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.done += 1
        return float(loss.detach()) * len(logits), len(logits), ids.numel()

    def run(self, tell: Callable[[Progress], None], every: int = 50, save: int = 500) -> None:
        """Train to the last step; a checkpoint and the model so far are saved now and then and at the end."""
        began, losses, learned, read = time.monotonic(), 0.0, 0, 0
        while self.done < self.training.steps:
            loss, count, seen = self.step()
            losses, learned, read = losses + loss, learned + count, read + seen
            if self.done % every == 0 or self.done == self.training.steps:
                now = time.monotonic()
                tell(Progress(self.done, self.training.steps, losses / learned, read / (now - began)))
                began, losses, learned, read = now, 0.0, 0, 0
            if self.done % save == 0 or self.done == self.training.steps:
                self.save()

    def save(self) -> None:
        """Write the checkpoint and, beside it, the model as engines load it."""
        import torch

        state = {
            "training": asdict(self.training),
            "done": self.done,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }
        new = self.folder / f"{CHECKPOINT}.new"
        torch.save(state, new)
        new.replace(self.folder / CHECKPOINT)
        self.export(self.folder)

    def export(self, folder: Path) -> None:
        """Write the model in bfloat16 into ``folder``."""
        import copy

        import torch

        copy.deepcopy(self.model).to(torch.bfloat16).save_pretrained(str(folder))
        (folder / "model.safetensors").chmod(0o644)  # it comes from a private temporary file

    def _share(self, step: int) -> float:
        """Of the highest learning rate: a linear beginning, then a cosine down to a hundredth."""
        if step < self.training.warmup:
            return (step + 1) / self.training.warmup
        gone = (step - self.training.warmup) / max(1, self.training.steps - self.training.warmup)
        return 0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, gone))) / 2

    def _batch(self, step: int) -> tuple[Any, Any]:
        round_, n = divmod(step, _ROUND)
        if n == 0 or not self._batches:
            self._batches = self._make(round_)
        return self._batches[n]  # type: ignore[no-any-return]

    def _make(self, round_: int) -> list[Any]:
        """The batches of a round: token ids and which are learned, both ``(conversations, tokens)``."""
        import torch

        rng = Random(f"{self.training.seed}:{round_}")
        late = round_ * _ROUND >= _DRILLED * self.training.steps
        share = _LATER_DRILLS if late else _DRILLS
        talks: list[tuple[list[int], list[bool]]] = []
        read = 0
        while read < _ROUND * self.training.batch:
            talk = (drill if rng.random() < share else dialogue)(rng, mishear, late=late)
            ids, marks = tokens.encode(self.tokenizer, talk)
            if len(ids) <= LONGEST:
                talks.append((ids, marks))
                read += len(ids)
        talks.sort(key=lambda talk: len(talk[0]))
        batches = []
        for part in _split(talks, read / _ROUND):
            ids_ = torch.full((len(part), len(part[-1][0])), self.tokenizer.pad_token_id)
            learned = torch.zeros(ids_.shape, dtype=torch.bool)
            for row, (ids, marks) in enumerate(part):
                ids_[row, : len(ids)] = torch.tensor(ids)
                learned[row, : len(ids)] = torch.tensor(marks)
            batches.append((ids_.to(self.training.device), learned.to(self.training.device)))
        rng.shuffle(batches)
        return batches


def _split(
    talks: Sequence[tuple[list[int], list[bool]]], size: float
) -> Iterator[Sequence[tuple[list[int], list[bool]]]]:
    """:data:`_ROUND` parts of ``talks`` in order, each of about ``size`` tokens and none empty."""
    start = read = 0
    for n in range(_ROUND):
        end = start
        while end < len(talks) - (_ROUND - n - 1) and (end == start or read < (n + 1) * size):
            read += len(talks[end][0])
            end += 1
        yield talks[start : len(talks) if n == _ROUND - 1 else end]
        start = end


def resume(folder: Path, **changes: Any) -> Trainer:
    """The trainer whose checkpoint is in ``folder``, with ``changes`` to its :class:`Training`.

    Raises :class:`~pipelines.errors.ModelError` (``model_missing``) when there is none.
    """
    import torch

    file = folder / CHECKPOINT
    if not file.exists():
        raise ModelError("model_missing", f"{folder} holds no {CHECKPOINT} to go on from")
    state = torch.load(file, weights_only=True)
    trainer = Trainer(Training(**{**state["training"], **changes}), folder)
    trainer.model.load_state_dict(state["model"])
    for optimizer, kept in zip(trainer._optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(kept)
    trainer.done = state["done"]
    return trainer


def steps_in(seconds: float, training: Training, folder: Path) -> int:
    """How many steps this machine does in ``seconds``, by trying a round of them."""
    trainer = Trainer(training, folder)
    trainer.step()
    began = time.monotonic()
    for _ in range(2 * _ROUND - 1):
        trainer.step()
    return max(1, int(seconds * (2 * _ROUND - 1) / (time.monotonic() - began)))


def _model(training: Training, tokenizer: Any) -> Any:
    import transformers

    library: Any = transformers
    end = tokenizer.eos_token_id
    config = library.LlamaConfig(
        vocab_size=-(-len(tokenizer) // 8) * 8,
        hidden_size=training.width,
        intermediate_size=training.inner,
        num_hidden_layers=training.layers,
        num_attention_heads=training.heads,
        num_key_value_heads=training.heads,
        max_position_embeddings=tokens.CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=tokenizer.pad_token_id,
    )
    model: Any = library.LlamaForCausalLM(config)
    if training.device == "cpu":
        model.set_attn_implementation("eager")  # backward through flash attention takes twice as long on a CPU
    model.generation_config = library.GenerationConfig(
        do_sample=False, eos_token_id=end, pad_token_id=tokenizer.pad_token_id
    )
    return model.to(training.device)


def _has_bfloat16() -> bool:
    import torch

    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or torch.cuda.is_available())
