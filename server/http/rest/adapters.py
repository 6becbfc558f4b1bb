"""``POST /v1/load_lora_adapter`` and ``/v1/unload_lora_adapter``: adapters of the language model, as vLLM has them.

(https://docs.vllm.ai/en/latest/features/lora/, "Dynamically serving LoRA adapters".) Only where the setting
``chat_adapter_loading`` allows it, and only what lies in the folder of models or in the model store. An adapter is
tried before it is told that it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from aiohttp import web
from pydantic import Field

from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.llm import ChatRequest, LanguageModel, Message, adapters_of
from pipelines.models.weights.adapters import AT_START, Adapters, inside, read_adapter
from pipelines.runtime.worker import Worker
from server.http.bodies import json_body
from server.http.errors import HttpError
from server.http.rest.requests import Body, validated

_NOT_FOUND = ("adapter_missing", "adapter_unknown")


class LoadAdapter(Body):
    """The body of the first."""

    lora_name: str = Field(min_length=1, max_length=64)
    lora_path: str = Field(min_length=1, max_length=1000)


class UnloadAdapter(Body):
    """The body of the second."""

    lora_name: str = Field(min_length=1, max_length=64)
    lora_int_id: int | None = None
    """Ignored, as by vLLM."""


class AdapterLoading:
    """The handlers. ``folders`` are those from which may be loaded; none: it is not allowed."""

    def __init__(self, model: LanguageModel, adapters: Adapters, folders: Sequence[Path], reader: Worker) -> None:
        self._model = model
        self._adapters = adapters
        self._folders = folders
        self._reader = reader
        self._loading = asyncio.Lock()

    async def load(self, request: web.Request) -> web.Response:
        """Load one and try it."""
        self._insist_allowed()
        body = validated(LoadAdapter, await json_body(request))
        async with self._loading:
            try:
                path = await self._reader.run(inside, body.lora_path, self._folders)
                adapter = await self._reader.run(read_adapter, body.lora_name, path)
                if adapter.kind == "gguf":
                    raise ModelError("adapter_unsupported", f"{body.lora_name}: {AT_START}")
                self._adapters.add(adapter)
            except ModelError as error:
                raise _refused(error) from error
            try:
                await self._try(body.lora_name)
            except BaseException as error:
                self._adapters.remove(body.lora_name)
                if isinstance(error, PipelineError):
                    raise _refused(error) from error
                raise
        return web.Response(text=f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    async def unload(self, request: web.Request) -> web.Response:
        """Forget one; answers that use it go on."""
        self._insist_allowed()
        body = validated(UnloadAdapter, await json_body(request))
        try:
            self._adapters.remove(body.lora_name)
        except ModelError as error:
            raise _refused(error) from error
        return web.Response(text=f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    async def _try(self, name: str) -> None:
        """A token of an answer with it shows whether it fits."""
        if name not in adapters_of(self._model):
            message = f"{self._model.name} takes no adapters: a chat model on transformers does (chat_model)"
            raise ModelError("adapter_unsupported", message)
        request = ChatRequest((Message("user", "Hello."),), max_tokens=1, adapters=((name, 1.0),))
        async with aclosing(self._model.stream(request)) as pieces:
            async for _ in pieces:
                pass

    def _insist_allowed(self) -> None:
        if not self._folders:
            message = "adapters can be loaded and unloaded only where the server's setting chat_adapter_loading is true"
            raise HttpError(403, "adapter_loading_off", message)


def _refused(error: PipelineError) -> HttpError:
    param = "lora_path" if error.message.startswith("lora_path") else "lora_name"
    status = 404 if error.code in _NOT_FOUND else 403 if error.code == "adapter_outside" else 400
    return HttpError(status, error.code, error.message, param)
