"""What the RTVI messages of a server look like, by Pipecat's own models too where it is installed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from functools import cache
from typing import Any

Json = dict[str, Any]

TEXT = {"text": str}
FIELDS: dict[str, dict[str, Any]] = {
    "bot-ready": {"version": str, "about": dict},
    "user-started-speaking": {},
    "user-stopped-speaking": {},
    "user-transcription": {"text": str, "final": bool, "timestamp": str, "user_id": str},
    "user-llm-text": TEXT,
    "bot-llm-started": {},
    "bot-llm-text": TEXT,
    "bot-llm-stopped": {},
    "bot-tts-started": {},
    "bot-tts-text": TEXT,
    "bot-tts-stopped": {},
    "bot-started-speaking": {},
    "bot-stopped-speaking": {},
    "bot-interrupted": {},
    "bot-transcription": TEXT,
    "bot-output": {"text": str, "aggregated_by": str, "segment_id": int, "will_be_spoken": bool, "spoken_status": str},
    "metrics": {"ttfb": list, "processing": list},
    "error": {"error": str, "fatal": bool},
    "error-response": {"error": str},
    "server-response": {"t": str, "d": dict},
    "server-message": {"type": str},
    "llm-function-call-started": {"function_name": str},
    "llm-function-call-in-progress": {"function_name": str, "tool_call_id": str, "arguments": dict},
    "llm-function-call-stopped": {"function_name": str, "tool_call_id": str, "cancelled": bool},
}
"""Kind → fields that clients read, and their types."""
ANSWERS = {"bot-ready", "error-response", "server-response"}
"""Kinds that name the message which they answer."""


def check(message: Json) -> None:
    """Raise ``AssertionError`` (or Pipecat's error) unless a client of Pipecat's would understand the message."""
    assert json.loads(json.dumps(message)) == message
    assert message["label"] == "rtvi-ai"
    kind = message["type"]
    assert kind in FIELDS, f"there is no message {kind!r}"
    assert ("id" in message) == (kind in ANSWERS), message
    data = message.get("data", {})
    for name, expected in FIELDS[kind].items():
        assert type(data.get(name)) is expected, f"{kind}: {name} must be a {expected.__name__}: {message}"
    if (model := _models().get(kind)) is not None:
        model(message)


@cache
def _models() -> dict[str, Callable[[Json], Any]]:
    """Pipecat's models by the kind of message; none where it is not installed."""
    try:
        models = importlib.import_module("pipecat.processors.frameworks.rtvi.models")
    except ImportError:
        return {}
    found = {}
    for value in vars(models).values():
        fields = getattr(value, "model_fields", {})
        if {"label", "type"} <= set(fields) and isinstance(fields["type"].default, str):
            found[fields["type"].default] = value.model_validate
    return found
