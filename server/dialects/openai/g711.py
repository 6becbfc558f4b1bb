"""G.711 (ITU-T, 1988): µ-law and A-law, 8 bits a sample, as telephones carry speech at 8 kHz. Pure."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples

Law = Literal["pcmu", "pcma"]
"""µ-law (North America, Japan) or A-law, as RTP calls them (RFC 3551 §4.5.14)."""
RATE = 8_000
"""Hertz."""

_LINEAR = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
"""Every 16-bit sample, at the place of its bits."""
_CODES = np.arange(256, dtype=np.int32)


def _mu_compressed() -> NDArray[np.uint8]:
    """Sign, 3 bits of exponent and 4 of mantissa of the magnitude plus a bias of 132, inverted."""
    sign = np.where(_LINEAR < 0, 0x80, 0)
    magnitude = np.minimum(np.abs(_LINEAR), 32635) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    compressed: NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return compressed


def _mu_expanded() -> Samples:
    code = ~_CODES & 0xFF
    magnitude = (((code & 0x0F) << 3) + 132 << ((code >> 4) & 7)) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _a_compressed() -> NDArray[np.uint8]:
    """Sign, 3 bits of segment and 4 of mantissa of the 13 upper bits; every other bit inverted."""
    upper = _LINEAR >> 3
    magnitude = np.where(upper < 0, ~upper, upper)
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    mantissa = (magnitude >> np.maximum(segment, 1)) & 0x0F
    compressed: NDArray[np.uint8] = (((segment << 4) | mantissa) ^ np.where(upper < 0, 0x55, 0xD5)).astype(np.uint8)
    return compressed


def _a_expanded() -> Samples:
    code = _CODES ^ 0x55
    segment = (code >> 4) & 7
    step = ((code & 0x0F) << 4) + 8
    magnitude = np.where(segment > 0, step + 0x100 << np.maximum(segment - 1, 0), step)
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_COMPRESSED = {"pcmu": _mu_compressed(), "pcma": _a_compressed()}
_EXPANDED = {"pcmu": _mu_expanded(), "pcma": _a_expanded()}


def compress(samples: Samples, law: Law) -> bytes:
    """Mono samples, shape ``(n,)``, as ``n`` bytes."""
    return _COMPRESSED[law][samples.view(np.uint16)].tobytes()


def expand(data: bytes, law: Law) -> Samples:
    """``n`` bytes as samples, shape ``(n,)``."""
    expanded: Samples = _EXPANDED[law][np.frombuffer(data, np.uint8)]
    return expanded
