"""DINOv2: a picture → a vector for each of its patches. Blocking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from media.frames import Pixels
from pipelines.tasks.image.transformers_models import image_processor, opened


@dataclass(frozen=True, slots=True)
class ImageEncoder:
    """The model and what prepares pictures for it."""

    model: Any
    processor: Any

    @classmethod
    def load(cls, folder: Path, device: str, dtype: str) -> ImageEncoder:
        """Raises :class:`~pipelines.errors.ModelError` (``model_broken``)."""
        return cls(opened("AutoModel", folder, device, dtype), image_processor(folder))

    def patches(self, picture: Pixels) -> Any:
        """``(1, patches and the one for the whole, width)``."""
        import torch
        from PIL import Image

        read = self.processor(images=[Image.fromarray(picture)], return_tensors="pt")
        with torch.inference_mode():
            return self.model(read["pixel_values"].to(self.model.device, self.model.dtype)).last_hidden_state
