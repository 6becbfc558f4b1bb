"""CLAP: sounds and texts as vectors of one space (Wu et al., 2023, arXiv:2211.06687).

Loaded with transformers, at the sample rate that its feature extractor names (48 kHz of LAION's).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.tasks.audio.models import transformers_models
from pipelines.tasks.audio.sounds import Wave

Vectors = NDArray[np.float32]


class Clap:
    """A loaded model. Blocking."""

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        self._model = transformers_models.load(folder, "ClapModel", device, dtype)
        self._tokenizer = transformers_models.part(folder, "AutoTokenizer")
        self._features = transformers_models.part(folder, "AutoFeatureExtractor")
        self.rate: int = int(self._features.sampling_rate)
        self.most_tokens: int = int(self._model.config.text_config.max_position_embeddings) - 2
        """Of a text, those of its ends among them."""
        self.scale = float(self._model.logit_scale_a.detach().exp().cpu())
        """What a similarity is multiplied by before the softmax."""

    def sounds(self, sounds: Sequence[Wave]) -> Vectors:
        """The vector of each, of length 1; shape ``(n, dimensions)``."""
        rows = [self._features(sound, sampling_rate=self.rate, return_tensors="pt") for sound in sounds]
        return np.concatenate([self._vectors(self._model.get_audio_features, row) for row in rows])

    def texts(self, texts: Sequence[str]) -> Vectors:
        """The vector of each, of length 1; what is longer than :attr:`most_tokens` is cut."""
        given = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.most_tokens, return_tensors="pt"
        )
        return self._vectors(self._model.get_text_features, given)

    def _vectors(self, features: Any, given: Any) -> Vectors:
        import torch

        with torch.inference_mode():
            placed = {
                name: value.to(self._model.device, self._model.dtype if value.is_floating_point() else value.dtype)
                for name, value in given.items()
            }
            made = features(**placed).pooler_output.float().cpu().numpy()
        lengths = np.linalg.norm(made, axis=-1, keepdims=True)
        return np.asarray(made / np.maximum(lengths, 1e-12), np.float32)


def load_clap(folder: Path, device: str, dtype: str) -> Clap:
    """The model in ``folder``. Raises :class:`~pipelines.errors.ModelError`."""
    return Clap(folder, device, dtype)
