"""RTVI, which Pipecat's servers speak, in the words of OpenAI Realtime: one way of judging for both. Pure.

RTVI gives turns no ids and tells no truncation: turns and responses are numbered here, and what a peer remembers of an
interrupted response cannot be judged.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

LABEL = "rtvi-ai"
VERSION = "1.0.0"


class RtviTranslator:
    """``send`` is given messages for the server, ``take`` events as JSON texts."""

    def __init__(self, send: Callable[[dict[str, Any]], None], take: Callable[[str], object]) -> None:
        self._send, self._take = send, take
        self._turn = self._response = 0
        self._user_speaks = self._bot_speaks = self._answering = False
        self._messages = 0
        self._text: str | None = None

    def begin(self) -> None:
        """The channel is open."""
        about = {"library": "visavis eval", "library_version": "1"}
        self._message("client-ready", {"version": VERSION, "about": about})

    def send(self, event: dict[str, Any]) -> None:
        """A client event of OpenAI Realtime: a typed message and ``response.create``; others have no counterpart."""
        if event["type"] == "conversation.item.create" and event["item"].get("role") == "user":
            self._text = " ".join(part.get("text", "") for part in event["item"]["content"])
        elif event["type"] == "response.create" and self._text is not None:
            text, self._text = self._text, None
            options = {"run_immediately": True, "audio_response": True}
            self._message("send-text", {"content": text, "options": options})
        else:
            message = f"{event['type']} has no counterpart in RTVI"
            self._tell("error", error={"type": "invalid_request_error", "code": "unsupported", "message": message})

    def take(self, text: str) -> None:
        """A message of the server's."""
        try:
            message = json.loads(text)
        except ValueError:
            return
        if not isinstance(message, dict) or message.get("label") != LABEL:
            return
        data = message.get("data") or {}
        match message.get("type"):
            case "user-started-speaking":
                self._turn += 1
                self._user_speaks = True
                self._tell("input_audio_buffer.speech_started", item_id=self._item)
            case "user-stopped-speaking":
                self._user_speaks = False
                self._tell("input_audio_buffer.speech_stopped", item_id=self._item)
                self._tell("input_audio_buffer.committed", item_id=self._item)
            case "user-transcription" if data.get("final"):
                kind = "conversation.item.input_audio_transcription.completed"
                self._tell(kind, item_id=self._item, transcript=str(data.get("text", "")))
            case "bot-llm-started":
                self._begin()
            case "bot-llm-text":
                self._words(str(data.get("text", "")))
            case "bot-llm-stopped" if self._answering:
                self._answering = False
                self._tell("response.done", response={"id": self._name, "status": "completed", "output": []})
            case "bot-started-speaking":
                self._bot_speaks = True
                if not self._response:
                    self._begin()
                self._tell("output_audio_buffer.started", response_id=self._name)
            case "bot-stopped-speaking" if self._bot_speaks:
                self._bot_speaks = False
                how = "cleared" if self._user_speaks else "stopped"
                self._tell(f"output_audio_buffer.{how}", response_id=self._name)

    @property
    def _item(self) -> str:
        return f"turn_{self._turn}"

    @property
    def _name(self) -> str:
        return f"resp_{self._response}"

    def _begin(self) -> None:
        self._response += 1
        self._answering = True
        self._tell("response.created", response={"id": self._name, "status": "in_progress"})

    def _words(self, text: str) -> None:
        if self._answering:
            self._tell("response.output_audio_transcript.delta", response_id=self._name, delta=text)

    def _tell(self, kind: str, **fields: Any) -> None:
        self._take(json.dumps({"type": kind, **fields}))

    def _message(self, kind: str, data: dict[str, Any]) -> None:
        self._messages += 1
        self._send({"label": LABEL, "type": kind, "id": str(self._messages), "data": data})
