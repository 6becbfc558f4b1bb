"""Language models that continue text, and how they do it: token by token, several texts side by side.

One ``load`` and one ``run`` for all tasks on them: the items of a batch say themselves what the model is to read.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipelines.engines.llm.model import Sampling
from pipelines.engines.llm.template import ChatTemplate
from pipelines.errors import ModelError
from pipelines.interfaces.task import TaskError
from pipelines.models.weights.adapters import Adapters, adapters_in
from pipelines.tasks.loading import load_pretrained, load_tokenizer
from pipelines.text import unknown

_CONTEXT = 4096
"""Tokens, for a model that does not say."""
_BROKEN = "\ufffd"
"""What the tokenizer writes for bytes that are no character yet."""


@dataclass(frozen=True, slots=True)
class Generation:
    """How a text is continued."""

    sampling: Sampling
    most: int
    """Tokens."""
    stop: tuple[str, ...] = ()
    """Texts at which it ends; they are not part of it."""
    repetition: float = 1.0
    """What the chances of tokens that have occurred are divided by."""
    stop_tokens: frozenset[int] = frozenset()
    """Beside those of the model."""
    top: int = 0
    """So many of the likeliest tokens are told with each."""


class CausalModel:
    """A language model with its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, adapters: Adapters | None = None) -> None:
        self.model = model
        self._adapters = adapters or Adapters()
        self._lora: Any = None
        self.tokenizer = tokenizer
        self.lock = threading.Lock()
        self.context = int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or _CONTEXT)
        named = model.generation_config.eos_token_id
        ends = named if isinstance(named, list) else [named]
        self.ends = frozenset(one for one in (*ends, tokenizer.eos_token_id) if one is not None)
        self.size = len(tokenizer)
        self.special = frozenset(tokenizer.all_special_ids)
        self.takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    @cached_property
    def chat(self) -> ChatTemplate:
        """How it writes conversations. Raises :class:`ModelError` (``model_not_chat``)."""
        return ChatTemplate(self.tokenizer, "the model")

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """The tokens of a text."""
        with self.lock:
            return list(self.tokenizer(text, add_special_tokens=special)["input_ids"])

    def decode(self, tokens: Sequence[int]) -> str:
        """Tokens as text, without those that mark something."""
        with self.lock:
            return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))

    def token(self, word: str) -> int | None:
        """The id of a token of its own; ``None``: the model has none such."""
        found = self.tokenizer.get_vocab().get(word)
        return None if found is None else int(found)

    def put_on(self, adapter: str) -> str:
        """What the adapter of that name is called in a batch; loads it if need be. Raises :class:`TaskError`."""
        if not adapter:
            return ""
        if adapter not in (there := self._adapters.names("peft")):
            legal = (
                unknown("adapter", adapter[:80], there) if there else "the model has none (adapters/NAME in its folder)"
            )
            raise TaskError("invalid_value", f"parameters.adapter_id: {legal}")
        if find_spec("peft") is None:
            raise TaskError("unsupported_value", "parameters.adapter_id: needs the package peft")
        if self._lora is None:
            from pipelines.engines.llm.lora import LoraRows

            self._lora = LoraRows(self.model)
        try:
            return str(self._lora.name(self._adapters.parts(((adapter, 1.0),))))
        except ModelError as error:
            raise TaskError("invalid_value", f"parameters.adapter_id: {error.message}") from error

    def choose(self, rows: Sequence[Row]) -> None:
        """Which adapter each row of the next computation goes through."""
        if self._lora is not None:
            self._lora.choose([row.adapter for row in rows])

    def check(self, tokens: Sequence[int], most: int, field_name: str) -> None:
        """Raise :class:`TaskError` where prompt and continuation are longer than the model can read, or it is empty."""
        if not tokens:
            raise TaskError("invalid_value", f"{field_name}: must hold something")
        if (wrong := max(tokens)) >= self.model.get_input_embeddings().num_embeddings:
            raise TaskError("invalid_value", f"{field_name}: {wrong} is no token of the model")
        if len(tokens) + most > self.context:
            room = self.context - len(tokens)
            hint = f"leave parameters.max_new_tokens at {room} or less" if room > 0 else "shorten it"
            raise TaskError(
                "input_too_long",
                f"{field_name}: has {len(tokens)} tokens and {most} are to follow; "
                f"the model reads {self.context}: {hint}",
            )


def load(folder: Path, device: str, dtype: str) -> CausalModel:
    """The model in ``folder``. Raises :class:`~pipelines.errors.ModelError`."""
    tokenizer = load_tokenizer(folder)
    model = load_pretrained("AutoModelForCausalLM", folder, device, dtype)
    return CausalModel(model, tokenizer, adapters_in(folder))


@dataclass(slots=True)
class Piece:
    """A token that was chosen, and the text that is certain now."""

    id: int
    text: str
    logprob: float
    special: bool
    top: list[tuple[int, float]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Row:
    """One text in the making."""

    prompt: list[int]
    how: Generation
    random: Any
    adapter: str = ""
    """As :meth:`CausalModel.put_on` calls it."""
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    """What is certain."""
    held: str = ""
    """What follows it and may yet be the beginning of a stop text."""
    finish: str = ""
    """``length``, ``eos_token`` or ``stop_sequence``, once it has ended."""
    read_from: int = 0
    """The first token that is not in :attr:`text` and :attr:`held`, and the one before which these begin."""
    base: int = 0

    def take(self, model: CausalModel, token: int) -> str:
        """One token more; returns the text that has become certain."""
        if token in model.ends or token in self.how.stop_tokens:
            self.finish = "eos_token"
            self.tokens.append(token)
            return self._released(self.held)
        self.tokens.append(token)
        before = model.decode(self.tokens[self.base : self.read_from])
        now = model.decode(self.tokens[self.base :])
        if len(now) > len(before) and not now.endswith(_BROKEN):
            self.held += now[len(before) :]
            self.base, self.read_from = self.read_from, len(self.tokens)
        if len(self.tokens) >= self.how.most:
            self.finish = "length"
        return self._certain()

    def _certain(self) -> str:
        places = [(place, stop) for stop in self.how.stop if (place := self.held.find(stop)) >= 0]
        if places:
            place, _ = min(places)
            self.finish = "stop_sequence"
            given, self.held = self.held[:place], ""
            return self._released(given, keep="")
        if self.finish:
            return self._released(self.held)
        longest = max((_beginning(self.held, stop) for stop in self.how.stop), default=0)
        cut = len(self.held) - longest
        return self._released(self.held[:cut], keep=self.held[cut:])

    def _released(self, text: str, keep: str = "") -> str:
        self.text += text
        self.held = keep
        return text


def _beginning(text: str, stop: str) -> int:
    """How many of the last characters of ``text`` may be the first of ``stop``."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


def new_row(prompt: list[int], how: Generation) -> Row:
    """A text that begins now. Draws from a generator of its own, which may be repeated by its seed."""
    import torch

    random = torch.Generator("cpu")
    if how.sampling.seed is None:
        random.seed()
    else:
        random.manual_seed(how.sampling.seed)
    return Row(prompt, how, random)


def continued(model: CausalModel, rows: Sequence[Row]) -> Iterator[list[tuple[Row, Piece]]]:
    """Continue all ``rows`` side by side until each has ended; yields what every step has brought."""
    import torch
    from transformers import DynamicCache

    device, pad = model.model.device, min(model.ends, default=0)
    longest = max(len(row.prompt) for row in rows)
    padding = torch.tensor([longest - len(row.prompt) for row in rows], device=device)
    ids = torch.tensor([[pad] * (longest - len(row.prompt)) + row.prompt for row in rows], device=device)
    cache = DynamicCache(config=model.model.config)
    length = longest
    while not all(row.finish for row in rows):
        mask = torch.arange(length, device=device)[None, :] >= padding[:, None]
        positions = (torch.arange(length - ids.shape[1], length, device=device)[None, :] - padding[:, None]).clamp(
            min=0
        )
        given = {"input_ids": ids, "attention_mask": mask.long(), "past_key_values": cache}
        if model.takes_positions:
            given["position_ids"] = positions
        model.choose(rows)
        with torch.inference_mode():
            logits = model.model(**given, use_cache=True, logits_to_keep=1).logits[:, -1].float().cpu()
        chosen, step = [], []
        for row, numbers in zip(rows, logits, strict=True):
            if row.finish:
                chosen.append(pad)
                continue
            piece = _chosen(model, row, numbers)
            chosen.append(piece.id)
            step.append((row, piece))
        yield step
        ids = torch.tensor(chosen, device=device)[:, None]
        length += 1


def _chosen(model: CausalModel, row: Row, logits: Any) -> Piece:
    import torch

    from pipelines.engines.llm.transformers_decode import choose

    if row.how.repetition != 1.0:
        seen = torch.tensor(sorted({*row.prompt, *row.tokens}))
        values = logits[seen]
        logits = logits.clone()
        logits[seen] = torch.where(values > 0, values / row.how.repetition, values * row.how.repetition)
    token = choose(logits, row.how.sampling, row.random)
    chances = logits.log_softmax(-1)
    top: list[tuple[int, float]] = []
    if row.how.top:
        values, ids = chances.topk(min(row.how.top, len(chances)))
        top = [(int(one), float(value)) for one, value in zip(ids, values, strict=True)]
    special = token in model.special
    return Piece(token, row.take(model, token), float(chances[token]), special, top)
