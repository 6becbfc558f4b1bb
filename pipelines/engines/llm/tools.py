"""Tool calls in the text of a language model, and in the pieces of a streamed completion. Pure.

Models write a call as ``<tool_call>{"name": …, "arguments": {…}}</tool_call>`` (Qwen, Hermes, SmolLM), or begin their
answer with such an object, or a list of them, without the tags (Llama 3.x, which says ``parameters``, and Mistral).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection
from typing import Any

from pipelines.errors import LLMError
from pipelines.interfaces.llm import ToolCall
from pipelines.text import mended

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_SHOWN = 120
"""Characters of a broken call that an error message quotes."""


class ToolCallFilter:
    """Separates calls from what is to be read, fed with any pieces of an answer.

    ``names`` are the tools there are: JSON without tags is only taken for a call when it names one of them.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._text = ""
        self._begun = False
        """Whether anything but a call has been said: JSON further on is part of what is said."""
        self._inside = False
        self._called = False
        """Whether a call was the last thing: what separates it from the next is not read aloud."""
        self._failure: LLMError | None = None

    def push(self, text: str) -> list[str | ToolCall]:
        """What is complete; what may become a call is kept.

        Raises :class:`~pipelines.errors.LLMError` (``tool_call_invalid``) for a call that makes no sense, once what
        was said before it has been returned.
        """
        if self._failure is not None:
            raise self._failure
        self._text += text
        out: list[str | ToolCall] = []
        try:
            while self._step(out):
                pass
        except LLMError as error:
            if not out:
                raise
            self._failure, self._text, self._inside = error, "", False
        return out

    def flush(self) -> list[str | ToolCall]:
        """The answer has ended: what was kept. Raises as :meth:`push`."""
        if self._failure is not None:
            raise self._failure
        rest, self._text = self._text, ""
        if self._inside:
            self._inside = False
            return list(parse_calls(rest))
        if not self._begun and _looks_like_json(rest):
            calls = self._untagged(rest)
            if calls:
                return list(calls)
        return [rest] if rest else []

    def break_off(self) -> list[str]:
        """The answer broke off: the words that were kept. What may have become a call is left out."""
        rest, self._text = self._text, ""
        return [] if self._inside or not rest or (not self._begun and _looks_like_json(rest)) else [rest]

    def _step(self, out: list[str | ToolCall]) -> bool:
        """Take the next part off the kept text; ``False`` when more text is needed."""
        if self._called:
            self._text = self._text.lstrip(" \n;,")
            self._called = not self._text
        if self._inside:
            body, found, rest = self._text.partition(_CLOSE)
            if found:
                out += parse_calls(body)
                self._inside, self._called, self._text = False, True, rest
            return bool(found)
        if not self._begun and _looks_like_json(self._text):
            return self._json(out)
        before, found, rest = self._text.partition(_OPEN)
        if found:
            self._say(before, out)
            self._inside, self._text = True, rest
            return True
        if not self._begun and not self._text.strip():
            return False
        kept = next(n for n in range(len(_OPEN) - 1, -1, -1) if self._text.endswith(_OPEN[:n]))
        ready, self._text = self._text[: len(self._text) - kept], self._text[len(self._text) - kept :]
        self._say(ready, out)
        return False

    def _json(self, out: list[str | ToolCall]) -> bool:
        """An answer that begins with JSON is a call or not, which shows at its end."""
        start = len(self._text) - len(self._text.lstrip())
        try:
            _, end = json.JSONDecoder(strict=False).raw_decode(self._text, start)
        except (ValueError, RecursionError):
            return False
        calls = self._untagged(self._text[start:end])
        if calls:
            out += calls
        else:
            self._say(self._text[:end], out)
        self._called, self._text = bool(calls), self._text[end:]
        return True

    def _untagged(self, text: str) -> list[ToolCall]:
        try:
            calls = parse_calls(text)
        except LLMError:
            return []
        return calls if calls and all(call.name in self._names for call in calls) else []

    def _say(self, text: str, out: list[str | ToolCall]) -> None:
        if text.strip():
            self._begun = True
        if text:
            out.append(text)


class ToolCallPieces:
    """Calls of a streamed completion, whose arguments come in pieces."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, str]] = {}

    def push(self, pieces: Any) -> None:
        """Take ``delta.tool_calls`` of one chunk; what is no such list is passed over."""
        for piece in pieces if isinstance(pieces, list) else []:
            if not isinstance(piece, dict):
                continue
            function = piece.get("function")
            function = function if isinstance(function, dict) else {}
            call = self._calls.setdefault(self._index(piece), {"id": "", "name": "", "arguments": ""})
            call["id"] = call["id"] or str(piece.get("id") or "")
            call["name"] = call["name"] or str(function.get("name") or "")
            arguments = function.get("arguments") or ""
            call["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)

    def flush(self) -> list[ToolCall]:
        """The answer has ended: its calls in order.

        Raises :class:`~pipelines.errors.LLMError` (``tool_call_invalid``).
        """
        calls, self._calls = self._calls, {}
        return [_call(call["name"], call["arguments"], call["id"]) for _, call in sorted(calls.items())]

    def _index(self, piece: dict[str, Any]) -> int:
        """Its place; a server that does not number its calls begins each with an id."""
        index = piece.get("index")
        if isinstance(index, int):
            return index
        last = max(self._calls, default=0)
        new = bool(piece.get("id")) and self._calls.get(last, {}).get("id") not in ("", piece.get("id"), None)
        return last + 1 if new else last


def parse_calls(text: str) -> list[ToolCall]:
    """The calls that ``text`` is: an object or a list of objects with ``name`` and ``arguments`` (or ``parameters``).

    One attempt is made to mend what is no JSON. Raises :class:`~pipelines.errors.LLMError` (``tool_call_invalid``).
    """
    value = _loads(text)
    wanted = value if isinstance(value, list) else [value]
    return [_from_object(each, text) for each in wanted]


def _from_object(value: Any, text: str) -> ToolCall:
    function = value.get("function", value) if isinstance(value, dict) else None
    if isinstance(function, str) and isinstance(value, dict):
        function = {**value, "name": function}
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise _invalid(text)
    return _call(function["name"], function.get("arguments", function.get("parameters")))


def _call(name: str, arguments: Any, call_id: str = "") -> ToolCall:
    if isinstance(arguments, str):
        arguments = _loads(arguments) if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not name or not isinstance(arguments, dict):
        raise _invalid(f"{name} {arguments}")
    text = json.dumps(arguments, ensure_ascii=False)
    return ToolCall(mended(call_id) or f"call_{secrets.token_hex(8)}", mended(name), mended(text))


def _loads(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except ValueError:
        pass
    except RecursionError:
        raise _invalid(text) from None
    try:
        return json.loads(mend(text), strict=False)
    except (ValueError, RecursionError):
        raise _invalid(text) from None


def mend(text: str) -> str:
    """``text`` as the JSON it was meant to be.

    Mends a code fence or words around it, Python's literals, commas before a closing bracket, missing brackets at the
    end. A string that is not closed stays so: what it was going to say is not known.
    """
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=0)
    out: list[str] = []
    closers: list[str] = []
    quoted = escaped = False
    for character in text[start:]:
        if quoted:
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            quoted = True
        elif character in "{[":
            closers.append("}" if character == "{" else "]")
        elif character in "}]":
            if not closers or closers.pop() != character:
                break
            _drop_comma(out)
        out.append(character)
        if not closers and not quoted:
            break
    if closers and not quoted:
        _drop_comma(out)
        out += reversed(closers)
    return _outside_strings("".join(out))


def _drop_comma(out: list[str]) -> None:
    while out and out[-1].isspace():
        out.pop()
    if out and out[-1] == ",":
        out.pop()


def _outside_strings(text: str) -> str:
    """Python's ``True``, ``False`` and ``None`` as JSON writes them."""
    words = {"True": "true", "False": "false", "None": "null"}
    parts = re.split(r'("(?:[^"\\]|\\.)*")', text)
    return "".join(
        part if n % 2 else re.sub(r"\b(True|False|None)\b", lambda m: words[m[0]], part) for n, part in enumerate(parts)
    )


def _looks_like_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")


def _invalid(text: str) -> LLMError:
    shown = " ".join(mended(text).split())
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    return LLMError("tool_call_invalid", f"the model wrote a tool call that is no JSON object with a name: {shown}")
