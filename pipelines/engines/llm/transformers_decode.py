"""Reading prompts and choosing tokens with a transformers model, one step at a time, alone or side by side.

Imports torch: import this inside functions.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pipelines.engines.llm.model import Sampling
from pipelines.engines.llm.slots import Slot, Slots
from pipelines.engines.llm.transformers_cache import CacheBatch, ModelCaches, is_plain

log = logging.getLogger(__name__)


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
    retried: bool = False

    @property
    def unread(self) -> int:
        return len(self.ids) - len(self.slot.tokens)


class Decoder:
    """Answers in the making on one model, and the caches kept between turns. One thread at a time.

    ``chunk`` is how many tokens of a prompt are read in one step. Of the answers given to one step, those that are past
    their prompt are decoded side by side, which pays on a GPU; on a CPU it hardly does.
    """

    def __init__(self, model: Any, slots: Slots[Any], caches: ModelCaches, *, chunk: int) -> None:
        self._model = model
        self._device = model.device
        self._slots = slots
        self._caches = caches
        self._chunk = chunk
        self._members: list[Answer] = []
        self._together: CacheBatch | None = None
        head = model.get_output_embeddings()
        if head is not None:
            head.register_forward_pre_hook(_packed)

    def begin(self, prompt: list[int], sampling: Sampling, owner: str) -> Answer:
        """Start an answer to ``prompt`` (token ids)."""
        self._part()
        with torch.inference_mode():
            slot = self._slots.take(prompt, owner)
        random = torch.Generator("cpu")
        if sampling.seed is None:
            random.seed()
        else:
            random.manual_seed(sampling.seed)
        return Answer(list(prompt), slot, owner, sampling, random, len(slot.tokens))

    def end(self, sequence: Answer) -> None:
        """No more of this answer is wanted; what was read is kept for the next turn."""
        if sequence in self._members:
            self._part()
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
        sequence.slot = self._slots.take(sequence.ids, sequence.owner)
        sequence.retried = True
        return None

    def _forward(self, **inputs: Any) -> Any:
        """Logits of the token that comes next, shape ``(batch, vocabulary)``."""
        return self._model(**inputs, use_cache=True, logits_to_keep=1).logits[:, -1]

    def _read(self, **inputs: Any) -> None:
        """Only fill the cache: what would come next is not asked."""
        self._model.base_model(**inputs, use_cache=True)

    def _choose(self, sequence: Answer, logits: Any) -> int:
        token = choose(logits, sequence.sampling, sequence.random)
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
    logits = logits.float().cpu() / sampling.temperature
    values, ids = logits.sort(descending=True)
    if sampling.top_k:
        values, ids = values[: sampling.top_k], ids[: sampling.top_k]
    chances = values.softmax(-1)
    if sampling.top_p < 1:
        chances = chances * ((chances.cumsum(-1) - chances) < sampling.top_p)  # the first is always kept
    return int(ids[torch.multinomial(chances, 1, generator=random)])
