"""What :class:`~pipelines.engines.llm.local.LocalChat` asks of a language model that has been loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.llm.template import ChatTemplate, Prompt
from pipelines.interfaces.llm import ChatRequest, Scaled


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float = 0.0
    """0 always takes the likeliest."""
    top_p: float = 1.0
    """Only the likeliest tokens that make up this share are drawn from."""
    top_k: int = 0
    """Only so many of the likeliest are drawn from; 0 for no bound."""
    seed: int | None = None
    """For answers that can be repeated, where the engine can."""

    def asked(self, request: ChatRequest) -> Sampling:
        """This, but for what ``request`` asks for."""
        wanted: dict[str, Any] = {"temperature": request.temperature, "top_p": request.top_p, "seed": request.seed}
        return replace(self, **{name: value for name, value in wanted.items() if value is not None})


class Guide:
    """Holds the beginning of an answer to one of ``starts`` (token ids), token by token; the rest is free."""

    def __init__(self, starts: Sequence[Sequence[int]]) -> None:
        self._starts = [tuple(start) for start in starts]
        self._at = 0

    @property
    def allowed(self) -> list[int]:
        """The tokens of which one has to come next; any may where there are none."""
        return sorted({start[self._at] for start in self._starts if len(start) > self._at})

    def choose(self, logits: Any, pick: Callable[[Any], int]) -> int:
        """The next token: what ``pick`` makes of those of ``logits`` (shape ``(vocabulary,)``) that may come."""
        allowed = self.allowed
        token = allowed[pick(logits[allowed])] if allowed else pick(logits)
        self.took(token)
        return token

    def took(self, token: int) -> None:
        """``token`` is the next of the answer."""
        self._starts = [start for start in self._starts if len(start) > self._at and start[self._at] == token]
        self._at += 1


class ChatModel(Protocol):
    """A model that answers step by step. Everything is called on one thread."""

    template: ChatTemplate
    context: int
    """Tokens of prompt and answer together."""
    stops: frozenset[int]
    """Tokens that end an answer."""
    sampling: Sampling
    """What the model's makers recommend."""
    max_batch: int
    """How many answers one step may take further."""

    def begin(self, prompt: Prompt, sampling: Sampling, limit: int, owner: str, adapters: Scaled = ()) -> Any:
        """Start an answer of at most ``limit`` tokens to ``prompt``, with one of the prompt's ``starts`` if it has any.

        ``owner`` is the conversation; ``adapters`` change the model for this answer, where it takes any. The result's
        attribute ``cached`` tells how many tokens of the prompt were known already.
        """
        ...

    def step(self, batch: Sequence[Any]) -> Sequence[int | Exception | None]:
        """Take each answer one step further: its next token, ``None`` while its prompt is being read, or why not."""
        ...

    def end(self, answer: Any) -> None:
        """No more of ``answer`` is wanted. Returns once the model is free of it."""
        ...


def recommended(config: Any) -> Sampling:
    """Sampling as a ``GenerationConfig`` has it."""
    if not getattr(config, "do_sample", False):
        return Sampling()
    temperature, top_p, top_k = (getattr(config, name, None) for name in ("temperature", "top_p", "top_k"))
    return Sampling(
        1.0 if temperature is None else float(temperature), 1.0 if top_p is None else float(top_p), int(top_k or 0)
    )


def stop_tokens(config: Any, template: ChatTemplate) -> frozenset[int]:
    """Tokens that end an answer, by a ``GenerationConfig`` and the template."""
    eos = config.eos_token_id
    ends = eos if isinstance(eos, list) else [] if eos is None else [eos]
    return frozenset({*ends, *template.stops()})


def choose(logits: NDArray[np.float32], sampling: Sampling, random: np.random.Generator) -> int:
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
