"""What a model server is asked, as far as it is known what it takes. Pure.

The protocol has grown for years, and every server takes another part of it: ``max_tokens`` or
``max_completion_tokens``, a temperature or only the default one, tools, pictures, a system message, messages in any
order or strictly by turns, a history as long as the model's context. What is learned when one refuses a request is in
:mod:`~pipelines.engines.llm.openai.refusals`.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipelines.engines.llm.grammar import calls_schema
from pipelines.engines.llm.messages import (
    UNSEEN,
    alternating,
    as_dict,
    in_system,
    system_in_user,
    tool_as_dict,
    tools_in_words,
    with_surroundings,
    without_tool_roles,
)
from pipelines.engines.llm.openai.options import THINKING_ROOM, ChatOptions, known_to_see
from pipelines.interfaces.llm import ChatRequest, Image, JsonFormat, Message, Tool
from pipelines.voice.context import approximate_tokens, fit


def as_content(message: Message, seen: bool) -> str | list[dict[str, Any]]:
    """The content of ``message``: text alone, or parts with its pictures; ``seen``: whether the model takes them."""
    if not message.images:
        return message.content
    if not seen:
        return f"{message.content}\n{UNSEEN}".strip()
    text = [{"type": "text", "text": message.content}] if message.content else []
    return [*text, *({"type": "image_url", "image_url": {"url": data_uri(image)}} for image in message.images)]


def data_uri(image: Image) -> str:
    """``data:image/jpeg;base64,…``."""
    return f"data:{image.kind};base64,{base64.b64encode(image.data).decode('ascii')}"


PROMPT_SHARE = 0.9
"""How much of the room for a prompt is used: the server's tokens are not ours."""
LEAST_ANSWER = 4
"""An answer keeps one part of so many of the context, unless it wants less: before it gets shorter than that, the
oldest messages are left out."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What one model of a server takes, as far as is known. Each default is what most take."""

    images: bool = False
    images_known: bool = False
    """Whether that was set by hand."""
    tools: bool = True
    grammar: Callable[[ChatRequest], str] | None = None
    """As in the options."""
    choice: Literal["native", "schema"] = "native"
    """How it is made to call a tool: by ``tool_choice``, or held to a schema that only calls keep to."""
    parallel: bool = True
    """Whether it can be told not to call several tools at once; if not, whoever asks takes the first."""
    objects: bool = True
    """Whether it knows ``json_object`` beside ``json_schema``."""
    tool_roles: bool = True
    """Whether calls of tools and their results are messages of their own kind."""
    system: bool = True
    any_order: bool = True
    """Whether messages of one role may follow each other."""
    streams: bool = True
    tells_usage: bool = True
    temperature: float | None = None
    limit_name: str | None = "max_tokens"
    """What the limit of tokens is called; ``None``: there is none."""
    limit: int | None = None
    thinking_room: int = 0
    """Tokens beside those of the answer."""
    context: int | None = None
    """Tokens that prompt and answer may have together; ``None``: as many as they have."""
    narrowed: int | None = None
    """The same for one request alone, whose tokens the server counts otherwise."""

    @staticmethod
    def of(model: str, options: ChatOptions) -> Abilities:
        """What is known of ``model`` before it has been asked anything."""
        images = known_to_see(model) if options.images is None else options.images
        return Abilities(
            images=images,
            images_known=options.images is not None,
            temperature=options.temperature,
            limit=options.max_tokens,
            grammar=options.grammar,
            tool_roles=options.grammar is None,
        )

    def tokens(self, request: ChatRequest, messages: Sequence[Message]) -> int:
        """How many tokens the model may answer with to ``messages``."""
        room, wanted = self._context(), self._wanted(request)
        return wanted if room is None else _answer_room(room, wanted, size(messages))

    def _wanted(self, request: ChatRequest) -> int:
        wanted = request.max_tokens + self.thinking_room
        return wanted if self.limit is None else min(wanted, self.limit)

    def _context(self) -> int | None:
        return min((known for known in (self.context, self.narrowed) if known is not None), default=None)

    def payload(self, request: ChatRequest, model: str, *, usage: bool = False) -> dict[str, Any]:
        """The body of the request; ``usage``: the cost shall be told."""
        messages = self.messages(request)
        payload: dict[str, Any] = {
            "model": model,
            "messages": [{**as_dict(message), "content": as_content(message, self.images)} for message in messages],
            "stream": self.streams,
        }
        if self.limit_name is not None:
            payload[self.limit_name] = self.tokens(request, messages)
        payload |= self._held_to(request if self.tools else replace(request, tools=()))
        sampling = {"temperature": self.temperature if request.temperature is None else request.temperature}
        sampling |= {"top_p": request.top_p, "seed": request.seed}
        payload |= {name: value for name, value in sampling.items() if value is not None}
        if request.top_logprobs is not None:
            payload |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        if usage and self.tells_usage and self.streams:
            payload["stream_options"] = {"include_usage": True}
        return payload

    @staticmethod
    def lora(request: ChatRequest, options: ChatOptions) -> dict[str, Any]:
        """How strongly each adapter of the server is applied.

        That is said of all of them, also in requests without any: llama.cpp takes what it read with an adapter for
        read without one where nothing is said (seen with xllamacpp 2026.10).
        """
        if not options.adapters:
            return {}
        scales = {number: 0.0 for shares in options.adapters.values() for number, _ in shares}
        scales = {**dict.fromkeys(options.always, 1.0), **scales}
        for name, scale in request.adapters:
            for number, share in options.adapters.get(name, ()):
                scales[number] = scales.get(number, 0.0) + scale * share
        return {"lora": [{"id": number, "scale": scale} for number, scale in scales.items()]}

    def _held_to(self, request: ChatRequest) -> dict[str, Any]:
        """What an answer may be: the tools, whether one has to be called, whether the text is JSON."""
        if self.grammar is not None:
            return {"grammar": self.grammar(request)} if request.tools or request.response_format is not None else {}
        if request.must_call and self.choice == "schema":
            return {"response_format": self._format(JsonFormat(calls_schema(request), "call"))}
        held: dict[str, Any] = {}
        if request.tools:
            held["tools"] = [tool_as_dict(tool) for tool in request.tools]
            if not request.parallel_tool_calls and self.parallel:
                held["parallel_tool_calls"] = False
        if request.must_call:
            choice = request.tool_choice
            named = {"type": "function", "function": {"name": choice.name}} if isinstance(choice, Tool) else choice
            held["tool_choice"] = named
        elif request.response_format is not None:
            held["response_format"] = self._format(request.response_format)
        return held

    def _format(self, wanted: JsonFormat) -> dict[str, Any]:
        if wanted.schema is None and self.objects:
            return {"type": "json_object"}
        told = {"name": wanted.name, "schema": dict(wanted.schema or {"type": "object"})}
        told |= {"description": wanted.description} if wanted.description else {}
        return {"type": "json_schema", "json_schema": told | ({"strict": True} if wanted.strict else {})}

    def in_words(self, request: ChatRequest) -> bool:
        """Whether the model is told its tools in words, and calls them in its text."""
        schema = request.must_call and self.choice == "schema"
        return bool(request.tools) and self.tools and (self.grammar is not None or schema)

    def messages(self, request: ChatRequest) -> list[Message]:
        """The messages that are sent: as many as there is room for, in the form that the model takes."""
        if (context := self._context()) is not None:
            room = _prompt_room(context, self._wanted(request))
            request = replace(request, messages=tuple(fit(request.messages, room)))
        messages = with_surroundings(request)
        if not self.tool_roles:
            messages = [without_tool_roles(message) for message in messages]
        if self.in_words(request):
            messages = in_system(messages, tools_in_words(request.tools))
        if not self.system:
            messages = system_in_user(messages)
        return messages if self.any_order else alternating(messages)

    def gives_up(self, request: ChatRequest) -> bool:
        """Whether it would leave out what ``request`` insists on."""
        return request.must_call and not self.tools

    def after_thoughts_only(self) -> Abilities | None:
        """What to go by after all tokens were spent on thoughts; ``None``: more would not help."""
        if self.thinking_room or self.limit_name is None or self.limit is not None:
            return None
        return replace(self, thinking_room=THINKING_ROOM)


# ------------------------------------------------------------------------------- the room for prompt and answer


def _prompt_room(context: int, wanted: int) -> int:
    """Tokens that messages may have beside an answer of up to ``wanted`` tokens."""
    return int(PROMPT_SHARE * (context - _kept(context, wanted)))


def _answer_room(context: int, wanted: int, prompt: int) -> int:
    """Tokens that an answer may have, of those that are ``wanted``, behind a prompt of ``prompt`` tokens."""
    return max(_kept(context, wanted), min(wanted, context - math.ceil(prompt / PROMPT_SHARE)))


def exceeds(context: int, wanted: int, prompt: int) -> bool:
    """Whether both together are more than the context by our count; if not, the server counts otherwise."""
    return prompt / PROMPT_SHARE + wanted > context


def _kept(context: int, wanted: int) -> int:
    return min(wanted, context // LEAST_ANSWER)


def size(messages: Sequence[Message]) -> int:
    return sum(approximate_tokens(message.content) for message in messages)
