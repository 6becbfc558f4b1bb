"""The messages of a request as servers and chat templates want them. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from pipelines.interfaces.llm import ChatRequest, Message, Tool

UNSEEN = "[A picture was shown here, but you cannot see pictures: you only know what is said of the camera.]"
"""What a model without eyes is told instead."""
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_MONTHS = "January February March April May June July August September October November December".split()


def clock(now: datetime) -> str:
    """The time of day as it is read aloud: ``2:07 p.m.``"""
    return f"{now.hour % 12 or 12}:{now.minute:02} {'a.m.' if now.hour < 12 else 'p.m.'}"


def time_words(now: datetime) -> str:
    """``2:07 p.m. on Saturday, November 21, 2026``, whatever the locale."""
    return f"{clock(now)} on {_DAYS[now.weekday()]}, {_MONTHS[now.month - 1]} {now.day}, {now.year}"


def with_surroundings(request: ChatRequest) -> list[Message]:
    """The messages with what the camera shows and what time it is in the last one of the user.

    All before it stays as it was in the turn before, so a prompt cache holds; a system message at the end would do the
    same, but the templates of many models refuse it.
    """
    messages = list(request.messages)
    told = (("Camera", request.scene), ("Time", request.time))
    line = "\n".join(f"[{kind}: {' '.join(text.split())}]" for kind, text in told if text)
    if not line:
        return messages
    for n in reversed(range(len(messages))):
        if messages[n].role == "user":
            messages[n] = replace(messages[n], content=f"{messages[n].content}\n{line}")
            return messages
    return [*messages, Message("user", line)]


def as_dict(message: Message, *, parsed: bool = False) -> dict[str, Any]:
    """``message`` in the form of the OpenAI protocol; ``parsed`` gives arguments as objects, as templates want them.

    Pictures are left out with a word about it; :mod:`pipelines.engines.llm.openai.request` sends them.
    """
    content = f"{message.content}\n{UNSEEN}".strip() if message.images else message.content
    shown: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls:
        shown["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.loads(call.arguments) if parsed else call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        shown["tool_call_id"] = message.tool_call_id
    return shown


def tool_as_dict(tool: Tool) -> dict[str, Any]:
    """``tool`` in the form of the OpenAI protocol, which is also that of chat templates."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def without_tool_roles(message: Message) -> Message:
    """``message`` for a template that knows no tools: calls and results as tagged text."""
    if message.role == "tool":
        return Message("user", f"<tool_response>\n{message.content}\n</tool_response>")
    if not message.tool_calls:
        return message
    calls = (
        f'<tool_call>\n{{"name": {json.dumps(c.name)}, "arguments": {c.arguments}}}\n</tool_call>'
        for c in message.tool_calls
    )
    return Message(message.role, "\n".join([message.content, *calls]).strip())


def tools_in_words(tools: tuple[Tool, ...]) -> str:
    """How to call ``tools``, for the system prompt of a model whose template knows none (the Hermes convention)."""
    if not tools:
        return ""
    signatures = "\n".join(json.dumps(tool_as_dict(tool), ensure_ascii=False) for tool in tools)
    return (
        "You may call these functions:\n<tools>\n"
        f"{signatures}\n</tools>\n"
        "To call one, answer with nothing but\n"
        '<tool_call>\n{"name": <name>, "arguments": <object>}\n</tool_call>'
    )


def in_system(messages: Sequence[Message], text: str) -> list[Message]:
    """``messages`` with ``text`` at the end of the system message."""
    if messages and messages[0].role == "system":
        return [replace(messages[0], content=f"{messages[0].content}\n\n{text}"), *messages[1:]]
    return [Message("system", text), *messages]


def system_in_user(messages: Sequence[Message]) -> list[Message]:
    """``messages`` for a model that takes no system message: it goes in front of what the user says first."""
    if not messages or messages[0].role != "system":
        return list(messages)
    system, *rest = messages
    if rest and rest[0].role == "user":
        return [replace(rest[0], content=f"{system.content}\n\n{rest[0].content}"), *rest[1:]]
    return [Message("user", system.content), *rest]


def alternating(messages: Sequence[Message]) -> list[Message]:
    """``messages`` for a model that insists on turns: neighbours of one role become one message, the user is first."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1].role == message.role and not (message.tool_calls or message.role == "tool"):
            before = merged.pop()
            text = f"{before.content}\n{message.content}".strip()
            message = replace(before, content=text, images=before.images + message.images)
        elif message.role == "assistant" and all(one.role == "system" for one in merged):
            merged.append(Message("user", "Hello."))
        merged.append(message)
    return merged
