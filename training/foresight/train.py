"""Train a fusion and an adapter (:mod:`pipelines.foresight.generator`) on short films, everything else frozen.

Flow matching as LTX was trained: a film's latents are mixed with noise, and the generator is to tell the way from the
one to the other; its first latent frame is given. One film in ten is seen without the context, for guidance.

    python -m training.foresight.train --generator LTX --encoder DINOV2 --describer VLM --films FOLDER --out FOLDER

``FOLDER`` holds ``*.mp4``, each with its prompt in a ``.txt`` of the same name, if it has one. Whoever trains writes a
card: what was measured against the plain generator, on which films. Without that nothing may be claimed for it.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from rich import print as say
from torch import Tensor

from media.frames import Pixels
from pipelines.errors import ModelError
from pipelines.foresight.describing import asked
from pipelines.foresight.generator.adapter import Adapter
from pipelines.foresight.generator.adapter_file import AdapterCard, save_adapter
from pipelines.foresight.generator.fusion import Fusion, FusionShape
from pipelines.foresight.generator.image_encoder import ImageEncoder
from pipelines.foresight.generator.ltx import load as load_ltx
from pipelines.tasks.image import looking
from pipelines.tasks.image.looking import Asked, ChatLooker
from pipelines.vision.images import snapshot

DROPPED = 0.1
"""Of the films, that are seen without the context."""


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """One example: frames ``(n, height, width, 3)`` and what its maker says about it."""

    frames: Pixels
    prompt: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A film as the generator is trained on it: computed once, none of it changes."""

    latents: Tensor
    """``(1, channels, frames, height, width)``, normalised."""
    prompt: Tensor
    prompt_mask: Tensor
    patches: Tensor
    states: Tensor | None


class Trainer:
    """``pipeline``: LTX with patches of one latent. Raises :class:`ModelError` (``model_broken``) for others."""

    def __init__(
        self, pipeline: Any, fusion: Fusion, adapter: Adapter, *, rate: float = 1e-4, fps: float = 15.0
    ) -> None:
        config = pipeline.transformer.config
        if (config.patch_size, config.patch_size_t) != (1, 1):
            raise ModelError("model_broken", "generators whose patches hold several latents are not trained here")
        self._pipeline = pipeline
        self._fusion = fusion.train()
        self._adapter = adapter.train()
        self._fps = fps
        pipeline.transformer.requires_grad_(False)
        self._optimizer = torch.optim.AdamW([*fusion.parameters(), *adapter.parameters()], rate, weight_decay=0.01)

    def loss(self, seen: Seen, noise: Tensor, level: float, *, dropped: bool = False) -> Tensor:
        """How far off the generator is at this level of noise, 0–1."""
        pipeline, latents = self._pipeline, seen.latents
        _, _, frames, height, width = latents.shape
        mixed = (1 - level) * latents + level * noise
        mixed = torch.cat([latents[:, :, :1], mixed[:, :, 1:]], 2)
        given = torch.zeros(1, 1, frames, height, width, device=latents.device)
        given[:, :, 0] = 1.0
        timestep = (1 - packed(given).squeeze(-1)) * level * 1000
        context = self._fusion(seen.patches, seen.states)
        ratios = pipeline.vae_temporal_compression_ratio, pipeline.vae_spatial_compression_ratio
        self._adapter.strength = 0.0 if dropped else 1.0
        with self._adapter.attached(context):
            told = pipeline.transformer(
                hidden_states=packed(mixed).to(pipeline.transformer.dtype),
                encoder_hidden_states=seen.prompt,
                timestep=timestep,
                encoder_attention_mask=seen.prompt_mask,
                num_frames=frames,
                height=height,
                width=width,
                rope_interpolation_scale=(ratios[0] / self._fps, ratios[1], ratios[1]),
                return_dict=False,
            )[0]
        self._adapter.strength = 1.0
        first = height * width
        loss: Tensor = torch.nn.functional.mse_loss(told[:, first:].float(), packed(noise - latents)[:, first:].float())
        return loss

    def step(self, films: Sequence[Seen]) -> float:
        """Learn from some films. Returns the mean loss before that."""
        total = 0.0
        for seen in films:
            noise, level = torch.randn_like(seen.latents), torch.rand(()).clamp(0.02, 0.98).item()
            loss = self.loss(seen, noise, level, dropped=random.random() < DROPPED)
            if loss.requires_grad:
                torch.autograd.backward(loss / len(films))
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_([*self._fusion.parameters(), *self._adapter.parameters()], 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return total / len(films)


def packed(latents: Tensor) -> Tensor:
    """``(batch, channels, frames, height, width)`` → ``(batch, places, channels)``."""
    return latents.flatten(2).transpose(1, 2)


@torch.no_grad()
def seen_by(pipeline: Any, encoder: ImageEncoder, describer: ChatLooker | None, film: Film) -> Seen:
    """What is known of a film before training."""
    vae, height, width = pipeline.vae, film.frames.shape[1], film.frames.shape[2]
    video = torch.from_numpy(film.frames).permute(3, 0, 1, 2)[None].to(vae.device, vae.dtype) / 127.5 - 1
    raw = vae.encode(video).latent_dist.mode().float()
    mean, deviation = (
        one.to(raw.device)[None, :, None, None, None].float() for one in (vae.latents_mean, vae.latents_std)
    )
    prompt, mask, *_ = pipeline.encode_prompt(film.prompt, do_classifier_free_guidance=False, device=vae.device)
    assert height % 32 == 0 == width % 32, "films are made to fit when they are read"
    latents = (raw - mean) * vae.config.scaling_factor / deviation
    return Seen(latents, prompt, mask, encoder.patches(film.frames[0]).clone(), _states(describer, film))


def _states(describer: ChatLooker | None, film: Film) -> Tensor | None:
    if describer is None:
        return None
    found: list[Tensor] = []
    question = Asked((snapshot(film.frames[0]).data,), asked(film.prompt), max_new_tokens=1)
    describer.tell(question, lambda text: None, lambda: False, found.append)
    return found[0].clone()  # out of inference mode


def films_in(folder: Path, width: int, height: int, frames: int, fps: float) -> Iterator[Film]:
    """The beginnings of all films in ``folder`` that are long enough, at ``fps``."""
    for path in sorted(folder.glob("*.mp4")):
        taken: list[Pixels] = []
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                if (frame.time or 0.0) >= len(taken) / fps - 1e-6:
                    pixels = frame.to_ndarray(format="rgb24")
                    taken.append(
                        np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
                    )
                if len(taken) == frames:
                    break
        words = path.with_suffix(".txt")
        if len(taken) == frames:
            yield Film(np.stack(taken), words.read_text("utf-8").strip() if words.is_file() else "")


def main(given: Sequence[str] | None = None) -> None:
    """The command."""
    wishes = _parser().parse_args(given)
    made = load_ltx(wishes.generator, wishes.device, wishes.dtype)
    encoder = ImageEncoder.load(wishes.encoder, wishes.device, wishes.dtype)
    looker = looking.load(wishes.describer, wishes.device, wishes.dtype) if wishes.describer else None
    describer = looker if isinstance(looker, ChatLooker) else None
    films = list(films_in(wishes.films, wishes.width, wishes.height, wishes.frames, wishes.fps))
    if not films:
        raise SystemExit(f"{wishes.films} holds no film with {wishes.frames} frames at {wishes.fps:g} a second")
    examples = [seen_by(made.pipeline, encoder, describer, film) for film in films]
    states, transformer = examples[0].states, made.pipeline.transformer
    shape = FusionShape(
        examples[0].patches.shape[-1], 1 if states is None else states.shape[-1], transformer.config.caption_channels
    )
    device = made.pipeline.device
    fusion, adapter = Fusion(shape).to(device), Adapter(transformer, shape.context_width).to(device)
    say(
        f"{len(films)} films; {sum(one.numel() for one in fusion.parameters()) / 1e6:.1f} million weights of the fusion"
    )
    trainer = Trainer(made.pipeline, fusion, adapter, rate=wishes.rate, fps=wishes.fps)
    for n in range(wishes.steps):
        loss = trainer.step(random.sample(examples, min(wishes.batch, len(examples))))
        if n % 50 == 0 or n == wishes.steps - 1:
            say(f"step {n}: {loss:.4f}")
    describes = wishes.describer.name if wishes.describer else ""
    save_adapter(wishes.out, AdapterCard(wishes.encoder.name, describes, shape), fusion, adapter)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train a fusion and an adapter for a video generator.")
    for name in ("generator", "encoder", "films", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--describer", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    for name, number in (("width", 512), ("height", 512), ("frames", 33), ("steps", 2000), ("batch", 4)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--rate", type=float, default=1e-4)
    return parser


if __name__ == "__main__":
    main()
