"""Fields of a task's input that hold a file: bytes, base64 or a ``data:`` URL. Nothing is ever fetched or opened."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

LARGEST_FIELD = 48 << 20
"""Bytes of a decoded field; tasks that take less say so."""
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(;[^,]*)?,", re.ASCII)
_ADDRESS = re.compile(r"[a-zA-Z][\w+.-]*://", re.ASCII)


def _bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a file in base64, or a data: URL of one")
    if _ADDRESS.match(value):
        raise ValueError("addresses are not fetched: send the file itself, in base64 or as a data: URL")
    url = _DATA_URL.match(value)
    if value.startswith("data:") and (url is None or ";base64" not in (url[2] or "")):
        raise ValueError("a data: URL must be in base64, as in data:image/png;base64,…")
    if len(value) > LARGEST_FIELD * 4 // 3 + 200:
        raise ValueError(f"is larger than {LARGEST_FIELD >> 20} MiB")
    try:
        data = base64.b64decode(value[url.end() :] if url else value, validate=True)
    except binascii.Error:
        raise ValueError("is not base64") from None
    if not data:
        raise ValueError("is empty")
    return data


FileBytes = Annotated[
    bytes, BeforeValidator(_bytes), WithJsonSchema({"type": "string", "contentEncoding": "base64"}, "validation")
]
"""The bytes of a file. Pictures are unpacked by :func:`pipelines.vision.images.still`, sounds by
:func:`media.files.decode`, both on a worker's thread."""
