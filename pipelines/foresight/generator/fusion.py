"""What an image encoder and a vision-language model see → a few context tokens for a video generator.

A resampler after Perceiver (Jaegle et al. 2021) and Q-Former (Li et al. 2023): learned queries look, by
cross-attention, at the patches of the encoder and at the last hidden states of the model. Some ten million weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class FusionShape:
    """Sizes of a resampler, as its file tells them."""

    patch_width: int
    """Of a patch of the image encoder; DINOv2-large: 1024."""
    state_width: int
    """Of a hidden state of the vision-language model; Qwen2.5-VL-7B: 3584."""
    context_width: int
    """Of a context token; LTX's captions: 4096."""
    tokens: int = 32
    width: int = 512
    layers: int = 2
    heads: int = 8


class Fusion(nn.Module):
    """The resampler. Without hidden states it looks at patches alone."""

    def __init__(self, shape: FusionShape) -> None:
        super().__init__()
        self.shape = shape
        self.queries = nn.Parameter(torch.randn(shape.tokens, shape.width) * shape.width**-0.5)
        self.kinds = nn.Parameter(torch.zeros(2, shape.width))
        self.patches = _entrance(shape.patch_width, shape.width)
        self.states = _entrance(shape.state_width, shape.width)
        layer = nn.TransformerDecoderLayer(
            shape.width, shape.heads, 2 * shape.width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, shape.layers, norm=nn.LayerNorm(shape.width))
        self.exit = nn.Linear(shape.width, shape.context_width)

    def forward(self, patches: Tensor, states: Tensor | None = None, states_mask: Tensor | None = None) -> Tensor:
        """``(batch, patches, width)``, ``(batch, states, width)``, which of these count → ``(batch, tokens, …)``."""
        seen = self.patches(patches) + self.kinds[0]
        ignored = torch.zeros(seen.shape[:2], dtype=torch.bool, device=seen.device)
        if states is not None:
            read = self.states(states) + self.kinds[1]
            mask = (
                torch.ones(read.shape[:2], dtype=torch.bool, device=read.device) if states_mask is None else states_mask
            )
            seen, ignored = torch.cat([seen, read], 1), torch.cat([ignored, ~mask.bool()], 1)
        queries = self.queries.expand(len(patches), -1, -1)
        told: Tensor = self.exit(self.layers(queries, seen, memory_key_padding_mask=ignored))
        return told


def _entrance(width: int, inner: int) -> nn.Module:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner))
