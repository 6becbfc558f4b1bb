"""The functions of a scenario: what the model calls is answered as the file says. Pure but for what it sends."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from server.evaluation.scenario import Tool

NOT_KNOWN = '{"error": "there is no such function"}'


class ToolAnswers:
    """``send`` is given client events."""

    def __init__(self, tools: Sequence[Tool], send: Callable[[dict[str, Any]], None]) -> None:
        self._results = {tool.name: tool.result for tool in tools}
        self._send = send
        self._called: set[str] = set()
        self._awaited = False

    @property
    def idle(self) -> bool:
        """Whether no call waits for its result, and no result for the response to it."""
        return not self._called and not self._awaited

    def take(self, event: dict[str, Any]) -> None:
        """The next event of the server's."""
        if not self._results:
            return
        match event["type"]:
            case "response.function_call_arguments.done":
                self._called.add(event["call_id"])
                name = event.get("name")
                result = self._results.get(str(name))
                output = NOT_KNOWN if name not in self._results else _text(result)
                item = {"type": "function_call_output", "call_id": event["call_id"], "output": output}
                self._send({"type": "conversation.item.create", "item": item})
            case "response.done" if self._called:
                self._called.clear()
                self._awaited = True
                self._send({"type": "response.create"})
            case "response.created" | "error":
                self._awaited = False


def _text(result: Any) -> str:
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
