"""What a video is going to be like, after each step of its generator.

The scheduler is asked what it takes for the clean video at its noise level; a linear map turns latents into colours,
fitted for each picture to the latents of that picture, which are known. Coarse, and as good as free.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from media.frames import Pixels

_RIDGE = 1e-2


class WatchedScheduler(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
    """The same steps, and the clean video that each of them points to."""

    clean: Tensor | None = None
    """``(batch, channels, frames, height, width)`` of latents, after the latest step."""

    def step(self, model_output: Any, timestep: Any, sample: Any, *args: Any, **more: Any) -> Any:
        """See :class:`FlowMatchEulerDiscreteScheduler`."""
        after = super().step(model_output, timestep, sample, *args, **more)
        sigma = self.sigmas[self.step_index - 1].to(sample.device)
        self.clean = sample - sigma * model_output
        return after


class Palette:
    """Latents → colours, after one picture."""

    def __init__(self, latents: Tensor, picture: Tensor) -> None:
        """``latents``: ``(channels, height, width)`` of ``picture``, ``(3, larger height, larger width)`` in -1 … 1."""
        small = torch.nn.functional.adaptive_avg_pool2d(picture[None].float(), (latents.shape[-2], latents.shape[-1]))[
            0
        ]
        known = _with_one(latents.float().flatten(1).T)
        wanted = small.flatten(1).T
        ridge = _RIDGE * len(known) * torch.eye(known.shape[1], device=known.device)
        self._map = torch.linalg.solve(known.T @ known + ridge, known.T @ wanted)

    def colours(self, latents: Tensor) -> list[Pixels]:
        """A small picture for each frame of ``(channels, frames, height, width)``."""
        channels, frames, height, width = latents.shape
        flat = _with_one(latents.float().permute(1, 2, 3, 0).reshape(-1, channels))
        shown = ((flat @ self._map).clamp(-1, 1) + 1) * 127.5
        pixels = shown.reshape(frames, height, width, 3).cpu().numpy()
        return [np.ascontiguousarray(one.round().astype(np.uint8)) for one in pixels]


def _with_one(rows: Tensor) -> Tensor:
    return torch.cat([rows, torch.ones(len(rows), 1, device=rows.device)], 1)
