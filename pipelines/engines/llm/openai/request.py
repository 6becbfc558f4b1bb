"""What a model server is asked, and what is learned when it refuses that. Pure.

The protocol has grown for years, and every server takes another part of it: ``max_tokens`` or
``max_completion_tokens``, a temperature or only the default one, tools, pictures, a system message, messages in any
order or strictly by turns, a history as long as the model's context. What a server refuses (with a status of 4xx, or
5xx where it does not think it is the client's fault) is mended by the first rule that knows how.
"""

from __future__ import annotations

import base64
import math
import re
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


_REFUSALS = (400, 404, 405, 413, 415, 422, 500, 501)
_SHRINK = 0.6
"""How much of prompt and answer is kept when a server finds them too long and does not say how much it takes."""
_FEWEST_TOKENS = 128
"""A server that finds a history of so few tokens too long means something else."""
_PROMPT_SHARE = 0.9
"""How much of the room for a prompt is used: the server's tokens are not ours."""
_LEAST_ANSWER = 4
"""An answer keeps one part of so many of the context, unless it wants less: before it gets shorter than that, the
oldest messages are left out."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a server said to a request that it does not take."""

    status: int
    words: str
    """Its message, with the field that it names."""
    request: ChatRequest
    payload: dict[str, Any]
    """The body that was refused."""


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

    def remembered(self) -> Abilities:
        """What of this goes for other requests, too."""
        return replace(self, narrowed=None)

    def tokens(self, request: ChatRequest, messages: Sequence[Message]) -> int:
        """How many tokens the model may answer with to ``messages``."""
        room, wanted = self._context(), self._wanted(request)
        return wanted if room is None else _answer_room(room, wanted, _size(messages))

    def _wanted(self, request: ChatRequest) -> int:
        wanted = request.max_tokens + self.thinking_room
        return wanted if self.limit is None else min(wanted, self.limit)

    def _context(self) -> int | None:
        return min((known for known in (self.context, self.narrowed) if known is not None), default=None)

    def payload(self, request: ChatRequest, model: str, *, usage: bool = False) -> dict[str, Any]:
        """The body of the request; ``usage``: the cost shall be told."""
        messages = self._messages(request)
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

    def _messages(self, request: ChatRequest) -> list[Message]:
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

    def after(self, refusal: Refusal) -> tuple[Abilities, str] | None:
        """What to go by after ``refusal``, and in words what that is; ``None``: another try would be refused, too."""
        if refusal.status not in _REFUSALS:
            return None
        for pattern, mend in _RULES:
            if pattern.search(refusal.words) and (mended := mend(self, refusal)):
                return mended
        if refusal.status != 404 and (mended := _without_images(self, refusal)):
            return mended
        return _without_extras(self, refusal) if refusal.status in (400, 422) else None

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
    return int(_PROMPT_SHARE * (context - _kept(context, wanted)))


def _answer_room(context: int, wanted: int, prompt: int) -> int:
    """Tokens that an answer may have, of those that are ``wanted``, behind a prompt of ``prompt`` tokens."""
    return max(_kept(context, wanted), min(wanted, context - math.ceil(prompt / _PROMPT_SHARE)))


def _exceeds(context: int, wanted: int, prompt: int) -> bool:
    """Whether both together are more than the context by our count; if not, the server counts otherwise."""
    return prompt / _PROMPT_SHARE + wanted > context


def _kept(context: int, wanted: int) -> int:
    return min(wanted, context // _LEAST_ANSWER)


def _size(messages: Sequence[Message]) -> int:
    return sum(approximate_tokens(message.content) for message in messages)


# ------------------------------------------------------------------------------------------------------ the rules

_Mended = tuple[Abilities, str] | None


def _another_limit(known: Abilities, refusal: Refusal) -> _Mended:
    most = _MOST.search(refusal.words)
    if most and 0 < int(most[1]) < known.tokens(refusal.request, known._messages(refusal.request)):
        return replace(known, limit=int(most[1]), thinking_room=0), f"it gives at most {most[1]} tokens"
    if known.limit_name == "max_tokens":
        return replace(known, limit_name="max_completion_tokens"), "the limit is called max_completion_tokens"
    return (replace(known, limit_name=None), "no limit of tokens is set") if known.limit_name else None


def _shorter(known: Abilities, refusal: Refusal) -> _Mended:
    """What the server says that it takes is kept, and each request fitted to that.

    The server's tokens are not ours, and of pictures we know none: where what it says is more than what it got, or it
    says nothing of a request with pictures, that is a matter of this request, and others are not cut for it.
    """
    messages = known._messages(refusal.request)
    prompt, answer = _size(messages), known.tokens(refusal.request, messages)
    told = int(found[1]) if (found := _CONTEXT.search(refusal.words)) else 0
    is_new = told >= _FEWEST_TOKENS and (known.context is None or told < known.context)
    if is_new and _exceeds(told, answer, prompt):
        return replace(known, context=told), f"prompt and answer are kept within {told} tokens"
    if int(_SHRINK * prompt) < _FEWEST_TOKENS:
        return None
    known = replace(known, context=told) if is_new else known
    room = int(_SHRINK * (prompt + answer))
    words = f"prompt and answer are kept within {room} tokens"
    if told or any(message.images for message in refusal.request.messages):
        return replace(known, narrowed=room), f"{words} this time"
    return replace(known, context=room), words


def _without_usage(known: Abilities, refusal: Refusal) -> _Mended:
    if "stream_options" not in refusal.payload:
        return None
    return replace(known, tells_usage=False), "what an answer costs is not asked for"


def _without_temperature(known: Abilities, refusal: Refusal) -> _Mended:
    if known.temperature is None:
        return None
    return replace(known, temperature=None), "the temperature is left to it"


def _call_as_json(known: Abilities, refusal: Refusal) -> _Mended:
    if "tool_choice" not in refusal.payload:
        return None
    return replace(known, choice="schema"), "tools that must be called are asked for as JSON"


def _one_call_unsaid(known: Abilities, refusal: Refusal) -> _Mended:
    if "parallel_tool_calls" not in refusal.payload:
        return None
    return replace(known, parallel=False), "that it shall call one tool is not said"


def _object_as_schema(known: Abilities, refusal: Refusal) -> _Mended:
    if refusal.payload.get("response_format") != {"type": "json_object"}:
        return None
    return replace(known, objects=False), "objects are asked for by a schema"


def _without_tools(known: Abilities, refusal: Refusal) -> _Mended:
    if "tools" in refusal.payload:
        return replace(known, tools=False), "tools are left out"
    if known.tool_roles and any(message.tool_calls or message.role == "tool" for message in refusal.request.messages):
        return replace(known, tool_roles=False), "calls of tools are told in words"
    return None


def _without_images(known: Abilities, refusal: Refusal) -> _Mended:
    if known.images_known or not known.images or not any(message.images for message in refusal.request.messages):
        return None
    return replace(known, images=False), "pictures are left out"


def _without_system(known: Abilities, refusal: Refusal) -> _Mended:
    if not known.system or not any(message.role == "system" for message in refusal.request.messages):
        return None
    return replace(known, system=False), "instructions go with what the user says first"


def _in_turns(known: Abilities, refusal: Refusal) -> _Mended:
    if known.any_order:
        return replace(known, any_order=False), "messages take turns"
    return _without_system(known, refusal)


def _in_one_piece(known: Abilities, refusal: Refusal) -> _Mended:
    return (replace(known, streams=False), "answers come in one piece") if known.streams else None


def _without_extras(known: Abilities, refusal: Refusal) -> _Mended:
    """The server does not say what it refuses: what it need not know is left out."""
    if not {"stream_options", "tools", "grammar"} & refusal.payload.keys() and known.temperature is None:
        return None
    mended = replace(known, tells_usage=False, temperature=None, tools=False)
    return None if mended == known else (mended, "all that is optional is left out")


def _rule(words: str, mend: Callable[[Abilities, Refusal], _Mended]) -> tuple[re.Pattern[str], Callable[..., _Mended]]:
    return re.compile(words, re.IGNORECASE), mend


_MOST = re.compile(
    r"(?:at most|less than or equal to|no more than|not exceed|maximum(?: value| allowed)?(?: is| of)?|up to|<=)"
    r"[\s`'\":]{0,3}(\d{1,7})",
    re.IGNORECASE,
)
_CONTEXT = re.compile(r"(?:context (?:length|window|size)|n_ctx|maximum)\D{0,30}?(\d{3,7})", re.IGNORECASE)
_RULES = (
    _rule(
        r"context (length|window|size)|maximum context|n_ctx|prompt is too long|too many (input )?tokens"
        r"|input is too (long|large)|exceeds? the (available )?context|request (entity )?too large",
        _shorter,
    ),
    _rule(r"max_(completion_|new_|output_)?tokens", _another_limit),
    _rule(r"stream_options|include_usage", _without_usage),
    _rule(r"temperature", _without_temperature),
    _rule(r"image|vision|multi-?modal|mmproj|content\b.{0,40}\bstr|\bstr.{0,40}\bcontent", _without_images),
    _rule(r"parallel_tool_calls", _one_call_unsaid),
    _rule(r"tool_?[ _-]?choice", _call_as_json),
    _rule(r"response_?format|json_?(object|schema)|structured", _object_as_schema),
    _rule(r"\btool|function", _without_tools),
    _rule(r"alternat|must be user|first message|(start|begin)s? with (an? |the )?(user|system)", _in_turns),
    _rule(r"\bsystem\b|developer (role|message|instruction)", _without_system),
    _rule(r"\bstream(ing|ed)?\b", _in_one_piece),
)
"""What servers complain of and what is done about it; the first that fits, and has not been done yet, is taken."""
