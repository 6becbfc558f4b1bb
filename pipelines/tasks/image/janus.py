"""Janus: one model that looks at pictures and draws them (Wu et al., "Janus", 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from media.frames import Pixels
from pipelines.tasks.image.looking import Answered, Asked, generated
from pipelines.tasks.image.pictures import as_pil
from pipelines.tasks.image.transformers_models import opened, processor


@dataclass(frozen=True, slots=True)
class Janus:
    """The model and its processor."""

    model: Any
    processor: Any

    def answer(self, asked: Asked) -> Answered:
        """See :class:`~pipelines.tasks.image.looking.Looker`."""
        images = [as_pil(data, f"images.{n}") for n, data in enumerate(asked.pictures)]
        token = self.processor.image_token * len(images)
        prompt = f"<|User|>: {token}\n{asked.text}\n\n<|Assistant|>:"
        read = self.processor(text=prompt, images=images, generation_mode="text", return_tensors="pt")
        read = read.to(self.model.device, dtype=self.model.dtype)
        return generated(self.model, self.processor.tokenizer, read, asked, generation_mode="text")

    def draw(self, prompt: str, guidance: float, seed: int | None) -> Pixels:
        """A picture of what ``prompt`` says, RGB, of the model's own size."""
        import torch

        told = f"<|User|>: {prompt}\n\n<|Assistant|>:"
        read = self.processor(text=told, generation_mode="image", return_tensors="pt").to(self.model.device)
        begins = self.processor.tokenizer.convert_tokens_to_ids(self.processor.image_start_token)
        self.model.generation_config.generation_kwargs = {"boi_token_id": begins}
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.manual_seed(seed)
            tokens = self.model.generate(**read, generation_mode="image", do_sample=True, guidance_scale=guidance)
            picture = self.model.decode_image_tokens(tokens)[0].float().cpu().numpy()
        # Its processor's own post-processing takes no pictures whose colours are last unless torchvision is there.
        return np.asarray(np.clip((picture * 0.5 + 0.5) * 255, 0, 255), np.uint8)


def load_janus(folder: Path, device: str, dtype: str) -> Janus:
    """Raises :class:`~pipelines.errors.ModelError` (``model_broken``, ``model_needs_remote_code``)."""
    return Janus(opened("JanusForConditionalGeneration", folder, device, dtype), processor(folder))
