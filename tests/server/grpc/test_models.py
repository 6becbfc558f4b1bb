"""Models: which there are, loading and unloading them, and their files."""

from __future__ import annotations

import grpc
import pytest

from server.grpc.generated import embeddings_pb2, models_pb2
from tests.fakes.grpc_client import code_of
from tests.patience import PATIENCE

Code = grpc.StatusCode
TASK = "feature-extraction"


async def test_a_model_is_listed_loaded_used_and_unloaded(spoken, tiny_models):
    server = await spoken(folders=(tiny_models,))
    client = server.client("ModelService")

    async def state(model: str) -> models_pb2.Model:
        told = await client.list_models(models_pb2.ListModelsRequest(task=TASK), timeout=PATIENCE)
        return next(one for one in told.models if one.id == model)

    told = await client.list_models(models_pb2.ListModelsRequest(task=TASK), timeout=PATIENCE)
    own = next(one.id for one in told.models if one.state == models_pb2.MODEL_STATE_HERE)
    elsewhere = next(one for one in told.models if one.state == models_pb2.MODEL_STATE_NOT_HERE)
    assert elsewhere.license and elsewhere.memory_bytes
    request = models_pb2.LoadModelRequest(model=own, task=TASK)
    states = [one.state async for one in client.load_model(request, timeout=PATIENCE)]
    assert states == [models_pb2.MODEL_STATE_LOADING, models_pb2.MODEL_STATE_LOADED]
    assert (await state(own)).state == models_pb2.MODEL_STATE_LOADED
    embed = server.client("EmbeddingService").embed
    made = await embed(embeddings_pb2.EmbedRequest(texts=["one"], model=own), timeout=PATIENCE)
    assert made.model.startswith(own)
    assert (await client.unload_model(models_pb2.UnloadModelRequest(model=own), timeout=PATIENCE)).unloaded
    assert (await state(own)).state == models_pb2.MODEL_STATE_HERE
    assert not (await client.unload_model(models_pb2.UnloadModelRequest(model=own), timeout=PATIENCE)).unloaded


async def test_what_is_not_here_is_said_so(spoken, tiny_models):
    server = await spoken(folders=(tiny_models,), settings={"download": False})
    client = server.client("ModelService")
    for request, status, code in (
        (models_pb2.LoadModelRequest(model="whisper-tiny.en"), Code.FAILED_PRECONDITION, "model_not_here"),
        (models_pb2.LoadModelRequest(model="whisper-tiny.en", fetch=True), Code.PERMISSION_DENIED, "model_not_allowed"),
        (models_pb2.LoadModelRequest(model="none/such"), Code.NOT_FOUND, "unknown_model"),
        (models_pb2.LoadModelRequest(model="x", task="none-such"), Code.NOT_FOUND, "unknown_task"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [one async for one in client.load_model(request, timeout=PATIENCE)]
        assert (caught.value.code(), code_of(caught.value)) == (status, code)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.list_model_files(models_pb2.ListModelFilesRequest(model="whisper-tiny.en"), timeout=PATIENCE)
    assert code_of(caught.value) == "model_not_here"
