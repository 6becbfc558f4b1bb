"""A transformers model in memory: reading prompts and choosing tokens, one step at a time, alone or side by side.

Imports torch: import this inside functions.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from pipelines.engines.llm.model import Guide, Sampling, recommended, stop_tokens
from pipelines.engines.llm.slots import Slot, Slots
from pipelines.engines.llm.template import ChatTemplate, Prompt
from pipelines.interfaces.llm import Scaled
from pipelines.models.weights.adapters import MIX, Adapters

if TYPE_CHECKING:
    from pipelines.engines.llm.lora import LoraRows

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
    """Makes and changes the caches of one model, one conversation each (implements ``slots.Caches``)."""

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


log = logging.getLogger(__name__)

CPU_CHUNK, GPU_CHUNK = 64, 512
"""Tokens of a prompt read in one step: how long others wait for their turn, and a cancelled request for its end."""
GPU_BATCH = 16
"""Answers decoded side by side."""
MOST_MIXES = 8
"""Mixes of adapters that stay on the model after their last answer."""
_CONTEXT = 4096
"""Tokens, for a model that does not say."""


@dataclass(eq=False, slots=True)
class Answer:
    """One answer in the making."""

    ids: list[int]
    """The prompt and the answer so far; what the slot's cache does not hold is still to be read."""
    slot: Slot[Any]
    owner: str
    sampling: Sampling
    random: Any
    """``torch.Generator``."""
    cached: int
    """Tokens of the prompt that were known already."""
    guide: Guide
    row: str = ""
    """What the adapters call it (:mod:`~pipelines.engines.llm.lora`); empty without one."""
    retried: bool = False

    @property
    def unread(self) -> int:
        return len(self.ids) - len(self.slot.tokens)


class LoadedChat:
    """A :class:`~pipelines.engines.llm.model.ChatModel` with the conversations it remembers. One thread at a time.

    Of the answers given to one step, those that are past their prompt are decoded side by side, which pays on a GPU; on
    a CPU it hardly does.
    """

    def __init__(self, model: Any, template: ChatTemplate, adapters: Adapters | None = None) -> None:
        on_gpu = model.device.type != "cpu"
        self.model = model
        self.template = template
        self.context = int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or _CONTEXT)
        self.stops = stop_tokens(model.generation_config, template)
        self.sampling = recommended(model.generation_config)
        self.max_batch = GPU_BATCH if on_gpu else 1
        self._device = model.device
        self._caches = ModelCaches(model.config)
        self._slots: Slots[Any] = Slots(self._caches)
        self._chunk = GPU_CHUNK if on_gpu else CPU_CHUNK
        self._members: list[Answer] = []
        self._adapters = adapters or Adapters()
        self._lora: LoraRows | None = None
        self._answering: list[Answer] = []
        self._together: CacheBatch | None = None
        head = model.get_output_embeddings()
        if head is not None:
            head.register_forward_pre_hook(_packed)

    def begin(self, prompt: Prompt, sampling: Sampling, limit: int, owner: str, adapters: Scaled = ()) -> Answer:
        """Start an answer; its caller counts to ``limit``. Raises :class:`ModelError` for adapters that do not fit."""
        self._part()
        row = self._row(adapters)
        with torch.inference_mode():
            slot = self._slots.take(prompt.ids, owner, row)
        random = torch.Generator("cpu")
        if sampling.seed is None:
            random.seed()
        else:
            random.manual_seed(sampling.seed)
        answer = Answer(list(prompt.ids), slot, owner, sampling, random, len(slot.tokens), Guide(prompt.starts), row)
        self._answering.append(answer)
        return answer

    def end(self, sequence: Answer) -> None:
        """No more of this answer is wanted; what was read is kept for the next turn."""
        if sequence in self._members:
            self._part()
        if sequence in self._answering:
            self._answering.remove(sequence)
        self._slots.give_back(sequence.slot)

    def step(self, batch: Sequence[Answer]) -> list[int | Exception | None]:
        """Take each of ``batch`` one step further: its next token, or ``None`` while its prompt is being read."""
        with torch.inference_mode():
            together = [each for each in batch if each.unread == 1 and is_plain(each.slot.cache)]
            out: dict[int, int | Exception | None] = {}
            if len(together) > 1:
                out = dict(zip(map(id, together), self._step_together(together), strict=True))
            else:
                self._part()
            return [out[id(each)] if id(each) in out else self._step_alone(each) for each in batch]

    def _step_alone(self, sequence: Answer) -> int | Exception | None:
        if sequence in self._members:
            self._part()
        slot = sequence.slot
        tokens = sequence.ids[len(slot.tokens) : len(slot.tokens) + self._chunk]
        inputs = {"input_ids": torch.tensor([tokens], device=self._device), "past_key_values": slot.cache}
        last = len(tokens) == sequence.unread
        try:
            logits: Any = None
            self._choose_rows([sequence])
            if last:
                logits = self._forward(**inputs)
            else:
                self._read(**inputs)
        except Exception as error:  # noqa: BLE001 - whatever a model raises fails this answer alone
            return self._again(sequence, error)
        slot.tokens += tokens
        return self._choose(sequence, logits[0]) if last else None

    def _step_together(self, sequences: list[Answer]) -> list[int | Exception | None]:
        sequences.sort(key=id)  # the order of turns must not change the batch
        if self._together is None or self._members != sequences:
            self._part()
            self._together = CacheBatch(self._caches, [each.slot.cache for each in sequences])
            self._members = list(sequences)
            for each in sequences:
                each.slot.cache = self._caches.new()  # what it held is in the batch now
        try:
            self._choose_rows(sequences)
            logits = self._forward(**self._together.inputs([each.ids[-1] for each in sequences], self._device))
        except Exception as error:  # noqa: BLE001 - one answer may have spoilt it for all: each goes on alone
            self._members, self._together = [], None
            for each in sequences:
                self._slots.drop(each.slot)
            return [self._again(each, error) for each in sequences]
        self._together.advanced()
        for each in sequences:
            each.slot.tokens.append(each.ids[-1])
        return [self._choose(each, row) for each, row in zip(sequences, logits, strict=True)]

    def _part(self) -> None:
        """Give the members of the batch their caches back."""
        if self._together is not None:
            with torch.inference_mode():
                for member, cache in zip(self._members, self._together.split(self._caches), strict=True):
                    member.slot.cache = cache
        self._members, self._together = [], None

    def _again(self, sequence: Answer, error: Exception) -> Exception | None:
        """Begin anew after a failure, with the memory of idle conversations freed; the second time it is final."""
        self._part()
        self._slots.drop(sequence.slot)
        if sequence.retried:
            return error
        log.warning("a step of the language model failed and is tried once more: %s", error)
        self._slots.drop_idle()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        sequence.slot = self._slots.take(sequence.ids, sequence.owner, sequence.row)
        sequence.retried = True
        return None

    def _row(self, wanted: Scaled) -> str:
        """What a row with those adapters is called, which are on the model then; others that are gone are taken off."""
        parts = self._adapters.parts(wanted)
        if self._lora is not None:
            there, used = set(self._adapters.known()), {answer.row for answer in self._answering}
            mixes = [name for name, made in self._lora.loaded.items() if name.startswith(MIX) and made != parts]
            gone = [name for name, made in self._lora.loaded.items() if not {one for one, _ in made} <= there]
            gone += mixes[: max(0, len(mixes) - MOST_MIXES)]
            for name in (name for name in gone if name not in used):
                self._slots.drop_read_with(name)
                self._lora.forget([name])
        if not parts:
            return ""
        if self._lora is None:
            from pipelines.engines.llm.lora import LoraRows

            self._lora = LoraRows(self.model)
        return self._lora.name(parts)

    def _choose_rows(self, sequences: Sequence[Answer]) -> None:
        if self._lora is not None:
            self._lora.choose([sequence.row for sequence in sequences])

    def _forward(self, **inputs: Any) -> Any:
        """Logits of the token that comes next, shape ``(batch, vocabulary)``."""
        return self.model(**inputs, use_cache=True, logits_to_keep=1).logits[:, -1]

    def _read(self, **inputs: Any) -> None:
        """Only fill the cache: what would come next is not asked."""
        self.model.base_model(**inputs, use_cache=True)

    def _choose(self, sequence: Answer, logits: Any) -> int | Exception:
        try:
            token = sequence.guide.choose(logits, lambda some: choose(some, sequence.sampling, sequence.random))
        except Exception as error:
            log.exception("no token could be chosen")
            return error
        sequence.ids.append(token)
        return token


def _packed(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The last of many hidden states as if it had come alone.

    For a slice of a longer tensor the matrix product would copy and turn the whole vocabulary's weights (0.24 s of the
    0.3 s that 64 tokens took).
    """
    hidden, *rest = inputs
    return (hidden.clone(memory_format=torch.contiguous_format), *rest)


def choose(logits: Any, sampling: Sampling, random: Any) -> int:
    """The next token: the likeliest, or one drawn as ``sampling`` says. ``logits``: shape ``(vocabulary,)``."""
    if not sampling.temperature:
        return int(logits.argmax())
    values, ids = logits.float().cpu().sort(descending=True)
    if sampling.top_k:
        values, ids = values[: sampling.top_k], ids[: sampling.top_k]
    # the likeliest becomes 0 first: divided by a temperature near 0 it would be infinite, and so the next ones
    chances = ((values - values[0]).double() / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        chances = chances * ((chances.cumsum(-1) - chances) < sampling.top_p)  # the first is always kept
    return int(ids[torch.multinomial(chances, 1, generator=random)])
