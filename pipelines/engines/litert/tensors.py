"""Values of clients → what a tensor stores, and back. Pure."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from media.frames import Pixels
from pipelines.engines.litert.description import Quantisation, TensorInfo

Values = NDArray[Any]


class TensorError(ValueError):
    """A value that the tensor cannot take; the message says what is legal."""


def stored(info: TensorInfo, values: Values, *, as_is: bool = False) -> Values:
    """What ``info`` stores for ``values``. Real values are quantised where the tensor is, unless they are of its own
    type and to be taken ``as_is``.

    Raises :class:`TensorError` for a shape or values that do not fit.
    """
    values = shaped(info, values)
    if as_is and values.dtype == info.dtype:
        return np.ascontiguousarray(values)
    if values.dtype.kind not in "fiub":
        raise TensorError(f"must be numbers, not {values.dtype}")
    if info.quantisation is not None:
        return quantised(info.quantisation, values, info.dtype)
    return _cast(values, info)


def shaped(info: TensorInfo, values: Values) -> Values:
    """``values`` in the shape of ``info``; a first dimension of one may be left out. Raises :class:`TensorError`."""
    for shape in (values.shape, (1, *values.shape)):
        if len(shape) == len(info.shape) and all(
            want in (-1, size) for want, size in zip(info.shape, shape, strict=True)
        ):
            return values.reshape(shape)
    raise TensorError(f"has shape {list(values.shape)}, legal values are {list(info.shape)} (-1 is any size)")


def quantised(how: Quantisation, values: Values, dtype: np.dtype[Any]) -> Values:
    """Real values → stored ones, rounded half to even and held to the range of the type."""
    scales, zeros = _along(how, values.ndim)
    limits = np.iinfo(dtype)
    with np.errstate(invalid="ignore"):
        places = np.rint(values.astype(np.float64) / scales) + zeros
    if not np.isfinite(places).all():
        raise TensorError("holds values that are no numbers, or infinite")
    return np.ascontiguousarray(np.clip(places, limits.min, limits.max).astype(dtype))


def real(info: TensorInfo, values: Values) -> Values:
    """Stored values → real ones, in single precision; those of a tensor that is not quantised as they are."""
    if info.quantisation is None:
        return values
    scales, zeros = _along(info.quantisation, values.ndim)
    return ((values.astype(np.float64) - zeros) * scales).astype(np.float32)


def of_picture(info: TensorInfo, pixels: Pixels, normalisation: tuple[float, float] | None = None) -> Values:
    """An RGB picture as ``info`` stores it: stretched to its size, ``(value - mean) / std`` of the 8-bit values.

    Without a ``normalisation`` it is the file's own, or else: 0–1 for floats, and the 8-bit values themselves for
    integers (shifted by 128 for signed ones), which is how quantised networks for pictures are made. Raises
    :class:`TensorError` where ``info`` is no picture.
    """
    if not info.is_picture:
        raise TensorError(f"a picture does not fit {info.name} of shape {list(info.shape)}")
    height, width, channels = (
        side if side > 0 else have for side, have in zip(info.shape[1:], pixels.shape, strict=True)
    )
    if pixels.shape[:2] != (height, width):
        smaller = pixels.shape[0] * pixels.shape[1] > height * width
        pixels = np.asarray(
            cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.uint8
        )
    if channels == 1:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)[..., None]
    given = normalisation or info.normalisation
    if given is None and info.datatype in ("UINT8", "INT8"):
        return stored(
            info, (pixels.astype(np.int16) - (128 if info.datatype == "INT8" else 0)).astype(info.dtype), as_is=True
        )
    mean, std = given or (0.0, 255.0)
    return stored(info, (pixels.astype(np.float32) - np.float32(mean)) / np.float32(std))


def _along(how: Quantisation, dimensions: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scales and zero points in a shape that numpy spreads over a tensor."""
    if how.scales.size == 1:
        return how.scales.reshape(()), how.zero_points.reshape(-1)[:1].reshape(())
    shape = [1] * dimensions
    shape[how.axis] = -1
    return how.scales.reshape(shape), np.broadcast_to(how.zero_points, how.scales.shape).reshape(shape)


def _cast(values: Values, info: TensorInfo) -> Values:
    if info.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(values.astype(info.dtype))
    if info.dtype.kind == "b":
        return np.ascontiguousarray(values.astype(np.bool_))
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        raise TensorError(f"must be whole numbers: {info.name} is {info.datatype} and not quantised")
    limits = np.iinfo(info.dtype)
    if values.size and (values.min() < limits.min or values.max() > limits.max):
        raise TensorError(f"holds values out of range, legal values are {limits.min} to {limits.max}")
    return np.ascontiguousarray(values.astype(info.dtype))
