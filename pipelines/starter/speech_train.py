"""Training of the starter Whisper, from nothing, on speech that is synthesised while it trains. Blocking.

Step ``n`` of a seed always learns from the same windows (:mod:`pipelines.starter.speech_examples`); the next round of
them is made on a second thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import ModelError
from pipelines.starter.speech_examples import Batch, Examples, phoneme_names

CHECKPOINT = "checkpoint.pt"
_ROUND = 16
"""Batches that are made together, of windows of similar length."""
_TIMES = 2
"""So often each is learned from: to make them takes nearly as long."""


@dataclass(frozen=True, slots=True)
class SpeechTraining:
    """What is trained and how."""

    steps: int = 7_000
    seed: int = 1
    width: int = 192
    encoder_layers: int = 5
    decoder_layers: int = 3
    heads: int = 3
    inner: int = 768
    positions: int = 4_000
    """Of the encoder's output (20 ms) in a batch."""
    rate: float = 1.8e-3
    """Highest learning rate of the matrices (Muon); the rest (AdamW) learns at two thirds of it."""
    warmup: int = 100
    threads: int = 1
    """Of the CPU."""
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class SpeechProgress:
    """Told every few steps; means since the last time."""

    step: int
    gone: float
    """The share of the training that is done, 0–1."""
    text: float
    """Loss of the transcript, nats per token."""
    sounds: float
    """Loss of the phonemes, nats per position."""
    places: float
    """Loss of the alignment, nats per token."""
    seconds_per_step: float


class SpeechTrainer:
    """A model on its way; :meth:`step` by step, or :meth:`run` to the end."""

    def __init__(self, training: SpeechTraining, folder: Path) -> None:
        import torch

        from pipelines.starter.speech_model import Network, new_tokens

        torch.set_num_threads(training.threads)
        torch.manual_seed(training.seed)
        self.training = training
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.tokens = new_tokens(folder)
        phonemes = phoneme_names(folder)
        self.network = Network(
            self.tokens,
            training.width,
            (training.encoder_layers, training.decoder_layers),
            training.heads,
            training.inner,
            len(phonemes),
        ).to(training.device)
        learned = [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]
        matrices = [p for name, p in learned if p.ndim == 2 and "embed" not in name and "sounds" not in name]
        others = [p for name, p in learned if p.ndim != 2 or "embed" in name or "sounds" in name]
        self._optimizers: list[tuple[Any, float]] = [
            (torch.optim.Muon(matrices, lr=1.0, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"), 1.0),
            (torch.optim.AdamW(others, lr=1.0, betas=(0.9, 0.98), weight_decay=0.0), 2 / 3),
        ]
        self.done = 0
        self._clock: tuple[float, float] | None = None
        self._examples = Examples(self.tokens, phonemes, training.seed, training.positions, _ROUND)
        self._maker = ThreadPoolExecutor(1, "examples")
        self._coming: Future[list[Batch]] | None = None
        self._batches: list[Batch] = []

    def step(self) -> dict[str, float]:
        """Learn from the next batch; returns its losses."""
        import torch

        from pipelines.starter.speech_model import losses

        batch = self._batch(self.done)
        for optimizer, share in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.training.rate * share * self._share(self.done)
        kind = self.training.device.partition(":")[0]
        with torch.autocast(kind, torch.bfloat16, enabled=_has_bfloat16()):
            loss, parts = losses(self.network, batch, self.training.device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer, _ in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.done += 1
        return {name: float(part) for name, part in parts.items()}

    def run(
        self,
        tell: Callable[[SpeechProgress], None],
        seconds: float | None = None,
        every: int = 25,
        save: int = 250,
    ) -> None:
        """Train to the last step; a checkpoint and the model so far are saved now and then and at the end.

        With ``seconds`` the training ends after so long, and the learning rate falls by the clock.
        """
        self._clock = None if seconds is None else (time.monotonic(), seconds)
        began, found = time.monotonic(), list[dict[str, float]]()
        while self.gone < 1.0:
            found.append(self.step())
            if self.done % every == 0 or self.gone >= 1.0:
                means = {name: sum(one[name] for one in found) / len(found) for name in found[0]}
                now = time.monotonic()
                tell(SpeechProgress(self.done, self.gone, **means, seconds_per_step=(now - began) / len(found)))
                began, found = now, []
            if self.done % save == 0 or self.gone >= 1.0:
                self.save()
        self.close()

    @property
    def gone(self) -> float:
        """The share of the training that is done, 0–1."""
        if self._clock is not None:
            return min(1.0, (time.monotonic() - self._clock[0]) / self._clock[1])
        return min(1.0, self.done / max(1, self.training.steps))

    def close(self) -> None:
        """End the second thread. Idempotent."""
        self._maker.shutdown(cancel_futures=True)

    def save(self) -> None:
        """Write the checkpoint and, in ``model`` beside it, the model as engines load it."""
        import torch

        from pipelines.starter.speech_model import export

        state = {
            "training": asdict(self.training),
            "done": self.done,
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer, _ in self._optimizers],
        }
        new = self.folder / f"{CHECKPOINT}.new"
        torch.save(state, new)
        new.replace(self.folder / CHECKPOINT)
        export(self.network, self.folder, self.folder / "model")

    def _share(self, step: int) -> float:
        """Of the highest learning rate: a linear beginning, then a cosine down to a hundredth."""
        if step < self.training.warmup:
            return (step + 1) / self.training.warmup
        return 0.01 + 0.99 * (1 + math.cos(math.pi * self.gone)) / 2

    def _batch(self, step: int) -> Batch:
        round_, n = divmod(step, _ROUND * _TIMES)
        if n == 0 or not self._batches:
            coming = self._coming or self._make(round_)
            self._batches = coming.result()
            self._coming = self._make(round_ + 1)
        return self._batches[n % _ROUND]

    def _make(self, round_: int) -> Future[list[Batch]]:
        return self._maker.submit(self._examples.round, round_, self.gone)


def resume(folder: Path, **changes: Any) -> SpeechTrainer:
    """The trainer whose checkpoint is in ``folder``, with ``changes`` to its :class:`SpeechTraining`.

    Raises :class:`~pipelines.errors.ModelError` (``model_missing``) when there is none.
    """
    import torch

    file = folder / CHECKPOINT
    if not file.exists():
        raise ModelError("model_missing", f"{folder} holds no {CHECKPOINT} to go on from")
    state = torch.load(file, weights_only=True)
    trainer = SpeechTrainer(SpeechTraining(**{**state["training"], **changes}), folder)
    trainer.network.load_state_dict(state["network"])
    for (optimizer, _), kept in zip(trainer._optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(kept)
    trainer.done = state["done"]
    return trainer


def _has_bfloat16() -> bool:
    import torch

    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or torch.cuda.is_available())
