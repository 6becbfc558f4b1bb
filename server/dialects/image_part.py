"""``input_image``: a picture in a message of the client. Only its header is read; nothing is decoded or fetched."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Literal

from pipelines.ports import Image
from pipelines.vision.stills import jpeg_size

LONGEST_SIDE = 2048
"""Pixels; language models make larger ones smaller anyway."""
_FORM = 'must be a data URI of a JPEG or PNG, such as "data:image/jpeg;base64,…"; addresses are not fetched'


def read_image(uri: object) -> Image:
    """The picture of a data URI. Raises ``ValueError`` telling what is legal."""
    if not isinstance(uri, str):
        raise ValueError(_FORM)
    head, comma, body = uri.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise ValueError(_FORM)
    try:
        data = base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ValueError(_FORM) from error
    kind, size = _header(data)
    if max(size) > LONGEST_SIDE or min(size) < 1:
        raise ValueError(f"must have 1 to {LONGEST_SIDE} pixels a side, not {size[0]}x{size[1]}")
    return Image(data, kind)


def _header(data: bytes) -> tuple[Literal["image/jpeg", "image/png"], tuple[int, int]]:
    """Kind and size, whatever the URI says it is."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        return "image/png", struct.unpack(">II", data[16:24])
    if data.startswith(b"\xff\xd8"):
        if (size := jpeg_size(data)) is None:
            raise ValueError("the JPEG has no frame header: it is cut off or broken")
        return "image/jpeg", size
    raise ValueError(_FORM)
