"""``tflite``: any ``.tflite`` model on LiteRT, by its own names: tensors or a picture in, tensors out."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from pipelines.engines.litert.description import NUMPY, Description, Signature, TensorInfo, describe
from pipelines.engines.litert.modules import LiteRtLoader, LiteRtModel, LiteRtOptions, Request
from pipelines.engines.litert.tensors import TensorError, Values, of_picture, real, stored
from pipelines.errors import PipelineError
from pipelines.interfaces.media_fields import FileBytes
from pipelines.interfaces.task import Done, Job, TaskError, TaskSpec
from pipelines.tasks.image.pictures import Fields, PictureBytes, unpacked

Datatype = Literal[
    "FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL"
]
_MOST_DIMENSIONS = 8


class GivenTensor(Fields):
    """One input: one of ``data``, ``base64`` and ``npy``."""

    data: Any = None
    """Numbers in lists within lists, or all in one list with ``shape``."""
    base64: FileBytes | None = None
    """The bytes of the values, little endian, row by row; needs ``datatype``, and ``shape``."""
    npy: FileBytes | None = None
    """A file of numpy."""
    datatype: Datatype | None = None
    """Of the values. The stored type of a quantised tensor means that they are as stored; else they are real ones."""
    shape: tuple[int, ...] | None = Field(None, max_length=_MOST_DIMENSIONS)

    @model_validator(mode="after")
    def _is_one(self) -> GivenTensor:
        given = [name for name in ("data", "base64", "npy") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs one of data, base64 and npy, not {' and '.join(given) or 'none'}")
        if self.base64 is not None and (self.datatype is None or self.shape is None):
            raise ValueError("base64: needs datatype and shape beside it")
        if self.shape is not None and any(size < 0 for size in self.shape):
            raise ValueError("shape: sizes are 0 or more")
        return self


class TfliteInputs(Fields):
    """A picture, tensors by name, or both."""

    image: PictureBytes | None = None
    """For the first input that is a picture and not among ``tensors``; stretched to its size."""
    tensors: dict[str, GivenTensor | list[Any] | float] = Field(default_factory=dict)
    """Name of the input → its values; a list is short for ``{"data": list}``."""


class TfliteParameters(Fields):
    """How it is run and told."""

    signature: str = Field("", max_length=200)
    """Which of the model's functions; empty: the first."""
    outputs: tuple[str, ...] = ()
    """Those that are told; empty: all."""
    encoding: Literal["json", "base64", "npy"] = "json"
    """How values are told."""
    dequantize: bool = True
    """Quantised outputs as real values; ``false``: as they are stored."""
    mean: float | None = Field(None, allow_inf_nan=False)
    """Of the picture's 8-bit values, with ``std``: ``(value - mean) / std``. Without them as the file tells, or else
    0–1 for floats, and as they are for integers."""
    std: float | None = Field(None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _go_together(self) -> TfliteParameters:
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"{'mean' if self.mean is None else 'std'}: is missing, mean and std go together")
        return self


class TakenTensor(Fields):
    """One output, its values in ``data``, ``base64`` or ``npy``, as they were asked for. Values that are no numbers are
    ``null`` in ``data``."""

    datatype: str
    shape: list[int]
    data: Any = None
    base64: bytes | None = None
    npy: bytes | None = None


class TfliteOutput(Fields):
    """All outputs by name."""

    signature: str
    outputs: dict[str, TakenTensor]


def run(model: LiteRtModel, jobs: Sequence[Job[TfliteInputs, TfliteParameters]]) -> list[Done | PipelineError]:
    """The outputs of each item."""
    asked: list[tuple[Request, Signature] | TaskError] = []
    for job in jobs:
        try:
            asked.append(_request(model.description, job))
        except TaskError as error:
            asked.append(error)
    answers = iter(model.run([one[0] for one in asked if not isinstance(one, TaskError)]))
    results: list[Done | PipelineError] = []
    for one, job in zip(asked, jobs, strict=True):
        answer = one if isinstance(one, TaskError) else next(answers)
        if isinstance(one, TaskError) or isinstance(answer, TaskError):
            results.append(answer)  # type: ignore[arg-type]
        else:
            results.append(Done(_told(one[1], answer, job.parameters)))
    return results


def tell(file: Path) -> dict[str, Any]:
    """Signatures, tensors and how they are quantised."""
    return describe(file).json()


def _request(description: Description, job: Job[TfliteInputs, TfliteParameters]) -> tuple[Request, Signature]:
    names = [one.name for one in description.signatures]
    wanted = job.parameters.signature
    if wanted and wanted not in names:
        raise TaskError("invalid_value", f"parameters.signature: is {wanted!r}, legal values are {_legal(names)}")
    number = names.index(wanted) if wanted else 0
    signature = description.signatures[number]
    if unknown := [name for name in job.parameters.outputs if name not in (one.name for one in signature.outputs)]:
        legal = _legal([one.name for one in signature.outputs])
        raise TaskError("invalid_value", f"parameters.outputs: is {unknown[0]!r}, legal values are {legal}")
    return Request(number, _inputs(signature, job)), signature


def _inputs(signature: Signature, job: Job[TfliteInputs, TfliteParameters]) -> list[Values]:
    given, picture = job.inputs.tensors, job.inputs.image
    known = [one.name for one in signature.inputs]
    if unknown := [name for name in given if name not in known]:
        raise TaskError("invalid_value", f"tensors: has {unknown[0][:200]!r}, legal values are {_legal(known)}")
    values: list[Values] = []
    for info in signature.inputs:
        if info.name in given:
            values.append(_of(info, given[info.name]))
        elif picture is not None and info.is_picture:
            values.append(_of_picture(info, picture, job.parameters))
            picture = None
        else:
            shape = list(info.shape)
            raise TaskError("invalid_value", f"tensors: lacks {info.name}, {info.datatype} of shape {shape}")
    if picture is not None:
        raise TaskError("invalid_value", f"image: no input is a picture that is not given: {_shapes(signature.inputs)}")
    return values


def _of(info: TensorInfo, given: GivenTensor | list[Any] | float) -> Values:
    tensor = given if isinstance(given, GivenTensor) else GivenTensor(data=given)
    try:
        values = _array(tensor)
        return stored(info, values, as_is=tensor.datatype is not None or tensor.npy is not None)
    except TensorError as error:
        raise TaskError("invalid_value", f"tensors.{info.name}: {error}") from error


def _of_picture(info: TensorInfo, picture: bytes, wishes: TfliteParameters) -> Values:
    how = (wishes.mean, wishes.std) if wishes.mean is not None and wishes.std is not None else None
    try:
        return of_picture(info, unpacked(picture), how)
    except TensorError as error:
        raise TaskError("invalid_value", f"image: {error}") from error


def _array(given: GivenTensor) -> Values:
    """Raises :class:`TensorError`."""
    dtype = None if given.datatype is None else np.dtype(NUMPY[given.datatype])
    try:
        if given.npy is not None:
            values = _of_npy(given.npy)
        elif given.base64 is not None:
            values = np.frombuffer(given.base64, dtype)
        else:
            values = np.asarray(given.data, dtype)
        if given.shape is not None:
            values = values.reshape(given.shape)
    except (ValueError, TypeError, OverflowError, EOFError) as error:
        raise TensorError(f"cannot be read: {str(error)[:200]}") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        raise TensorError("must be numbers, in lists of equal length")
    return values


def _of_npy(data: bytes) -> Values:
    """The array in a file of numpy: one only, of numbers, with as many bytes as its header says.

    ``numpy.load`` makes room for what the header says before it looks at what there is, and opens archives of several.
    Raises :class:`TensorError`.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, is_fortran, dtype = read(file)
    except (ValueError, KeyError, TypeError, SyntaxError, TokenError, MemoryError, RecursionError) as error:
        raise TensorError("cannot be read: it does not begin as a file of numpy with one array") from error
    rest = len(data) - file.tell()
    if dtype.kind not in "fiub":
        raise TensorError("must be numbers")
    if math.prod(shape) * dtype.itemsize != rest:
        raise TensorError(f"cannot be read: its header tells of {list(shape)} of {dtype}, and {rest} bytes follow")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if is_fortran else "C")


def _told(signature: Signature, outputs: Sequence[Values], wishes: TfliteParameters) -> dict[str, Any]:
    told = {
        info.name: _encoded(real(info, values) if wishes.dequantize else values, wishes.encoding)
        for info, values in zip(signature.outputs, outputs, strict=True)
        if not wishes.outputs or info.name in wishes.outputs
    }
    return {"signature": signature.name, "outputs": told}


_NAMES = {np.dtype(numpy): name for name, numpy in NUMPY.items()}


def _encoded(values: Values, encoding: str) -> dict[str, Any]:
    head = {"datatype": _NAMES[values.dtype], "shape": list(values.shape)}
    if encoding == "base64":
        return {**head, "base64": values.tobytes()}
    if encoding == "npy":
        file = io.BytesIO()
        np.save(file, values, allow_pickle=False)
        return {**head, "npy": file.getvalue()}
    if values.dtype.kind == "f" and not np.isfinite(values).all():  # JSON has no word for these
        return {**head, "data": _with_nulls(values).tolist()}
    return {**head, "data": values.tolist()}


def _with_nulls(values: Values) -> Values:
    found = values.astype(object)
    found[~np.isfinite(values)] = None
    return found


def _legal(names: Sequence[str]) -> str:
    return ", ".join(name or "(empty)" for name in names)


def _shapes(inputs: Sequence[TensorInfo]) -> str:
    return "; ".join(f"{one.name} {one.datatype} {list(one.shape)}" for one in inputs)


SPEC: TaskSpec[LiteRtModel, TfliteInputs, TfliteParameters] = TaskSpec(
    "tflite",
    "Runs any `.tflite` model by its own names: tensors or a picture in, tensors out",
    TfliteInputs,
    TfliteParameters,
    TfliteOutput,
    LiteRtLoader(LiteRtOptions()).load,
    run,
    packages=("ai_edge_litert",),
    library="litert",
    files="*.tflite",
    tell=tell,
    unload=LiteRtModel.close,
    batch=8,
)
