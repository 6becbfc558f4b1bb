"""A model's own way of writing a conversation: its tokenizer and chat template, from transformers.

Used by every engine that runs a model in this process. Blocking: about a millisecond per thousand tokens.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.engines.llm.messages import (
    alternating,
    as_dict,
    in_system,
    system_in_user,
    tool_as_dict,
    tools_in_words,
    with_surroundings,
    without_tool_roles,
)
from pipelines.errors import LLMError, ModelError
from pipelines.interfaces.llm import ChatRequest, Message, Tool
from pipelines.voice.context import fit

_MARK = "xyzzy"
"""A word whose end shows where a template goes on."""
_MARGIN = 96
"""Tokens kept free beside the answer for the scene and for what a template adds."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request as a model reads it."""

    ids: list[int]
    request: ChatRequest
    starts: tuple[tuple[int, ...], ...] = ()
    """The answer begins with one of these, where a tool has to be called; without any, as the model likes."""


class ChatTemplate:
    """Requests → token ids, with what a template lacks made up for.

    A template that refuses a system message gets it in front of the first message of the user; one that knows no tools
    gets them described in the system message; one that insists on turns gets turns. ``tokenizer`` is a transformers
    tokenizer. Raises :class:`~pipelines.errors.ModelError` (``model_not_chat``) when it has no chat template.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError("model_not_chat", f"{name} has no chat template: give a model that was tuned to converse")
        self._tokenizer = tokenizer
        self._name = name
        self._takes_system = self._renders([Message("system", _MARK), Message("user", "a")])
        self._takes_tools = self._knows_tools()

    def encode(self, request: ChatRequest, context: int) -> Prompt:
        """The prompt of ``request``; the oldest turns are left out where it would not fit into ``context`` tokens.

        Raises :class:`~pipelines.errors.LLMError`: ``llm_context_full`` when not even the newest turn fits,
        ``llm_template`` when the template refuses the messages.
        """
        room = context - min(request.max_tokens, context // 2)
        ids = self._encode(with_surroundings(request), request.tools)
        if len(ids) > room:
            extra = len(self._encode([Message("user", "a")], request.tools)) + _MARGIN
            kept = fit(request.messages, room - extra, self._count)
            ids = self._encode(with_surroundings(replace(request, messages=tuple(kept))), request.tools)
        if len(ids) >= context:
            raise LLMError(
                "llm_context_full", f"the newest turn has {len(ids)} tokens, {self._name} can read {context} in all"
            )
        return Prompt(ids, request, tuple(map(self._call_of, request.callable)) if request.must_call else ())

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids``, without special tokens."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def stops(self) -> set[int]:
        """Tokens that end an answer: the tokenizer's end of text, and what the template puts behind an answer."""
        stops = {self._tokenizer.eos_token_id} - {None}
        text: str = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": _MARK}], tokenize=False
        )
        after = self._tokenizer(text.rpartition(_MARK)[2], add_special_tokens=False)["input_ids"][:1]
        return stops | (set(after) & set(self._tokenizer.all_special_ids))

    def _encode(self, messages: Sequence[Message], tools: tuple[Tool, ...]) -> list[int]:
        from jinja2 import TemplateError

        if tools and not self._takes_tools:
            messages = in_system([without_tool_roles(message) for message in messages], tools_in_words(tools))
        if not self._takes_system:
            messages = system_in_user(messages)
        given = [tool_as_dict(tool) for tool in tools] if tools and self._takes_tools else None
        try:
            return self._ids(messages, given)
        except TemplateError as error:
            try:
                return self._ids(alternating(messages), given)
            except TemplateError:
                raise LLMError("llm_template", f"the chat template of {self._name} refuses this: {error}") from error

    def _ids(self, messages: Sequence[Message], tools: list[dict[str, Any]] | None) -> list[int]:
        encoded = self._tokenizer.apply_chat_template(
            [as_dict(message, parsed=True) for message in messages],
            tools=tools,
            add_generation_prompt=True,
            return_dict=True,
            enable_thinking=False,
        )
        return list(encoded["input_ids"])

    def _call_of(self, tool: Tool) -> tuple[int, ...]:
        """How a call of ``tool`` begins: all but its arguments."""
        text = f'<tool_call>\n{{"name": {json.dumps(tool.name)}, "arguments": {{'
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _count(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"]) + 8  # with what marks a message

    def _render(self, messages: Sequence[Message], **options: Any) -> str:
        text: str = self._tokenizer.apply_chat_template(
            [as_dict(message) for message in messages], tokenize=False, **options
        )
        return text

    def _renders(self, messages: Sequence[Message]) -> bool:
        from jinja2 import TemplateError

        try:
            return _MARK in self._render(messages)
        except TemplateError:
            return False

    def _knows_tools(self) -> bool:
        from jinja2 import TemplateError

        tool = tool_as_dict(Tool(_MARK, "a"))
        try:
            return _MARK in self._render([Message("user", "a")], tools=[tool])
        except TemplateError:
            return False


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens are the same from the beginning."""
    n = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        n += 1
    return n


def load_tokenizer(source: Path | str, gguf: str | None = None) -> Any:
    """The tokenizer in the folder ``source``, or of the repository of that name in the hub's cache; ``gguf`` names the
    file in the folder that holds it, where it is in such a one.

    Raises :class:`~pipelines.errors.ModelError` (``model_broken``).
    """
    import_transformers()
    from transformers import AutoTokenizer

    try:
        inside = {} if gguf is None else {"gguf_file": gguf}
        return AutoTokenizer.from_pretrained(str(source), local_files_only=True, **inside)
    except Exception as error:
        raise ModelError("model_broken", f"no tokenizer could be loaded from {source}: {error}") from error


def import_transformers() -> None:
    """Make transformers importable where a torchvision that does not fit the build of torch would keep it from it."""
    if "torchvision" in sys.modules:
        return
    try:
        import_module("torchvision")
    except (ImportError, RuntimeError, AttributeError, OSError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules["torchvision"] = None  # type: ignore[assignment]  # "there is none", as import understands it
