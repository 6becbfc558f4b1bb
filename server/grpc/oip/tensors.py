"""Tensors of the Open Inference Protocol ↔ numpy arrays, and lists of bytes for ``BYTES``. Pure."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.text import unknown
from server.grpc.generated import grpc_service_pb2 as pb
from server.grpc.shell import bad

Value = Any
"""An array; of ``BYTES`` a list of bytes."""

BYTES = "BYTES"
_KINDS: dict[str, tuple[type, str, int]] = {
    "BOOL": (np.bool_, "bool_contents", pb.TYPE_BOOL),
    "UINT8": (np.uint8, "uint_contents", pb.TYPE_UINT8),
    "UINT16": (np.uint16, "uint_contents", pb.TYPE_UINT16),
    "UINT32": (np.uint32, "uint_contents", pb.TYPE_UINT32),
    "UINT64": (np.uint64, "uint64_contents", pb.TYPE_UINT64),
    "INT8": (np.int8, "int_contents", pb.TYPE_INT8),
    "INT16": (np.int16, "int_contents", pb.TYPE_INT16),
    "INT32": (np.int32, "int_contents", pb.TYPE_INT32),
    "INT64": (np.int64, "int64_contents", pb.TYPE_INT64),
    "FP32": (np.float32, "fp32_contents", pb.TYPE_FP32),
    "FP64": (np.float64, "fp64_contents", pb.TYPE_FP64),
}
"""Type → numpy's, the field for values that are not raw, and the number in a model's configuration."""
DATA_TYPES = {**{name: kind[2] for name, kind in _KINDS.items()}, BYTES: pb.TYPE_STRING}


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a model takes or gives."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    """-1: of any length."""
    optional: bool = False
    """Of an input: whether it may be left out."""

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of that shape is one."""
        return len(shape) == len(self.shape) and all(a in (-1, b) for a, b in zip(self.shape, shape, strict=True))


def read_inputs(request: pb.ModelInferRequest, known: Sequence[Tensor]) -> dict[str, Value]:
    """The inputs by name. Raises :class:`~server.http.errors.HttpError` naming the one that is wrong."""
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise bad("raw_input_contents", f"must be one for each input: {len(request.inputs)}, not {len(raw)}")
    names = {tensor.name: tensor for tensor in known}
    found: dict[str, Value] = {}
    for n, given in enumerate(request.inputs):
        place = f"inputs.{n}"
        tensor = names.get(given.name)
        if tensor is None or given.name in found:
            raise bad(place, unknown("input", given.name[:60], tuple(names)) if tensor is None else "is there twice")
        if given.datatype != tensor.datatype:
            raise bad(f"{place}.datatype", f"of {tensor.name} is {tensor.datatype}, not {given.datatype[:20]!a}")
        if not tensor.takes(given.shape) or min(given.shape, default=1) < 0:
            raise bad(f"{place}.shape", f"of {tensor.name} is {list(tensor.shape)}, not {list(given.shape)}")
        if given.parameters:
            raise bad(f"{place}.parameters", "shared memory and the like are not served", "unsupported_value")
        count = math.prod(given.shape)
        if raw:
            found[tensor.name] = _of_raw(raw[n], tensor, given.shape, count, place)
        else:
            found[tensor.name] = _of_contents(given.contents, tensor, given.shape, count, place)
    for tensor in known:
        if not tensor.optional and tensor.name not in found:
            raise bad("inputs", f"{tensor.name} is missing", "missing_parameter")
    return found


def _of_raw(data: bytes, tensor: Tensor, shape: Sequence[int], count: int, place: str) -> Value:
    if tensor.datatype == BYTES:
        return _elements(data, count, place)
    kind = np.dtype(_KINDS[tensor.datatype][0]).newbyteorder("<")
    if len(data) != count * kind.itemsize:
        raise bad(place, f"must have {count * kind.itemsize} bytes for {list(shape)}, not {len(data)}")
    return np.frombuffer(data, kind).reshape(shape).astype(kind.newbyteorder("="))


def _elements(data: bytes, count: int, place: str) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at < len(data) and len(found) <= count:
        if at + 4 > len(data):
            break
        (size,) = struct.unpack_from("<I", data, at)
        at += 4 + size
        found.append(data[at - size : at])
    if len(found) != count or at != len(data):
        raise bad(place, f"must be {count} elements, each behind its length in four bytes")
    return found


def _of_contents(
    contents: pb.InferTensorContents, tensor: Tensor, shape: Sequence[int], count: int, place: str
) -> Value:
    if tensor.datatype == BYTES:
        values: Any = list(contents.bytes_contents)
    else:
        kind, field, _ = _KINDS[tensor.datatype]
        try:
            values = np.array(getattr(contents, field), kind)
        except (OverflowError, ValueError) as error:
            raise bad(f"{place}.contents", f"holds a number that is no {tensor.datatype}") from error
    if len(values) != count:
        raise bad(f"{place}.contents", f"must have {count} values for {list(shape)}, not {len(values)}")
    return values if tensor.datatype == BYTES else values.reshape(shape)


def write_outputs(
    response: pb.ModelInferResponse, outputs: Mapping[str, Value], known: Sequence[Tensor], *, raw: bool
) -> None:
    """Put outputs into a response: raw, or value by value as the request was."""
    for tensor in known:
        if tensor.name not in outputs:
            continue
        value = outputs[tensor.name]
        made = response.outputs.add(name=tensor.name, datatype=tensor.datatype)
        if tensor.datatype == BYTES:
            made.shape.append(len(value))
            if raw:
                response.raw_output_contents.append(b"".join(struct.pack("<I", len(one)) + one for one in value))
            else:
                made.contents.bytes_contents.extend(value)
            continue
        kind, field, _ = _KINDS[tensor.datatype]
        array: np.ndarray[Any, Any] = np.asarray(value, kind)
        made.shape.extend(array.shape)
        if raw:
            response.raw_output_contents.append(array.astype(array.dtype.newbyteorder("<")).tobytes())
        else:
            getattr(made.contents, field).extend(array.reshape(-1).tolist())


def parameters_of(given: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    """The values of parameters."""
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "string_param") for name, value in given.items()
    }
