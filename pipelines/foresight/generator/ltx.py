"""LTX image-to-video on diffusers: previews after each step, an end within a step, and the adapter's context.

Blocking: for a worker's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, LTXImageToVideoPipeline

from media.frames import Pixels
from pipelines.errors import ModelError
from pipelines.foresight.filming import Guessed
from pipelines.foresight.generator.adapter_file import load_adapter
from pipelines.foresight.generator.image_encoder import ImageEncoder
from pipelines.foresight.generator.previews import Palette, WatchedScheduler
from pipelines.foresight.quality import Plan
from pipelines.runtime.telling import StoppedError
from pipelines.tasks.image.generation.diffusion import generator, opened_pipeline

DISTILLED_STEPS, STEPS = 8, 30
GUIDANCE = 3.0
"""Of models that are not distilled."""
_PREVIEW_SIDE = 128
"""Pixels of a preview's longer side; latents have far fewer."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be filmed."""

    first: Pixels
    plan: Plan
    prompt: str
    states: Any = None
    """Hidden states of the vision-language model, ``(1, states, width)``, for the adapter."""
    seed: int | None = None


@dataclass(slots=True)
class LtxVideo:
    """The pipeline in memory, and perhaps an adapter."""

    pipeline: Any
    steps: int
    guidance: float
    fusion: Any = None
    adapter: Any = None
    encoder: ImageEncoder | None = None

    def film(self, wish: Wish, tell: Callable[[Guessed], None], stopped: Callable[[], bool]) -> Sequence[Pixels]:
        """All frames; ``tell`` is given guesses after each step. Raises :class:`StoppedError` within a step of
        ``stopped``."""
        from PIL import Image

        pipeline, plan = self.pipeline, wish.plan
        picture = Image.fromarray(wish.first)
        with torch.inference_mode():
            palette = self._palette(picture, plan)
            context = self.context(wish)

            def look(pipeline: Any, step: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
                if stopped():
                    raise StoppedError
                for guess in self._guesses(palette, plan, step + 1):
                    tell(guess)
                return given

            with nullcontext() if context is None else self.adapter.attached(context):
                made = pipeline(
                    image=picture,
                    prompt=wish.prompt,
                    width=plan.width,
                    height=plan.height,
                    num_frames=plan.frames,
                    frame_rate=plan.fps,
                    num_inference_steps=self.steps,
                    guidance_scale=self.guidance,
                    generator=generator(wish.seed),
                    output_type="np",
                    callback_on_step_end=look,
                )
        return [np.clip(np.asarray(one) * 255 + 0.5, 0, 255).astype(np.uint8) for one in made.frames[0]]

    def context(self, wish: Wish) -> Any:
        """What the adapter lets the generator look at; ``None`` without one."""
        if self.adapter is None or self.fusion is None or self.encoder is None:
            return None
        patches = self.encoder.patches(wish.first).to(self.pipeline.device, self.pipeline.transformer.dtype)
        states = wish.states
        if states is not None:
            states = torch.as_tensor(states).to(patches.device, patches.dtype)
        return self.fusion(patches, states)

    def _palette(self, picture: Any, plan: Plan) -> Palette:
        vae = self.pipeline.vae
        shown = self.pipeline.video_processor.preprocess(picture, height=plan.height, width=plan.width)
        latents = vae.encode(shown.to(vae.device, vae.dtype).unsqueeze(2)).latent_dist.mode()[0, :, 0].float()
        mean, deviation = (one.to(latents.device)[:, None, None].float() for one in (vae.latents_mean, vae.latents_std))
        return Palette((latents - mean) * vae.config.scaling_factor / deviation, shown[0].to(latents.device))

    def _guesses(self, palette: Palette, plan: Plan, step: int) -> Sequence[Guessed]:
        clean = self.pipeline.scheduler.clean
        if clean is None:
            return ()
        apart = self.pipeline.vae_temporal_compression_ratio
        scale = _PREVIEW_SIDE / max(plan.width, plan.height)
        size = max(2, round(plan.width * scale)), max(2, round(plan.height * scale))
        return [
            Guessed(
                min((n + 1) * apart, plan.frames - 1),
                np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8),
                step,
                self.steps,
            )
            for n, pixels in enumerate(palette.colours(clean[0]))
        ]


def load(folder: Path, device: str, dtype: str, adapter: Path | None = None, encoder: Path | None = None) -> LtxVideo:
    """Raises :class:`ModelError` (``model_broken``, ``model_not_here``)."""
    pipeline = opened_pipeline(folder, device, dtype, LTXImageToVideoPipeline)
    if not isinstance(pipeline.scheduler, FlowMatchEulerDiscreteScheduler):
        raise ModelError("model_broken", f"{folder.name}: its scheduler is not that of flow matching")
    pipeline.scheduler = WatchedScheduler.from_config(pipeline.scheduler.config)
    distilled = "distilled" in folder.name.lower()
    made = LtxVideo(pipeline, DISTILLED_STEPS if distilled else STEPS, 1.0 if distilled else GUIDANCE)
    if adapter is not None:
        made.fusion, made.adapter = load_adapter(adapter, pipeline.transformer)
        made.encoder = ImageEncoder.load(encoder, device, dtype) if encoder is not None else None
    return made
