"""Tiny ``.tflite`` models, built with the schema that comes with LiteRT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest

schema: Any = pytest.importorskip(
    "ai_edge_litert.schema_py_generated", reason="LiteRT is not installed: pip install ai-edge-litert"
)
KINDS = {"<f4": 0, "<i4": 2, "|u1": 3, "<i8": 4, "|i1": 9}


class Graph:
    """A model in the making: tensors, then operators between them."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "<f4",
        quantised: tuple[Sequence[float], Sequence[int]] | None = None,
        values: Any = None,
    ) -> int:
        """Add one; its number. ``values``: of a constant."""
        tensor = schema.TensorT()
        tensor.name, tensor.type = name, KINDS[dtype]
        tensor.shape = [max(1, size) for size in shape]
        if -1 in shape:
            tensor.shapeSignature = list(shape)
        tensor.buffer = 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(values, dtype).tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        if quantised is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = list(quantised[0]), list(quantised[1])
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, name: str, takes: Sequence[int], gives: Sequence[int], options: Any = None) -> None:
        """Add one, such as ``ADD``."""
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = {"FULLY_CONNECTED": 4}.get(name, 1)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes)
        operator.inputs, operator.outputs = list(takes), list(gives)
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.model.operatorCodes.append(code)
        self.graph.operators.append(operator)

    def save(
        self, file: Path, takes: Sequence[int], gives: Sequence[int], signature: dict[str, int] | None = None
    ) -> Path:
        """Write it; ``signature``: names for its tensors, in one called ``serve``."""
        self.graph.inputs, self.graph.outputs = list(takes), list(gives)
        if signature is not None:
            told = schema.SignatureDefT()
            told.signatureKey, told.subgraphIndex = "serve", 0
            told.inputs = [_named(name, n) for name, n in signature.items() if n in takes]
            told.outputs = [_named(name, n) for name, n in signature.items() if n in gives]
            self.model.signatureDefs = [told]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(builder.Output()))
        return file


def _named(name: str, tensor: int) -> Any:
    told = schema.TensorMapT()
    told.name, told.tensorIndex = name, tensor
    return told


def adds(file: Path, shape: Sequence[int] = (1, 4), dtype: str = "<f4", signature: bool = False) -> Path:
    """``y = x + x``."""
    graph = Graph()
    x, y = graph.tensor("x", shape, dtype), graph.tensor("y", shape, dtype)
    graph.operator("ADD", [x, x], [y], schema.AddOptionsT())
    return graph.save(file, [x], [y], {"left": x, "sum": y} if signature else None)


WEIGHTS = np.array([[1.0, -0.5, 0.25, 0.0], [0.5, 0.5, -1.0, 2.0]])
BIAS = np.array([0.25, -0.5])


def int8_layer(file: Path) -> Path:
    """``y = WEIGHTS @ x + BIAS`` with int8 in and out: x in steps of 1/64 around -3, y in steps of 1/16 around 5."""
    graph = Graph()
    scale = 1 / 64
    x = graph.tensor("x", (1, 4), "|i1", ([1 / 64], [-3]))
    weights = graph.tensor("w", (2, 4), "|i1", ([scale], [0]), np.rint(WEIGHTS / scale).clip(-127, 127))
    bias = graph.tensor("b", (2,), "<i4", ([scale / 64], [0]), np.rint(BIAS / (scale / 64)))
    y = graph.tensor("y", (1, 2), "|i1", ([1 / 16], [5]))
    graph.operator("FULLY_CONNECTED", [x, weights, bias], [y], schema.FullyConnectedOptionsT())
    return graph.save(file, [x], [y])


def grey_mean(file: Path, dtype: str = "|u1") -> Path:
    """A picture of 8 by 8 → its columns' means, quantised as networks for pictures are."""
    graph = Graph()
    how = ([1 / 255], [-128 if dtype == "|i1" else 0])
    x = graph.tensor("picture", (1, 8, 8, 3), dtype, how)
    axes = graph.tensor("axes", (2,), "<i4", values=[1, 2])
    y = graph.tensor("colour", (1, 3), dtype, how)
    options = schema.ReducerOptionsT()
    options.keepDims = False
    graph.operator("MEAN", [x, axes], [y], options)
    return graph.save(file, [x], [y])
