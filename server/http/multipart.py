"""``multipart/form-data`` (RFC 7578) → its fields. Pure, for bodies that have been read within bounds.

Large ones are to be read on a worker's thread: a boundary is looked for in short steps, so that the event loop gets its
turn in between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_FIELDS = 64
"""Fields of a form."""
_LONGEST_HEAD = 8_192
"""Bytes of the headers of a field."""
_STEP = 1 << 20
"""Bytes that are searched at a time."""
_LONGEST_TEXT = 1 << 16
"""Bytes of a field that is no file."""
_BOUNDARY = re.compile(
    r'multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,200})"|([^\s;",]{1,200}))', re.IGNORECASE
)
_DISPOSITION = re.compile(rb"content-disposition[ \t]*:[ \t]*form-data[ \t]*;([^\r\n]*)", re.IGNORECASE)
_PARAMETER = re.compile(rb'(?:^|;)[ \t]*(name|filename)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)


class MultipartError(ValueError):
    """A body is no form; the message tells why, in words for its sender."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field."""

    name: str
    data: bytes
    filename: str | None = None
    """Of a file."""

    @property
    def text(self) -> str:
        """The value of a field that is no file. Raises :class:`MultipartError`."""
        if len(self.data) > _LONGEST_TEXT:
            raise MultipartError(f"the field {self.name} has more than {_LONGEST_TEXT} bytes")
        try:
            return self.data.decode()
        except UnicodeDecodeError as error:
            raise MultipartError(f"the field {self.name} is no UTF-8") from error


def read_form(content_type: str, body: bytes) -> list[Field]:
    """The fields of a form, in order. Raises :class:`MultipartError`."""
    found = _BOUNDARY.match(content_type.strip())
    if found is None:
        raise MultipartError("the Content-Type must be multipart/form-data with a boundary")
    line = b"--" + (found[1] or found[2]).encode("utf-8", "surrogateescape")
    place = 0 if body.startswith(line) else _find(body, b"\r\n" + line, 0) + 2
    if place == 1:
        raise MultipartError("the body does not hold the boundary that its Content-Type names")
    fields: list[Field] = []
    while True:
        place += len(line)
        if body.startswith(b"--", place):
            return fields
        if len(fields) == MOST_FIELDS:
            raise MultipartError(f"a form may have {MOST_FIELDS} fields")
        begin = body.find(b"\r\n\r\n", place, place + _LONGEST_HEAD)
        end = _find(body, b"\r\n" + line, begin + 2)
        if begin < 0 or end < 0:
            raise MultipartError("the form breaks off in the middle of a field")
        fields.append(_field(body[place : begin + 2], body[begin + 4 : end]))
        place = end + 2


def _find(body: bytes, what: bytes, begin: int) -> int:
    """Where ``what`` is, from ``begin`` on; -1: nowhere."""
    for at in range(max(0, begin), len(body), _STEP):
        if (place := body.find(what, at, at + _STEP + len(what) - 1)) >= 0:
            return place
    return -1


def _field(head: bytes, data: bytes) -> Field:
    disposition = _DISPOSITION.search(head)
    if disposition is None:
        raise MultipartError("a field has no Content-Disposition: form-data")
    found = {
        name.lower(): (quoted or plain).decode("utf-8", "replace")
        for name, quoted, plain in _PARAMETER.findall(disposition[1])
    }
    if b"name" not in found:
        raise MultipartError("a field has no name")
    return Field(found[b"name"], data, found.get(b"filename"))
