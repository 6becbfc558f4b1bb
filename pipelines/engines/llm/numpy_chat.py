"""The chat engine of the small model that visavis brings, on :mod:`pipelines.engines.llm.numpy_llama`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.model import ChatModel, Sampling, recommended, stop_tokens
from pipelines.engines.llm.numpy_llama import Array, Cache, NumpyCaches, NumpyLlama, load
from pipelines.engines.llm.plain_tokenizer import load_plain_tokenizer
from pipelines.engines.llm.slots import Slot, Slots
from pipelines.engines.llm.template import ChatTemplate, Prompt
from pipelines.engines.registry import Built, Found, Site
from pipelines.models.plans import Loadable
from pipelines.models.residency import Resident
from pipelines.routing.known_first import Passes, StandIn
from pipelines.starter import model_files

CHUNK = 64
"""Tokens of a prompt read in one step: how long others wait for their turn, and a cancelled request for its end."""


@dataclass(eq=False, slots=True)
class _Answer:
    """One answer in the making."""

    ids: list[int]
    """The prompt and the answer so far; what the slot's cache does not hold is still to be read."""
    slot: Slot[Cache]
    sampling: Sampling
    random: np.random.Generator
    cached: int
    """Tokens of the prompt that were known already."""


class NumpyChat:
    """A model in memory with the conversations it remembers (implements ``chat_model.ChatModel``)."""

    max_batch = 1

    def __init__(self, model: NumpyLlama, template: ChatTemplate, config: SimpleNamespace) -> None:
        self.model = model
        self.template = template
        self.context = model.shape.context
        self.stops = stop_tokens(config, template)
        self.sampling = recommended(config)
        self.slots: Slots[Cache] = Slots(NumpyCaches())

    def begin(self, prompt: Prompt, sampling: Sampling, limit: int, owner: str) -> _Answer:
        """Start an answer; its caller counts to ``limit``."""
        slot = self.slots.take(prompt.ids, owner)
        return _Answer(list(prompt.ids), slot, sampling, np.random.default_rng(sampling.seed), len(slot.tokens))

    def step(self, batch: Sequence[_Answer]) -> list[int | Exception | None]:
        """Take each answer one step further."""
        return [self._step(answer) for answer in batch]

    def end(self, answer: _Answer) -> None:
        """No more of ``answer`` is wanted; what was read is kept for the next turn."""
        self.slots.give_back(answer.slot)

    def _step(self, answer: _Answer) -> int | None:
        slot = answer.slot
        tokens = answer.ids[len(slot.tokens) : len(slot.tokens) + CHUNK]
        logits = self.model.read(tokens, slot.cache)
        slot.tokens += tokens
        if len(slot.tokens) < len(answer.ids):
            return None
        token = choose(logits, answer.sampling, answer.random)
        answer.ids.append(token)
        return token


def choose(logits: Array, sampling: Sampling, random: np.random.Generator) -> int:
    """The next token: the likeliest, or one drawn as ``sampling`` says. ``logits``: shape ``(vocabulary,)``."""
    if not sampling.temperature:
        return int(logits.argmax())
    ids = np.argsort(-logits, kind="stable")[: sampling.top_k or None]
    chances = np.exp((logits[ids] - logits[ids[0]]).astype(np.float64) / sampling.temperature)
    chances /= chances.sum()
    if sampling.top_p < 1:
        chances *= np.cumsum(chances) - chances < sampling.top_p  # the first is always kept
        chances /= chances.sum()
    return int(random.choice(ids, p=chances))


def load_numpy_chat(folder: Path) -> NumpyChat:
    """Load the model in ``folder``, a tenth of a second. Raises :class:`~pipelines.errors.ModelError`."""
    template = ChatTemplate(load_plain_tokenizer(folder), folder.name)
    model = load(folder)
    file = folder / "generation_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return NumpyChat(model, template, SimpleNamespace(**{"eos_token_id": None, **config}))


async def build(site: Site, found: Found) -> Built[StandIn]:
    """The model in the package (see :data:`pipelines.engines.registry.Build`)."""
    load = partial(load_numpy_chat, model_files.FOLDER)
    plan: Loadable[ChatModel] = Loadable(found.name, load, precision="float32")
    resident = site.residency.add(plan)
    if found.now:
        await site.aside(_load, resident)
    passes = Passes(model_files.PASSES, model_files.KEEPS)
    return Built(StandIn(LocalChat(resident), passes, away=model_files.AWAY, never=model_files.NEVER))


def _load(resident: Resident[ChatModel]) -> None:
    with resident.lease():
        pass
