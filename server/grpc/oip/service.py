"""``inference.GRPCInferenceService``: what stock clients of KServe and Triton call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from importlib.metadata import version

from pipelines.errors import PipelineError
from pipelines.tasks import service as services
from pipelines.text import unknown
from server.grpc.generated import grpc_service_pb2 as pb
from server.grpc.inventory import Inventory
from server.grpc.oip.model import Ask, Kept, Models, OipModel, Outputs
from server.grpc.oip.tasks import PREFIX as TASKS
from server.grpc.oip.tensors import DATA_TYPES, Tensor, parameters_of, read_inputs, write_outputs
from server.grpc.shell import Call, bad
from server.http.errors import HttpError

EXTENSIONS = ("model_repository", "model_configuration", "parameters")
FINAL = "triton_final_response"
_HEEDED = "triton_enable_empty_final_response"
"""The end of a stream's answer is always told."""
_TIMEOUT = "timeout"
"""Microseconds that a request may wait for its turn."""


class OipServicer:
    """The servicer. ``ready`` tells whether a session would be served; ``seconds``: how long a stream keeps what it
    has begun for its next request."""

    def __init__(
        self, families: Sequence[Models], inventory: Inventory, ready: Callable[[], bool], seconds: float
    ) -> None:
        self._seconds = seconds
        self._families = families
        self._inventory = inventory
        self._ready = ready

    async def server_live(self, request: pb.ServerLiveRequest, call: Call) -> pb.ServerLiveResponse:
        """The process is up."""
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, request: pb.ServerReadyRequest, call: Call) -> pb.ServerReadyResponse:
        """As ``GET /readyz``."""
        return pb.ServerReadyResponse(ready=self._ready())

    async def server_metadata(self, request: pb.ServerMetadataRequest, call: Call) -> pb.ServerMetadataResponse:
        """Name, version, and what is served beside the protocol."""
        return pb.ServerMetadataResponse(name="visavis", version=version("visavis"), extensions=EXTENSIONS)

    async def model_ready(self, request: pb.ModelReadyRequest, call: Call) -> pb.ModelReadyResponse:
        """Whether it can be used now."""
        model = await self._found(request.name)
        there = not request.version or request.version in model.versions
        return pb.ModelReadyResponse(ready=there and not model.why_not())

    async def model_metadata(self, request: pb.ModelMetadataRequest, call: Call) -> pb.ModelMetadataResponse:
        """Its inputs and outputs."""
        model = await self._found(request.name, request.version)
        return pb.ModelMetadataResponse(
            name=model.name,
            versions=model.versions,
            platform=model.platform,
            inputs=map(_metadata, model.inputs),
            outputs=map(_metadata, model.outputs),
        )

    async def model_config(self, request: pb.ModelConfigRequest, call: Call) -> pb.ModelConfigResponse:
        """The same as Triton writes it."""
        model = await self._found(request.name, request.version)
        config = pb.ModelConfig(name=model.name, platform=model.platform, backend="visavis")
        config.model_transaction_policy.decoupled = model.decoupled
        for one in model.inputs:
            config.input.add(name=one.name, data_type=DATA_TYPES[one.datatype], dims=one.shape)
        for one in model.outputs:
            config.output.add(name=one.name, data_type=DATA_TYPES[one.datatype], dims=one.shape)
        return pb.ModelConfigResponse(config=config)

    async def model_infer(self, request: pb.ModelInferRequest, call: Call) -> pb.ModelInferResponse:
        """The whole result."""
        kept = Kept()
        try:
            model, ask = await self._asked(request, call, kept)
            return _response(request, model, await model.infer(ask))
        finally:
            await kept.drop()

    async def model_stream_infer(
        self, requests: AsyncIterator[pb.ModelInferRequest], call: Call
    ) -> AsyncGenerator[pb.ModelStreamInferResponse, None]:
        """Results of one request after another; one that cannot be served is told and ends nothing.

        What a model keeps for the next one is given up where that is long on its way: others wait for the place.
        """
        kept = Kept()
        ends = services.deadline.get()
        coming = _coming(requests, kept, self._seconds)
        try:
            async for request in coming:
                services.deadline.set(ends)
                async with aclosing(self._answers(request, call, kept)) as answering:
                    try:
                        async for response in answering:
                            yield pb.ModelStreamInferResponse(infer_response=response)
                    except (HttpError, PipelineError) as error:
                        named = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
                        message = f"{error.code}: {error.message}"
                        yield pb.ModelStreamInferResponse(error_message=message, infer_response=named)
        finally:
            await coming.aclose()
            await kept.drop()

    async def repository_index(self, request: pb.RepositoryIndexRequest, call: Call) -> pb.RepositoryIndexResponse:
        """All models."""
        told = pb.RepositoryIndexResponse()
        for family in self._families:
            for model in await family.all():
                why = model.why_not()
                if not (why and request.ready):
                    state = "UNAVAILABLE" if why else "READY"
                    told.models.add(name=model.name, version=next(iter(model.versions), ""), state=state, reason=why)
        return told

    async def repository_model_load(
        self, request: pb.RepositoryModelLoadRequest, call: Call
    ) -> pb.RepositoryModelLoadResponse:
        """Bring the preferred model of a task into memory, or one by its id. What is ready always is so already."""
        if request.parameters:
            raise bad("parameters", "models cannot be changed, leave them out", "unsupported_value")
        if (model := await self._known(request.model_name)) is None:
            await self._inventory.load(request.model_name)
        elif model.name.startswith(TASKS):
            await self._inventory.load("auto", model.name.removeprefix(TASKS))
        return pb.RepositoryModelLoadResponse()

    async def repository_model_unload(
        self, request: pb.RepositoryModelUnloadRequest, call: Call
    ) -> pb.RepositoryModelUnloadResponse:
        """Take the models of a task out of memory, or one by its id; what is in use stays."""
        model = await self._known(request.model_name)
        names = [request.model_name] if model is None else list(model.versions)
        for name in names:
            await self._inventory.unload(name)
        return pb.RepositoryModelUnloadResponse()

    # ------------------------------------------------------------------------------------------------ inside

    async def _known(self, name: str) -> OipModel | None:
        for family in self._families:
            if (model := await family.find(name)) is not None:
                return model
        return None

    async def _found(self, name: str, wanted: str = "") -> OipModel:
        if (model := await self._known(name)) is None:
            names = [model.name for family in self._families for model in await family.all()]
            raise HttpError(404, "model_not_found", unknown("model", name[:200], names), "model_name")
        if wanted and wanted not in model.versions:
            message = unknown("version", wanted[:200], list(model.versions))
            raise HttpError(404, "model_not_found", message, "model_version")
        return model

    async def _asked(self, request: pb.ModelInferRequest, call: Call, kept: Kept) -> tuple[OipModel, Ask]:
        model = await self._found(request.model_name, request.model_version)
        known = [one.name for one in model.outputs]
        for n, output in enumerate(request.outputs):
            if output.name not in known:
                raise bad(f"outputs.{n}.name", unknown("output", output.name[:60], known))
            if output.parameters:
                raise bad(f"outputs.{n}.parameters", "classification and shared memory are not served")
        parameters = parameters_of(request.parameters)
        parameters.pop(_HEEDED, None)
        if (waits := parameters.pop(_TIMEOUT, None)) is not None:
            if isinstance(waits, bool) or not isinstance(waits, int) or waits <= 0:
                raise bad(f"parameters.{_TIMEOUT}", "must be microseconds, more than 0")
            by, ends = time.monotonic() + waits / 1e6, services.deadline.get()
            services.deadline.set(by if ends is None else min(by, ends))
        return model, Ask(read_inputs(request, model.inputs), parameters, request.model_version, call, kept)

    async def _answers(
        self, request: pb.ModelInferRequest, call: Call, kept: Kept
    ) -> AsyncGenerator[pb.ModelInferResponse, None]:
        """The responses to one request of a stream; the last one says that it is."""
        model, ask = await self._asked(request, call, kept)
        async with aclosing(model.pieces(ask)) as pieces:
            async for piece, final in pieces:
                yield _response(request, model, piece, final=final)


async def _coming(
    requests: AsyncIterator[pb.ModelInferRequest], kept: Kept, seconds: float
) -> AsyncGenerator[pb.ModelInferRequest, None]:
    """One request after another. Where the next one is longer on its way than ``seconds``, what is kept is dropped."""
    while True:
        coming = asyncio.ensure_future(anext(requests, None))
        try:
            if not (await asyncio.wait({coming}, timeout=seconds))[0]:
                await kept.drop()
            request = await coming
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        if request is None:
            return
        yield request


def _response(
    request: pb.ModelInferRequest, model: OipModel, outputs: Outputs, final: bool | None = None
) -> pb.ModelInferResponse:
    response = pb.ModelInferResponse(
        model_name=model.name, model_version=request.model_version or next(iter(model.versions), ""), id=request.id
    )
    if final is not None:
        response.parameters[FINAL].bool_param = final
    wanted = {one.name for one in request.outputs} or set(outputs)
    raw = bool(request.raw_input_contents)
    write_outputs(response, {name: outputs[name] for name in outputs if name in wanted}, model.outputs, raw=raw)
    return response


def _metadata(one: Tensor) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=one.name, datatype=one.datatype, shape=one.shape)
