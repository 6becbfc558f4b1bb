"""Pipelines as models: ``pipelines/ID``, those that take a text, a sound or a picture and give no video."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import numpy as np

from media.frames import Picture
from pipelines.routing.definition import Pipeline
from pipelines.routing.items import Data, Item, Sound, Text
from pipelines.routing.stage_types import STAGE_TYPES
from server.grpc.oip.model import Ask, OipModel, Outputs, Pieces
from server.grpc.oip.tensors import BYTES, Tensor
from server.grpc.runs import Inputs, PipelineRuns
from server.grpc.shell import bad
from server.grpc.speech import RATES
from server.http.pipelines.arriving import once, pcm, text

PREFIX = "pipelines/"
_TAKEN = {
    "text": Tensor("text", BYTES, (1,)),
    "audio": Tensor("audio", "INT16", (-1,)),
    "image": Tensor("image", "UINT8", (-1, -1, 3)),
}
_GIVEN = {
    "text": (Tensor("text", BYTES, (-1,)),),
    "audio": (Tensor("audio", "INT16", (-1,)), Tensor("sample_rate", "INT32", (1,))),
    "data": (Tensor("data", BYTES, (-1,)),),
}


class PipelineAsModel:
    """One pipeline. What it gives comes as it is made; results that are data are JSON."""

    platform = "visavis_pipeline"
    decoupled = True
    versions: Sequence[str] = ("1",)

    def __init__(self, runs: PipelineRuns, pipeline: Pipeline) -> None:
        self.name = PREFIX + pipeline.id
        taken = [medium for medium in _TAKEN if medium in pipeline.takes]
        self.inputs = tuple(
            Tensor(one.name, one.datatype, one.shape, optional=len(taken) > 1) for one in map(_TAKEN.__getitem__, taken)
        )
        given = {STAGE_TYPES[stage.type].gives for stage in pipeline.graph.sinks}
        self.outputs = tuple(one for medium, tensors in _GIVEN.items() if medium in given for one in tensors)
        self._runs = runs
        self._pipeline = pipeline

    def why_not(self) -> str:
        """See :class:`~server.grpc.oip.model.OipModel`."""
        return ""

    async def infer(self, ask: Ask) -> Outputs:
        """All that it gives."""
        joined: dict[str, list[np.ndarray | list[bytes]]] = {}
        async with aclosing(self.pieces(ask)) as pieces:
            async for piece, _ in pieces:
                for name, value in piece.items():
                    joined.setdefault(name, []).append(value)
        found: dict[str, np.ndarray | list[bytes]] = {}
        for tensor in self.outputs:
            values = joined.get(tensor.name, [])
            if tensor.name == "text":
                found["text"] = [b"".join(one for value in values for one in value)]
            elif tensor.name == "sample_rate":
                found["sample_rate"] = values[0] if values else np.array([0])
            elif tensor.datatype == BYTES:
                found[tensor.name] = [one for value in values for one in value]
            else:
                found[tensor.name] = np.concatenate(values) if values else np.zeros(0, np.int16)
        return found

    async def pieces(self, ask: Ask) -> Pieces:
        """What it gives, as it gives it; the last piece is empty."""
        ask.only(*(("sample_rate",) if "audio" in self._pipeline.takes else ()))
        outputs = self._runs.outputs(self._pipeline, _inputs(ask), ask.call)
        async with aclosing(outputs):
            async for item in outputs:
                if told := _told(item):
                    yield told, False
        yield {}, True


class PipelineModels:
    """The family."""

    def __init__(self, runs: PipelineRuns) -> None:
        self._runs = runs

    async def find(self, name: str) -> OipModel | None:
        """See :class:`~server.grpc.oip.model.Models`."""
        pipeline = self._runs.house.find(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
        return PipelineAsModel(self._runs, pipeline) if pipeline is not None and _is_served(pipeline) else None

    async def all(self) -> Sequence[OipModel]:
        """See :class:`~server.grpc.oip.model.Models`."""
        return [PipelineAsModel(self._runs, one) for one in self._runs.house.all if _is_served(one)]


def _is_served(pipeline: Pipeline) -> bool:
    gives = {STAGE_TYPES[stage.type].gives for stage in pipeline.graph.sinks}
    return any(medium in _TAKEN for medium in pipeline.takes) and gives <= _GIVEN.keys()


def _inputs(ask: Ask) -> Inputs:
    if not ask.inputs:
        raise bad("inputs", "one of them must be given", "missing_parameter")
    found: dict[str, AsyncGenerator[Item, None]] = {}
    if "text" in ask.inputs:
        found["text"] = text(once(ask.inputs["text"][0]), "text")
    if "audio" in ask.inputs:
        rate = ask.whole("sample_rate", 16_000, *RATES)
        found["audio"] = pcm(once(ask.inputs["audio"].astype("<i2").tobytes()), rate, 1)
    if "image" in ask.inputs:
        if min(ask.inputs["image"].shape) < 1:
            raise bad("image", "is empty")
        found["image"] = _picture(ask.inputs["image"])
    return found  # type: ignore[return-value]


async def _picture(pixels: np.ndarray) -> AsyncGenerator[Item, None]:
    yield Picture(pixels, 0.0)


def _told(item: Item) -> Outputs:
    if isinstance(item, Text):
        return {"text": [item.text.encode("utf-8", "replace")]}
    if isinstance(item, Sound):
        return {"audio": item.samples, "sample_rate": np.array([item.rate])}
    if isinstance(item, Data):
        return {"data": [json.dumps(item.value, ensure_ascii=False).encode("utf-8", "replace")]}
    return {}
