"""``visavis.v1.ModelService``: which models there are, their files, and which are in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from server.grpc.generated import models_pb2
from server.grpc.inventory import Inventory, Row
from server.grpc.shell import Call

_STATES = {
    "not_here": models_pb2.MODEL_STATE_NOT_HERE,
    "here": models_pb2.MODEL_STATE_HERE,
    "loading": models_pb2.MODEL_STATE_LOADING,
    "loaded": models_pb2.MODEL_STATE_LOADED,
}


class ModelServicer:
    """The servicer."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    async def list_models(self, request: models_pb2.ListModelsRequest, call: Call) -> models_pb2.ListModelsResponse:
        """All models, or those for a task."""
        rows = await self._inventory.rows(request.task)
        return models_pb2.ListModelsResponse(models=[_model(row) for row in rows])

    async def load_model(
        self, request: models_pb2.LoadModelRequest, call: Call
    ) -> AsyncGenerator[models_pb2.LoadModelResponse, None]:
        """How far it has come."""
        if request.fetch and not await self._inventory.is_here(request.model):
            fetching = self._inventory.fetched(request.model)
            async with aclosing(fetching):
                async for told in fetching:
                    yield models_pb2.LoadModelResponse(
                        state=models_pb2.MODEL_STATE_FETCHING, done_bytes=told.done, total_bytes=told.total
                    )
        yield models_pb2.LoadModelResponse(state=models_pb2.MODEL_STATE_LOADING)
        await self._inventory.load(request.model, request.task)
        yield models_pb2.LoadModelResponse(state=models_pb2.MODEL_STATE_LOADED)

    async def unload_model(self, request: models_pb2.UnloadModelRequest, call: Call) -> models_pb2.UnloadModelResponse:
        """Whether it is gone."""
        return models_pb2.UnloadModelResponse(unloaded=await self._inventory.unload(request.model))

    async def list_model_files(
        self, request: models_pb2.ListModelFilesRequest, call: Call
    ) -> models_pb2.ListModelFilesResponse:
        """Names, sizes and sums."""
        files = await self._inventory.files(request.model)
        told = [
            models_pb2.ModelFile(name=name, bytes=file.size or 0, sha256=file.sha256 or "")
            for name, file in files.items()
        ]
        return models_pb2.ListModelFilesResponse(files=told)


def _model(row: Row) -> models_pb2.Model:
    return models_pb2.Model(
        id=row.id,
        tasks=row.tasks,
        state=_STATES[row.state],
        memory_bytes=row.memory,
        license=row.licence,
        users=row.users,
    )
