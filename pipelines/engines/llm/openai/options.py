"""How a model behind an OpenAI-compatible server is asked, and what is known of it by its name alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.interfaces.llm import ChatRequest

THINKING_ROOM = 2048
"""Tokens that a model gets beside those of its answer once it has spent all of them on thoughts."""
_NAMES = re.compile(
    r"gpt-4o|gpt-4\.1|gpt-4-turbo|gpt-5|chatgpt|\bo[134]\b|claude-(?!instant|2)|gemini|gemma-?(3|4)(?!n?[:-](270m|1b))"
    r"|llava|bakllava|vision|[-_.]vl\b|\dvl\b|\bvl[-_:0-9]|pixtral|mistral-small-?3\.[12]|moondream|minicpm-v|internvl"
    r"|smolvlm|idefics|paligemma|cogvlm|phi-?(3(\.5)?|4)-(vision|multimodal)|llama-?4|molmo|nvila|granite.*vision",
    re.IGNORECASE,
)
"""Names of model families that take pictures. What is missing here is set by hand (``chat_images: true``)."""


def known_to_see(model: str) -> bool:
    """Whether a model of this name takes pictures, as far as names tell."""
    return _NAMES.search(model) is not None


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How the model is asked."""

    temperature: float | None = None
    """Randomness; ``None`` leaves it to the server."""
    max_tokens: int | None = None
    """Upper bound on what a request may ask for."""
    first_token_seconds: float = 15.0
    """How long the server may take to begin its answer, connecting included."""
    between_tokens_seconds: float = 5.0
    """How long it may pause within its answer."""
    connect_seconds: float = 4.0
    """How long a connection may take."""
    images: bool | None = None
    """Whether the model takes pictures; ``None``: as its name tells, until the server refuses one."""
    adapters: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """For a server that takes ``lora`` as llama.cpp does: name → numbers of its adapters, each with its share."""
    always: tuple[int, ...] = ()
    """Numbers of adapters that belong to the model, whatever is asked for."""
    grammar: Callable[[ChatRequest], str] | None = None
    """Makes what answers are held to where tools are offered or JSON is asked for, for a server that takes that as
    ``grammar``: the tools are told in words then, and calls stand in the text."""
