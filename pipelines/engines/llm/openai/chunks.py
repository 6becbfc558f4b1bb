"""One chunk of a chat completion → what it adds to the answer, wherever servers put it. Pure.

The form is that of https://platform.openai.com/docs/api-reference/chat-streaming; what differs between servers is in
:func:`read_chunk` and :func:`error_message`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pipelines.errors import LLMError
from pipelines.interfaces.llm import Usage
from pipelines.text import mended

_LONGEST_ERROR = 300
"""Characters of a server's error message that are passed on."""
_SPOKEN_PARTS = ("text", "output_text", "refusal")
"""Types of parts of a message that are meant to be read; ``thinking`` and ``reasoning`` are not."""
_NO_TOKENS = ("role", "name", "id", "index", "type", "object")
"""Fields of a delta that the model did not make."""
_NO_REASONS = ("", "null", "none")
"""What some servers send as ``finish_reason`` of an answer that goes on."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one event of an answer brings."""

    text: str = ""
    """To be read, thoughts in tags included."""
    calls: Any = None
    """Pieces of tool calls."""
    usage: Usage | None = None
    finish: str = ""
    """Why the answer ends, in the server's word (``stop``, ``length``, …); empty as long as it goes on."""
    logprobs: tuple[dict[str, Any], ...] = ()
    """How likely its tokens were, as the server tells it."""
    alive: bool = False
    """Whether the model has made something, be it a thought."""


def read_json(data: bytes, name: str) -> dict[str, Any]:
    """The object that ``name`` sent; bytes that are no UTF-8 are replaced.

    Raises :class:`~pipelines.errors.LLMError` (``llm_bad_stream``).
    """
    try:
        value = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        shown = short(data.decode("utf-8", "replace"))
        told = f"{name} sent something that is not JSON"
        raise LLMError("llm_bad_stream", f"{told}: {shown}", told) from error
    if not isinstance(value, dict):
        raise LLMError("llm_bad_stream", f"{name} sent JSON that is not an object")
    return value


def read_chunk(value: dict[str, Any], *, begun: bool = False) -> Chunk:
    """The chunk that ``value`` is; an empty one where there is nothing of use.

    ``begun``: there was a chunk with something in it before; some servers repeat the whole answer at its end.
    """
    choice = _first(value.get("choices"))
    delta = choice.get("delta")
    if not begun and (not isinstance(delta, dict) or not _made(delta)):
        delta = choice.get("message")  # of an answer that was not streamed
    if not isinstance(delta, dict):
        delta = (
            {} if begun and "message" in choice else {"content": choice.get("text")}
        )  # of servers that speak the older protocol
    reason = choice.get("finish_reason")
    return Chunk(
        text=_text(delta.get("content")) + _text(delta.get("refusal")),
        calls=delta.get("tool_calls"),
        usage=_usage(value.get("usage")),
        finish=reason if isinstance(reason, str) and reason.lower() not in _NO_REASONS else "",
        logprobs=_logprobs(choice.get("logprobs")),
        alive=_made(delta),
    )


def error_in(value: dict[str, Any], kind: str) -> str | None:
    """The message of the error that an event of ``kind`` tells in the middle of an answer; ``None`` if it is none."""
    told = value.get("error") or kind == "error" or value.get("object") == "error" or value.get("type") == "error"
    if not told and ("choices" in value or not (value.get("detail") or value.get("code"))):
        return None
    return error_message(value) or "unknown error"


def error_message(body: Any) -> str:
    """The message in a server's error (servers differ in where they put it), on one line; empty when there is none."""
    if not isinstance(body, dict):
        return ""
    error = body.get("error") or body.get("detail") or body.get("message") or body.get("errors")
    while isinstance(error, dict | list) and error:
        if isinstance(error, list):
            error = error[0]
            continue
        inner = next((error[key] for key in ("message", "msg", "error", "detail") if error.get(key)), "")
        place = error.get("loc") or error.get("param")
        if place and isinstance(inner, str):
            parts = place if isinstance(place, list) else [place]
            inner = f"{'.'.join(map(str, parts))}: {inner}" if str(parts[-1]) not in inner else inner
        error = inner
    return short(str(error)) if error else ""


def short(text: str) -> str:
    """``text`` on one line, without what a terminal would obey, as long as it may be in a message of ours."""
    shown = "".join(character if character.isprintable() else " " for character in mended(text))
    return " ".join(shown.split())[:_LONGEST_ERROR]


def _text(content: Any) -> str:
    """The text of a message's content: a string, or a list of parts (Mistral), of which thoughts are left out."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return ""
    return "".join(_part(part) for part in content)


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("type", "text") not in _SPOKEN_PARTS:
        return ""
    text = part.get("text") or part.get("refusal")
    return text if isinstance(text, str) else ""


def _made(delta: dict[str, Any]) -> bool:
    return any(value for key, value in delta.items() if key not in _NO_TOKENS)


def _usage(value: Any) -> Usage | None:
    """What a server says that an answer cost."""
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    counts = (value.get("prompt_tokens"), cached, value.get("completion_tokens"))
    return Usage(*(count if isinstance(count, int) else 0 for count in counts))


def _logprobs(value: Any) -> tuple[dict[str, Any], ...]:
    content = value.get("content") if isinstance(value, dict) else None
    return tuple(one for one in content if isinstance(one, dict)) if isinstance(content, list) else ()


def _first(choices: Any) -> dict[str, Any]:
    """The first choice; there is none in a chunk that only tells the usage."""
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else {}
