"""The engines of servers that files declare: one each for a server, a stage and a model, made when first named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from pipelines.definitions.mapping import Backend, Kind
from pipelines.engines.llm.openai.client import OpenAIChat, discover
from pipelines.engines.registry import Stage
from pipelines.errors import PipelineError
from pipelines.interfaces.llm import ChatRequest, Piece
from pipelines.routing.routes.task import TaskEngine
from pipelines.routing.stage_types import StageType
from pipelines.text import header_value
from server.engines.remote.ray import RayEngines
from server.engines.remote.rest import Rest
from server.engines.remote.speech import RemoteRecognizer, RemoteVoice
from server.engines.remote.tasks import RemoteEmbedding, RemoteTask

_ALL: list[StageType] = [
    "audio_to_text", "text_generation", "text_to_audio", "embedding", "image_to_text", "text_to_image", "image_edit",
    "image_enhance", "audio_enhance", "text_to_video",
]  # fmt: skip
KINDS: Mapping[Kind, list[StageType]] = {
    "local": ["audio_to_text", "text_generation", "text_to_audio", "video_analysis"],
    "openai": ["text_generation"],
    "ray": _ALL,
    "visavis": _ALL,
}
"""What a backend can do whose capabilities no file tells."""
LIST_SECONDS = 2.0
"""A server that takes longer to list its models is away."""
UNNAMED = "default"
"""What a model is called on a server that lists none."""


class Servers:
    """Makes the engines. ``environment`` gives the value of a variable that holds a key, ``ray`` the engines of a
    cluster."""

    def __init__(self, environment: Callable[[str], str | None], ray: RayEngines | None = None) -> None:
        self._environment = environment
        self._ray = ray
        self._engines: dict[tuple[Any, ...], Any] = {}

    def engine(self, backend: Backend, kind: Stage | None, model: str, task: str) -> Any:
        """The engine of ``kind``, or for ``task``; ``model`` empty: the server's first.

        Raises :class:`PipelineError` (``key_missing``, ``no_backend``) when there cannot be one.
        """
        known = (*address(backend), kind, model, task)
        if known not in self._engines:
            self._engines[known] = self._make(backend, kind, model, task)
        return self._engines[known]

    async def close(self) -> None:
        """End all connections."""
        for engine in self._engines.values():
            await engine.close()
        if self._ray is not None:
            await self._ray.close()

    def _make(self, backend: Backend, kind: Stage | None, model: str, task: str) -> Any:
        if backend.kind == "ray":
            return self._on_ray(backend, kind, task)
        url, key = backend.base_url or "", self._key(backend)
        if kind == "llm":
            return RemoteModel(backend.id, url, model, key)
        rest = Rest(backend.id, url, key)
        if kind == "stt":
            return RemoteRecognizer(rest, model)
        if kind == "tts":
            return RemoteVoice(rest, model)
        if task == "feature-extraction" and backend.kind == "openai":
            return _Task(rest, RemoteEmbedding(rest, model))
        if backend.kind == "visavis":
            return _Task(rest, RemoteTask(rest, task, model))
        raise PipelineError("no_backend", f"{backend.id} is asked by OpenAI's REST API, which has no {task}")

    def _on_ray(self, backend: Backend, kind: Stage | None, task: str) -> Any:
        if (ray := self._ray) is None:
            raise PipelineError("no_backend", f"{backend.id} is on Ray, and the setting ray_address names no cluster")
        makers: Mapping[str, Callable[[], Any]] = {"stt": ray.recognizer, "llm": ray.model, "tts": ray.voice}
        return makers[kind]() if kind is not None else ray.task(task)

    def _key(self, backend: Backend) -> str | None:
        if backend.api_key_env is None:
            return None
        value = self._environment(backend.api_key_env)
        if not value:
            raise PipelineError("key_missing", f"the environment has no {backend.api_key_env} for {backend.id}")
        try:
            return header_value(value)
        except ValueError as error:
            raise PipelineError("key_missing", f"{backend.api_key_env} of {backend.id} {error}") from None


def address(backend: Backend) -> tuple[str, ...]:
    """What makes a server the same one."""
    return (backend.id, backend.kind, backend.base_url or "", backend.api_key_env or "")


class RemoteModel:
    """Implements :class:`~pipelines.interfaces.llm.LanguageModel` on a server that may not be there yet."""

    takes_tools = takes_choice = takes_format = takes_logprobs = True
    takes_images = False

    def __init__(self, server: str, url: str, model: str, key: str | None) -> None:
        self.name = f"{server} {model}" if model else server
        self._server = server
        self._url = url
        self._model = model
        self._key = key
        self._chat: OpenAIChat | None = None
        self._asking = asyncio.Lock()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer. Raises :class:`~pipelines.errors.LLMError`."""
        chat = await self._found()
        async with aclosing(chat.stream(request)) as pieces:
            async for piece in pieces:
                yield piece

    async def probe(self) -> None:
        """Find out whether it answers."""
        await (await self._found()).probe()

    async def close(self) -> None:
        """End the connections."""
        if self._chat is not None:
            await self._chat.close()

    async def _found(self) -> OpenAIChat:
        async with self._asking:
            if self._chat is None:
                names = [self._model] if self._model else await discover(self._url, self._key, LIST_SECONDS)
                model = next(iter(names), UNNAMED)
                self._chat = OpenAIChat(self._url, model, api_key=self._key, server=self._server)
        return self._chat


class _Task(TaskEngine):
    """A task on a server, with the connections."""

    def __init__(self, rest: Rest, runner: Any) -> None:
        super().__init__(rest.server, runner)
        self._rest = rest

    async def close(self) -> None:
        await self._rest.close()
