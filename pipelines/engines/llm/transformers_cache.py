"""Key-value caches of transformers models: with room to grow, cut, copied, and many side by side as one batch.

Imports torch: import this inside functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_ROOM = 256
"""Tokens by which a cache grows."""


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer that appends in place; the one it replaces copies all it holds for every token."""

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Append, shape ``(batch, heads, new, size)``; return all."""
        held = self.get_seq_length()
        length = held + key_states.shape[-2]
        if not self.is_initialized or self._keys.shape[-2] < length:
            self._grow(key_states, value_states, held, length + _ROOM)
        self._keys[..., held:length, :] = key_states
        self._values[..., held:length, :] = value_states
        self.keys, self.values = self._keys[..., :length, :], self._values[..., :length, :]
        return self.keys, self.values

    def _grow(self, key_states: Any, value_states: Any, held: int, size: int) -> None:
        old: Any = (self.keys, self.values) if held else None
        self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        self._keys, self._values = (
            torch.empty(*states.shape[:-2], size, states.shape[-1], dtype=states.dtype, device=states.device)
            for states in (key_states, value_states)
        )
        if old is not None:
            self._keys[..., :held, :], self._values[..., :held, :] = old


class ModelCaches:
    """Makes and changes the caches of one model, one conversation each (implements ``chat_slots.Caches``)."""

    def __init__(self, config: Any) -> None:
        self._config = config

    def new(self) -> Any:
        """An empty cache. Layers that remember a window or a state only are left as transformers makes them."""
        cache = DynamicCache(config=self._config)
        roomy: Any = RoomyLayer
        cache.layers = [roomy() if type(layer) is DynamicLayer else layer for layer in cache.layers]
        return cache

    def crop(self, cache: Any, length: int) -> bool:
        """Keep the first ``length`` tokens; ``False`` for a model that remembers more than keys and values."""
        if not is_plain(cache):
            return False
        cache.crop(length - cache.get_seq_length())  # negative: how many to remove
        return True

    def copy(self, cache: Any, length: int) -> Any:
        """A cache of the first ``length`` tokens, or ``None`` as for :meth:`crop`."""
        if not is_plain(cache):
            return None
        copy = self.new()
        for n, layer in enumerate(cache.layers):
            copy.update(layer.keys[..., :length, :], layer.values[..., :length, :], n)
        return copy


def is_plain(cache: Any) -> bool:
    """Whether every layer keeps the keys and values of all tokens."""
    return all(type(layer) is RoomyLayer for layer in cache.layers)


def nbytes(holder: Any) -> int:
    """Bytes of the weights of a model, or of the tensors of a cache."""
    if isinstance(holder, torch.nn.Module):
        return sum(tensor.nbytes for tensor in (*holder.parameters(), *holder.buffers()))
    layers = [layer for layer in holder.layers if getattr(layer, "keys", None) is not None]
    return sum(tensor.untyped_storage().nbytes() for layer in layers for tensor in (layer.keys, layer.values))


class CacheBatch:
    """Several conversations' caches as one, each moved to the right so that all end together."""

    def __init__(self, caches: ModelCaches, members: Sequence[Any]) -> None:
        self.lengths = [cache.get_seq_length() for cache in members]
        """Tokens of each."""
        self.cache = caches.new()
        longest = max(self.lengths)
        for n, layer in enumerate(members[0].layers):
            shape = (len(members), layer.keys.shape[1], longest, layer.keys.shape[-1])
            keys, values = layer.keys.new_zeros(shape), layer.values.new_zeros((*shape[:-1], layer.values.shape[-1]))
            for row, (member, length) in enumerate(zip(members, self.lengths, strict=True)):
                keys[row, :, longest - length :] = member.layers[n].keys[0]
                values[row, :, longest - length :] = member.layers[n].values[0]
            self.cache.update(keys, values, n)

    def inputs(self, tokens: Sequence[int], device: Any) -> dict[str, Any]:
        """What the model is called with to read one more token of each."""
        longest = self.cache.get_seq_length()
        lengths = torch.tensor(self.lengths, device=device)
        mask = torch.arange(longest + 1, device=device)[None, :] >= (longest - lengths)[:, None]
        return {
            "input_ids": torch.tensor(tokens, device=device)[:, None],
            "position_ids": lengths[:, None],
            "attention_mask": mask.long(),
            "past_key_values": self.cache,
        }

    def advanced(self) -> None:
        """One more token of each has been read."""
        self.lengths = [length + 1 for length in self.lengths]

    def split(self, caches: ModelCaches) -> list[Any]:
        """The members' caches again."""
        longest = self.cache.get_seq_length()
        members = [caches.new() for _ in self.lengths]
        for n, layer in enumerate(self.cache.layers):
            for row, (member, length) in enumerate(zip(members, self.lengths, strict=True)):
                first = longest - length
                member.update(layer.keys[row : row + 1, :, first:], layer.values[row : row + 1, :, first:], n)
        return members
