"""What the answer to a request may be, as a grammar for llama.cpp. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelines.interfaces.llm import ChatRequest, Tool

_MORE_CALLS = 3
"""Beside the first, in one answer."""
_TEXT = r"TEXT: /(<([^t]|t[^o])|[^<\s])(.|\n)*/"
"""An answer that does not begin as a call does."""
_SPACE = r"SPACE: /\s{1,2}/"
"""Bounded, for a model that would rather not say what it has to would go on with spaces for ever."""
_PLAIN = {"type", "properties", "required", "title", "description", "$defs"}
"""Fields of a schema of an object that do not say what else may be in it."""


def answer_grammar(request: ChatRequest) -> str:
    """Text, or what ``request.response_format`` says, or calls that keep to the schemas of their arguments.

    Only calls where one has to be made. In the notation of llguidance (https://github.com/guidance-ai/llguidance),
    which the package's llama.cpp is built with: the model's own template is not asked, for most small ones know no
    tools.
    """
    rules, answers = list[str](), list[str]()
    if not request.must_call and request.response_format is not None:
        answers.append("json")
        rules.append(f"json: %json {_told(request.response_format.schema or {'type': 'object'}, lenient=False)}")
    elif not request.must_call:
        answers.append("SPACE? TEXT")
        rules.append(_TEXT)
    if request.tools:
        several = request.parallel_tool_calls and not isinstance(request.tool_choice, Tool)
        answers.append(f"call (SPACE? call){{0,{_MORE_CALLS}}}" if several else "call")
        rules.append('call: "<tool_call>" SPACE? body SPACE? "</tool_call>"')
        rules.append(f"body: %json {_told(calls_schema(request), lenient=True)}")
    return "\n".join(("%llguidance {}", f"start: {' | '.join(answers)}", *rules, _SPACE, ""))


def calls_schema(request: ChatRequest) -> dict[str, Any]:
    """JSON schema of one call of a tool that may be called: an object with its name and its arguments."""
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, "arguments": _arguments(tool)},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for tool in request.callable
        ]
    }


def _arguments(tool: Tool) -> dict[str, Any]:
    """Its own schema; where that names the arguments and does not speak of others, there are no others."""
    schema = dict(tool.parameters)
    return {**schema, "additionalProperties": False} if schema.keys() <= _PLAIN and "properties" in schema else schema


def _told(schema: Mapping[str, Any], *, lenient: bool) -> str:
    """``lenient``: what the library does not know of a schema may be passed over."""
    return json.dumps({**schema, "x-guidance": {"whitespace_flexible": False, "lenient": lenient}})
