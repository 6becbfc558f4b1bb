"""Tasks of servers: ``/embeddings`` of OpenAI's REST API, and ``/tasks/{task}`` of another visavis."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from pipelines.interfaces.task import Done, TaskError
from server.engines.remote.rest import RemoteError, Rest


class RemoteEmbedding:
    """Implements :class:`~pipelines.interfaces.task.TaskRunner` for ``feature-extraction``."""

    def __init__(self, rest: Rest, model: str) -> None:
        self._rest = rest
        self._model = model

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        """The vectors of ``inputs["inputs"]`` (a text, or several). Raises :class:`TaskError`."""
        (texts,) = inputs.values()
        body: dict[str, Any] = {"model": self._model or "text-embedding-3-small", "input": texts}
        if parameters and parameters.get("dimensions"):
            body["dimensions"] = parameters["dimensions"]
        found = await _asked(self._rest, "/embeddings", body)
        try:
            vectors = [row["embedding"] for row in sorted(found["data"], key=lambda row: row["index"])]
        except (KeyError, TypeError):
            raise TaskError("task_bad_answer", f"{self._rest.server} gave no embeddings") from None
        tokens = found.get("usage", {}).get("prompt_tokens", 0)
        return Done(vectors if isinstance(texts, list) else vectors[0], tokens if isinstance(tokens, int) else 0)

    async def stream(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Any, None]:
        """The result as a whole: there are no pieces."""
        yield await self.run(inputs, parameters)


class RemoteTask:
    """Implements :class:`~pipelines.interfaces.task.TaskRunner` for any task of another visavis."""

    def __init__(self, rest: Rest, task: str, model: str) -> None:
        self._rest = rest
        self._task = task
        self._model = model

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        """The result. Raises :class:`TaskError`."""
        body: dict[str, Any] = {"inputs": _plain(inputs), "parameters": _plain(parameters or {})}
        if self._model:
            body["model"] = self._model
        found = await _asked(self._rest, f"/tasks/{self._task}", body)
        return Done(found.get("output", found))

    async def stream(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Any, None]:
        """The result as a whole."""
        yield await self.run(inputs, parameters)


async def _asked(rest: Rest, path: str, body: Any) -> dict[str, Any]:
    try:
        return await rest.json(path, body=body)
    except RemoteError as error:
        raise TaskError(error.code.replace("remote_", "task_"), error.message) from error


def _plain(value: Any) -> Any:
    """Bytes in base64, as files travel in JSON."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
