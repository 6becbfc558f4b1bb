"""``GET /v1/models``: the engines that serve, and the names that clients insist on."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from aiohttp import web

from pipelines.interfaces.llm import adapter_asked, adapters_of
from pipelines.text import unknown
from pipelines.voice.settings import VoiceEngines
from server.http.errors import HttpError

Stage = Literal["llm", "stt", "tts", "embed"]
ALIASES: Mapping[Stage, tuple[str, ...]] = {
    "llm": tuple("gpt-4o-mini gpt-4o gpt-4.1-mini gpt-4.1 gpt-4 gpt-3.5-turbo gpt-5-mini gpt-5 dummy tgi".split()),
    "stt": ("whisper-1", "gpt-4o-mini-transcribe", "gpt-4o-transcribe", "gpt-transcribe"),
    "tts": ("tts-1", "tts-1-hd", "gpt-4o-mini-tts"),
    "embed": ("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"),
}
"""Names that many clients have built in (OpenAI's models, and what huggingface_hub calls one that it is not told) →
whoever serves that stage here."""


def check_name(stage: Stage, name: str, asked: str | None) -> None:
    """Raises :class:`HttpError` (404) when ``asked`` is neither the ``name`` of who serves the stage nor an alias."""
    legal = (name, *ALIASES[stage])
    if asked is not None and asked not in legal:
        raise HttpError(404, "model_not_found", unknown("model", asked[:200], legal), "model")


class EngineNames:
    """The handlers. ``embedding`` finds the id of the embedding model, if one is here."""

    def __init__(self, voice: VoiceEngines, embedding: Callable[[], Awaitable[str | None]]) -> None:
        self._voice = voice
        self._embedding = embedding
        self._created = int(time.time())

    async def serving(self) -> dict[Stage, str]:
        """Stage → the name of the engine that serves it now."""
        voice, embedding = self._voice, await self._embedding()
        names: dict[Stage, str] = {"llm": voice.llm.name, "stt": voice.stt.name, "tts": voice.tts.name}
        return names if embedding is None else {**names, "embed": embedding}

    async def list(self, request: web.Request) -> web.Response:
        """All of them."""
        rows = [self._row(stage, name, name) for stage, name in (await self.serving()).items()]
        rows += [self._adapter(name) for name in adapters_of(self._voice.llm)]
        return web.json_response({"object": "list", "data": rows})

    async def get(self, request: web.Request) -> web.Response:
        """One of them, by its name or an alias."""
        asked = request.match_info["id"]
        serving = await self.serving()
        if adapter := adapter_asked(self._voice.llm, asked):
            return web.json_response(self._adapter(adapter))
        for stage, name in serving.items():
            if asked == name or asked in ALIASES[stage]:
                return web.json_response(self._row(stage, asked, name))
        legal = [name for stage, own in serving.items() for name in (own, *ALIASES[stage])]
        raise HttpError(404, "model_not_found", unknown("model", asked[:200], legal), "model")

    def _adapter(self, adapter: str) -> dict[str, Any]:
        model = self._voice.llm.name
        row = self._row("llm", f"{model}:{adapter}", model)
        return {**row, "parent": model, "aliases": [adapter]}

    def _row(self, stage: Stage, asked: str, name: str) -> dict[str, Any]:
        row = {"id": asked, "object": "model", "created": self._created, "owned_by": "visavis", "root": name}
        row |= {"stage": stage, "aliases": list(ALIASES[stage])}
        return {**row, "voices": list(self._voice.tts.voices)} if stage == "tts" else row
