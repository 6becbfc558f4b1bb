"""``visavis.v1.EmbeddingService``: texts as vectors, by the task ``feature-extraction``."""

from __future__ import annotations

from server.grpc.generated import embeddings_pb2
from server.grpc.shell import Call, heed_latency
from server.http.rest.engine_names import ALIASES
from server.http.tasks.door import TaskDoor
from server.http.tasks.embeddings import TASK


class EmbeddingServicer:
    """The servicer."""

    def __init__(self, door: TaskDoor) -> None:
        self._door = door

    async def embed(self, request: embeddings_pb2.EmbedRequest, call: Call) -> embeddings_pb2.EmbedResponse:
        """The vectors of the texts, in their order."""
        heed_latency(call)
        named = request.model and request.model not in ALIASES["embed"]
        runner = await self._door.runner(TASK, request.model if named else "auto")
        dimensions = request.dimensions if request.HasField("dimensions") else None
        names = {"text": "texts", "parameters.dimensions": "dimensions"}
        items = [{"text": text} for text in request.texts]
        answer = await self._door.run(runner, items, {"dimensions": dimensions}, names, numbered=True)
        vectors = [embeddings_pb2.Embedding(values=done.output) for done in answer.done]
        return embeddings_pb2.EmbedResponse(embeddings=vectors, model=answer.model, tokens=answer.tokens)
