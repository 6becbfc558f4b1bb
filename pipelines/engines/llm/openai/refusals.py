"""What is learned when a model server refuses a request: for all requests, or for that one alone. Pure.

What a server refuses (with a status of 4xx, or 5xx where it does not think it is the client's fault) is mended by the
first rule that knows how. One engine serves everybody: where it may be the content of a request that was refused (the
schema of a tool, a broken picture), others go by it only if a plain request of the kind is refused, too.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.engines.llm.openai.request import LEAST_ANSWER, PROMPT_SHARE, Abilities, exceeds, size
from pipelines.interfaces.llm import ChatRequest, Image, Message, Tool, ToolCall

REFUSALS = (400, 404, 405, 413, 415, 422, 500, 501)
_SHRINK = 0.6
"""How much of prompt and answer is kept when a server finds them too long and does not say how much it takes."""
_FEWEST_TOKENS = 128
"""A server that finds a history of so few tokens too long means something else."""
_TOOL = Tool("time", "Tells the time.")
_GREY = Image(
    base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAKUlEQVR42u3MQREAAAwCIKMb3RD77SAA6VEEAoFAIBAIBAKBQCAQfA8G320AeXC6"
        "efoAAAAASUVORK5CYII="
    ),
    "image/png",
)
"""64 x 64 pixels of one shade."""
_HI = Message("user", "Hi")
_ASKED = (Message("assistant", "", (ToolCall("call_1", "time", "{}"),)), Message("tool", "noon", tool_call_id="call_1"))
PLAIN: Mapping[str, ChatRequest] = {
    "tools": ChatRequest((_HI,), tools=(_TOOL,), max_tokens=16),
    "tool_roles": ChatRequest((_HI, *_ASKED, Message("user", "Thanks.")), max_tokens=16),
    "images": ChatRequest((Message("user", "Hi", images=(_GREY,)),), max_tokens=16),
    "system": ChatRequest((Message("system", "Be brief."), _HI), max_tokens=16),
    "any_order": ChatRequest((_HI, Message("user", "Are you there?")), max_tokens=16),
}
"""By what a request may contain: one in which nothing is wrong with it."""


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
class Lesson:
    """What to do otherwise after a refusal."""

    words: str
    changes: Mapping[str, Any]
    """Fields of :class:`~pipelines.engines.llm.openai.request.Abilities` for all requests from now on."""
    passing: Mapping[str, Any] = field(default_factory=dict)
    """The same for this request alone."""
    about: str | None = None
    """What of the request may be at fault rather than the model, by its name in :data:`PLAIN`; ``None``: nothing."""

    def applied(self, known: Abilities) -> Abilities:
        """What this request is asked by next."""
        return replace(known, **self.changes, **self.passing)

    def once(self) -> Lesson:
        """The same for this request alone."""
        return Lesson(f"{self.words} this time", {}, {**self.changes, **self.passing})


def after(known: Abilities, refusal: Refusal) -> Lesson | None:
    """What to do after ``refusal``; ``None``: another try would be refused, too."""
    if refusal.status not in REFUSALS:
        return None
    refused = {name: value for name, value in refusal.payload.items() if name != "lora"}
    for lesson in _lessons(known, refusal):
        asked = lesson.applied(known)
        if asked.payload(refusal.request, refused["model"], usage="stream_options" in refused) != refused:
            return lesson
    return None


def _lessons(known: Abilities, refusal: Refusal) -> Iterator[Lesson]:
    """Those that fit its words, then what can be guessed."""
    mends = [mend for pattern, mend in _RULES if pattern.search(refusal.words)]
    if refusal.status != 404:
        mends.append(_without_images)
    if refusal.status in (400, 422):
        mends += [_without_offered, _without_extras]
    yield from filter(None, (mend(known, refusal) for mend in mends))


# ------------------------------------------------------------------------------------------------------ the rules


def _another_limit(known: Abilities, refusal: Refusal) -> Lesson | None:
    most, is_full = _MOST.search(refusal.words), _CONTEXT.search(refusal.words)
    if most and not is_full and 0 < int(most[1]) < known.tokens(refusal.request, known.messages(refusal.request)):
        return Lesson(f"it gives at most {most[1]} tokens", {"limit": int(most[1]), "thinking_room": 0})
    if known.limit_name is None:
        return None
    if known.limit_name == "max_tokens":
        lesson = Lesson("the limit is called max_completion_tokens", {"limit_name": "max_completion_tokens"})
    else:
        lesson = Lesson("no limit of tokens is set", {"limit_name": None})
    return lesson.once() if _TOO_MUCH.search(refusal.words) else lesson


def _shorter(known: Abilities, refusal: Refusal) -> Lesson | None:
    """What the server says that it takes is kept, and each request fitted to that.

    The server's tokens are not ours, and of pictures we know none: where what it says is more than what it got, or it
    says nothing of a request with pictures, that is a matter of this request, and others are not cut for it.
    """
    messages = known.messages(refusal.request)
    prompt, answer = size(messages), known.tokens(refusal.request, messages)
    told = int(found[1]) if (found := _CONTEXT.search(refusal.words)) else 0
    told = told if told >= _FEWEST_TOKENS else 0
    if told and (known.context is None or told < known.context) and exceeds(told, answer, prompt):
        return Lesson(f"prompt and answer are kept within {told} tokens", {"context": told})
    changes = {"context": min(told, known.context or told)} if told else {}
    left = told - int(found[1]) if told and (found := _TAKEN.search(refusal.words)) else 0
    if told // LEAST_ANSWER <= left < answer and left > 0:
        room = left + math.ceil(prompt / PROMPT_SHARE)
        return Lesson(f"the answer is kept within {left} tokens this time", changes, {"narrowed": room})
    if int(_SHRINK * prompt) < _FEWEST_TOKENS:
        return None
    room = int(_SHRINK * (prompt + answer))
    words = f"prompt and answer are kept within {room} tokens"
    if told or any(message.images for message in refusal.request.messages):
        return Lesson(f"{words} this time", changes, {"narrowed": room})
    return Lesson(words, {"context": room})


def _without_usage(known: Abilities, refusal: Refusal) -> Lesson | None:
    return Lesson("what an answer costs is not asked for", {"tells_usage": False})


def _without_temperature(known: Abilities, refusal: Refusal) -> Lesson | None:
    return Lesson("the temperature is left to it", {"temperature": None})


def _call_as_json(known: Abilities, refusal: Refusal) -> Lesson | None:
    if "tool_choice" not in refusal.payload:
        return None
    return Lesson("tools that must be called are asked for as JSON", {"choice": "schema"})


def _one_call_unsaid(known: Abilities, refusal: Refusal) -> Lesson | None:
    return Lesson("that it shall call one tool is not said", {"parallel": False})


def _object_as_schema(known: Abilities, refusal: Refusal) -> Lesson | None:
    if refusal.payload.get("response_format") != {"type": "json_object"}:
        return None
    return Lesson("objects are asked for by a schema", {"objects": False})


def _without_tools(known: Abilities, refusal: Refusal) -> Lesson | None:
    if "tools" in refusal.payload:
        return Lesson(
            "tools are left out", {"tools": False}, about=None if _NO_TOOLS.search(refusal.words) else "tools"
        )
    if known.tool_roles and any(message.tool_calls or message.role == "tool" for message in refusal.request.messages):
        return Lesson("calls of tools are told in words", {"tool_roles": False}, about="tool_roles")
    return None


def _without_images(known: Abilities, refusal: Refusal) -> Lesson | None:
    if known.images_known or not known.images or not any(message.images for message in refusal.request.messages):
        return None
    about = None if _NO_IMAGES.search(refusal.words) else "images"
    return Lesson("pictures are left out", {"images": False}, about=about)


def _without_system(known: Abilities, refusal: Refusal) -> Lesson | None:
    if not known.system or not any(message.role == "system" for message in refusal.request.messages):
        return None
    return Lesson("instructions go with what the user says first", {"system": False}, about="system")


def _in_turns(known: Abilities, refusal: Refusal) -> Lesson | None:
    if known.any_order:
        return Lesson("messages take turns", {"any_order": False}, about="any_order")
    return _without_system(known, refusal)


def _in_one_piece(known: Abilities, refusal: Refusal) -> Lesson | None:
    return Lesson("answers come in one piece", {"streams": False}) if known.streams else None


def _without_offered(known: Abilities, refusal: Refusal) -> Lesson | None:
    """The server does not say what it refuses: tools are what it knows least often."""
    if not {"tools", "grammar"} & refusal.payload.keys():
        return None
    return Lesson("tools are left out", {"tools": False}, about="tools")


def _without_extras(known: Abilities, refusal: Refusal) -> Lesson | None:
    """As before: what it need not know is left out."""
    return Lesson("all that is optional is left out", {"tells_usage": False, "temperature": None})


Mend = Callable[[Abilities, Refusal], Lesson | None]


def _rule(words: str, mend: Mend) -> tuple[re.Pattern[str], Mend]:
    return re.compile(words, re.IGNORECASE), mend


_MOST = re.compile(
    r"(?:at most|less than or equal to|no more than|not exceed|maximum(?: value| allowed)?(?: is| of)?|up to|<=)"
    r"[\s`'\":]{0,3}(\d{1,7})",
    re.IGNORECASE,
)
_CONTEXT = re.compile(r"(?:context (?:length|window|size)|n_ctx|maximum)\D{0,30}?(\d{3,7})", re.IGNORECASE)
_TAKEN = re.compile(r"(\d{1,7}) (?:(?:input|prompt) tokens|in the (?:messages|prompt))", re.IGNORECASE)
"""How many tokens the prompt has as the server counts them."""
_TOO_MUCH = re.compile(r"too (large|long|high|big|many|much)|exceed|greater|larger|less than|at most", re.IGNORECASE)
_NO_TOOLS = re.compile(
    r"not support (tools|tool use|tool calling|function calling)|support tool use|enable-auto-tool-choice",
    re.IGNORECASE,
)
_NO_IMAGES = re.compile(
    r"image input is not supported|not support (image input|images|vision)\b|not a (multi-?modal|vision)", re.IGNORECASE
)
"""So a server says that its model takes none at all."""
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
