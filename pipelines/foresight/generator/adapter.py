"""Context tokens into a video generator: a second cross-attention beside that to the prompt (IP-Adapter, Ye 2023).

Each block of the generator keeps its own weights; what is added is scaled by a gate that begins at zero. So an adapter
that has not been trained leaves the generator as it is, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Beside(nn.Module):
    """Keys and values of the context for one block, and its gate."""

    def __init__(self, context_width: int, inner: int) -> None:
        super().__init__()
        self.keys = nn.Linear(context_width, inner, bias=False)
        self.values = nn.Linear(context_width, inner, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, attention: Any, hidden: Tensor, context: Tensor) -> Tensor:
        """What the block's own queries find in the context."""
        query = attention.norm_q(attention.to_q(hidden))
        key, value = attention.norm_k(self.keys(context)), self.values(context)
        query, key, value = (one.unflatten(2, (attention.heads, -1)).transpose(1, 2) for one in (query, key, value))
        found = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        looked: Tensor = self.gate * attention.to_out[0](found)
        return looked


class Adapter(nn.Module):
    """One :class:`Beside` for each block of ``transformer`` (``LTXVideoTransformer3DModel``)."""

    def __init__(self, transformer: Any, context_width: int) -> None:
        super().__init__()
        blocks = list(transformer.transformer_blocks)
        self.blocks = nn.ModuleList(Beside(context_width, block.attn2.inner_dim) for block in blocks)
        self.strength = 1.0
        """Multiplies all gates: 0 is the plain generator."""
        self._attentions = [block.attn2 for block in blocks]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_attentions":  # the generator's, and none of ours to save or train
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @contextmanager
    def attached(self, context: Tensor) -> Iterator[None]:
        """While the context lasts, the generator looks at ``context`` too, ``(1 or batch, tokens, width)``.

        Of a batch that is twice as large, as guidance makes it, only the second half does: the first is without any
        condition.
        """
        hooks = [
            attention.register_forward_hook(_hook(beside, context, self.strength), with_kwargs=True)
            for attention, beside in zip(self._attentions, self.blocks, strict=True)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _hook(beside: nn.Module, context: Tensor, strength: float) -> Any:
    def add(attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        hidden = args[0] if args else kwargs["hidden_states"]
        given = context.to(hidden.dtype)
        if len(hidden) == 2 * len(given):
            more = beside(attention, hidden[len(given) :], given)
            more = torch.cat([torch.zeros_like(more), more])
        else:
            more = beside(attention, hidden, given.expand(len(hidden), -1, -1))
        together: Tensor = output + strength * more
        return together

    return add
