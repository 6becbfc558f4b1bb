"""The routes of tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from pipelines.interfaces.media_fields import LARGEST_FIELD
from pipelines.runtime.worker import Worker
from pipelines.tasks.service import TaskService
from server.http.rest.serving import served
from server.http.tasks.completions import Completions
from server.http.tasks.door import TaskDoor
from server.http.tasks.embeddings import Embeddings
from server.http.tasks.envelope import Envelope
from server.http.tasks.images import Drawings
from server.http.tasks.libretranslate import LibreTranslate
from server.http.tasks.reranking import Reranking
from server.http.tasks.text_embeddings_inference import TextEmbeddingsInference
from server.http.tasks.tokens import Tokens

DOOR = web.AppKey("task_door", TaskDoor)
LARGER_BODIES = {"/v1/tasks/{task}": LARGEST_FIELD * 4 // 3 + (1 << 16)}
"""Routes → bytes of their bodies, where these may be larger than usual: files."""


def add_tasks(app: web.Application, tasks: TaskService) -> Callable[[], Awaitable[str | None]]:
    """Serve ``tasks``, which end with ``app``. Returns what finds the id of the embedding model, if one is here."""
    reader = Worker("task-answers", inbox=64)
    app[DOOR] = door = TaskDoor(tasks, reader)
    envelope, embeddings, completions = Envelope(door, reader), Embeddings(door, reader), Completions(door)
    tei, reranking, tokens, libre = (
        TextEmbeddingsInference(door),
        Reranking(door),
        Tokens(door, reader),
        LibreTranslate(door),
    )
    app.router.add_get("/v1/tasks", served(envelope.list))
    app.router.add_get("/v1/tasks/{task}", served(envelope.get))
    app.router.add_get("/languages", served(libre.languages))
    for path, handler in (
        ("/v1/tasks/{task}", envelope.post),
        ("/v1/embeddings", embeddings.post),
        ("/v1/completions", completions.post),
        ("/v1/images/generations", Drawings(door).post),
        ("/infill", completions.infill),
        ("/embed", tei.embed),
        ("/rerank", tei.rerank),
        ("/predict", tei.predict),
        ("/v1/rerank", reranking.post),
        ("/v2/rerank", reranking.second),
        ("/tokenize", tokens.tokenize),
        ("/detokenize", tokens.detokenize),
        ("/translate", libre.translate),
        ("/detect", libre.detect),
    ):
        app.router.add_post(path, served(handler))

    async def close(app: web.Application) -> None:
        reader.close()
        tasks.close()

    app.on_cleanup.append(close)
    return embeddings.find
