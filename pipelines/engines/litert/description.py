"""What a ``.tflite`` file says of itself: signatures, tensors, how they are quantised, and how pictures are wanted.

LiteRT's ``CompiledModel`` tells names and shapes but neither scales nor free dimensions, so the file is read here
(https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs); nothing of it
is loaded for that.
"""

from __future__ import annotations

import mmap
import struct
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ModelError

DATATYPES: dict[int, str] = {
    0: "FP32", 1: "FP16", 2: "INT32", 3: "UINT8", 4: "INT64", 6: "BOOL", 7: "INT16", 9: "INT8", 10: "FP64",
    12: "UINT64", 15: "UINT32", 16: "UINT16",
}  # fmt: skip
"""Types of the schema → names as in KServe's protocol. Others, such as texts, cannot be given or taken here."""
NUMPY: dict[str, str] = {
    "FP32": "<f4", "FP16": "<f2", "FP64": "<f8", "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "BOOL": "?",
}  # fmt: skip
"""The same names → numpy's."""
_METADATA = b"TFLITE_METADATA"
_MOST_LABELS = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Quantisation:
    """``real = (stored - zero point) * scale``, for the whole tensor or for each place along ``axis``."""

    scales: NDArray[np.float64]
    zero_points: NDArray[np.int64]
    axis: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TensorInfo:
    """One input or output."""

    name: str
    datatype: str
    """One of :data:`NUMPY`; the schema's number for what is none of them."""
    shape: tuple[int, ...]
    """-1: any size."""
    quantisation: Quantisation | None = None
    normalisation: tuple[float, float] | None = None
    """Mean and standard deviation of the 8-bit values of a picture, where the file's metadata tells them."""
    labels: tuple[str, ...] = ()
    """What the places of an output mean, where a file of labels comes with the model."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As numpy has it."""
        return np.dtype(NUMPY[self.datatype])

    @property
    def is_picture(self) -> bool:
        """Whether it is one RGB or grey picture: ``[1, height, width, 1 or 3]``."""
        return len(self.shape) == 4 and self.shape[0] in (1, -1) and self.shape[3] in (1, 3)


@dataclass(frozen=True, slots=True)
class Signature:
    """One function of a model."""

    name: str
    """Empty for a model that names none."""
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """One model."""

    signatures: tuple[Signature, ...]

    def json(self) -> dict[str, Any]:
        """For clients."""
        return {
            "signatures": [
                {
                    "name": one.name,
                    "inputs": [*map(_tensor_json, one.inputs)],
                    "outputs": [*map(_tensor_json, one.outputs)],
                }
                for one in self.signatures
            ]
        }


def describe(file: Path) -> Description:
    """Read ``file``. Raises :class:`ModelError`: ``model_broken``, or ``model_not_here`` without LiteRT."""
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise ModelError(
            "model_not_here", f"LiteRT cannot be imported ({error}): pip install ai-edge-litert"
        ) from error
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[4:8] != b"TFL3":
                raise ModelError("model_broken", f"{file.name} is no .tflite model")
            root: Any = schema.Model.GetRootAs(data, 0)
            found = Description(tuple(_signatures(root, _Notes(root, file))))
            del root  # what it points into is about to be closed
    except (OSError, ValueError, IndexError, TypeError, AttributeError, BufferError, struct.error) as error:
        raise ModelError("model_broken", f"{file.name} cannot be read: {type(error).__name__}") from error
    for signature in found.signatures:
        for tensor in (*signature.inputs, *signature.outputs):
            if tensor.datatype not in NUMPY:
                legal = ", ".join(NUMPY)
                message = f"{file.name}: {tensor.name} has type {tensor.datatype}, legal values are {legal}"
                raise ModelError("model_broken", message)
    return found


def _signatures(root: Any, notes: _Notes) -> Iterator[Signature]:
    for n in range(root.SignatureDefsLength()):
        one = root.SignatureDefs(n)
        graph = root.Subgraphs(one.SubgraphIndex())
        inputs = [(one.Inputs(i).Name(), one.Inputs(i).TensorIndex()) for i in range(one.InputsLength())]
        outputs = [(one.Outputs(i).Name(), one.Outputs(i).TensorIndex()) for i in range(one.OutputsLength())]
        yield _signature(one.SignatureKey().decode(), graph, inputs, outputs, notes)
    if not root.SignatureDefsLength():
        graph = root.Subgraphs(0)
        inputs = [(None, graph.Inputs(i)) for i in range(graph.InputsLength())]
        outputs = [(None, graph.Outputs(i)) for i in range(graph.OutputsLength())]
        yield _signature("", graph, inputs, outputs, notes)


def _signature(
    name: str,
    graph: Any,
    inputs: list[tuple[bytes | None, int]],
    outputs: list[tuple[bytes | None, int]],
    notes: _Notes,
) -> Signature:
    ins, outs = graph.InputsAsNumpy().tolist(), graph.OutputsAsNumpy().tolist()
    return Signature(
        name,
        tuple(_tensor(graph.Tensors(index), name, notes.of_input(ins.index(index))) for name, index in inputs),
        tuple(_tensor(graph.Tensors(index), name, notes.of_output(outs.index(index))) for name, index in outputs),
    )


def _tensor(tensor: Any, name: bytes | None, note: _Note) -> TensorInfo:
    shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
    if tensor.ShapeSignatureLength():
        shape = tensor.ShapeSignatureAsNumpy()
    return TensorInfo(
        (tensor.Name() if name is None else name).decode("utf-8", "replace"),
        DATATYPES.get(tensor.Type(), str(tensor.Type())),
        tuple(int(size) for size in shape),
        _quantisation(tensor),
        note.normalisation,
        note.labels,
    )


def _quantisation(tensor: Any) -> Quantisation | None:
    told = tensor.Quantization()
    if told is None or not told.ScaleLength() or tensor.Type() in (0, 1, 10):
        return None
    scales = np.array(told.ScaleAsNumpy(), np.float64)
    zeros = np.array(told.ZeroPointAsNumpy(), np.int64) if told.ZeroPointLength() else np.zeros(scales.size, np.int64)
    return Quantisation(scales, zeros, int(told.QuantizedDimension()))


@dataclass(frozen=True, slots=True)
class _Note:
    normalisation: tuple[float, float] | None = None
    labels: tuple[str, ...] = ()


class _Notes:
    """TFLite metadata: how the pictures of the first signature are wanted, and the labels of its outputs."""

    def __init__(self, root: Any, file: Path) -> None:
        self._file = file
        self._inputs: list[_Note] = []
        self._outputs: list[_Note] = []
        with suppress(ImportError, ValueError, IndexError, TypeError, AttributeError):
            self._read(root)

    def of_input(self, n: int) -> _Note:
        return self._inputs[n] if n < len(self._inputs) else _Note()

    def of_output(self, n: int) -> _Note:
        return self._outputs[n] if n < len(self._outputs) else _Note()

    def _read(self, root: Any) -> None:
        places = [
            root.Metadata(n).Buffer() for n in range(root.MetadataLength()) if root.Metadata(n).Name() == _METADATA
        ]
        if not places:
            return
        from mediapipe.tasks.metadata import metadata_schema_py_generated as schema

        data = root.Buffers(places[0]).DataAsNumpy().tobytes()
        graph = schema.ModelMetadataT.InitFromPackedBuf(data, 0).subgraphMetadata[0]
        self._inputs = [_Note(normalisation=_normalisation(one, schema)) for one in graph.inputTensorMetadata or ()]
        self._outputs = [_Note(labels=self._labels(one)) for one in graph.outputTensorMetadata or ()]

    def _labels(self, tensor: Any) -> tuple[str, ...]:
        for one in tensor.associatedFiles or ():
            with suppress(KeyError, OSError, zipfile.BadZipFile), zipfile.ZipFile(self._file) as archive:
                lines = archive.read(one.name).decode("utf-8", "replace").splitlines()
                return tuple(lines[:_MOST_LABELS])
        return ()


def _normalisation(tensor: Any, schema: Any) -> tuple[float, float] | None:
    for unit in tensor.processUnits or ():
        if unit.optionsType == schema.ProcessUnitOptions.NormalizationOptions:
            return float(unit.options.mean[0]), float(unit.options.std[0])
    return None


def _tensor_json(info: TensorInfo) -> dict[str, Any]:
    told: dict[str, Any] = {"name": info.name, "datatype": info.datatype, "shape": list(info.shape)}
    if info.quantisation is not None:
        told["quantization"] = {
            "scales": info.quantisation.scales.tolist(),
            "zero_points": info.quantisation.zero_points.tolist(),
            "axis": info.quantisation.axis,
        }
    if info.normalisation is not None:
        told["normalization"] = {"mean": info.normalisation[0], "std": info.normalisation[1]}
    if info.labels:
        told["labels"] = list(info.labels)
    return told
