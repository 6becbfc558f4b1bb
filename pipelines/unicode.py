"""Text from outside as text that can be written: JSON may hold halves of characters (RFC 8259, section 8.2). Pure."""

from __future__ import annotations

import re

_HALF = re.compile("[\ud800-\udfff]")
_HIGH = re.compile("[\ud800-\udbff]$")


def mended(text: str) -> str:
    """``text`` with the two halves of a character (UTF-16 surrogates) joined, and a lone half replaced by U+FFFD.

    Halves arrive as ``\\ud83d`` and ``\\ude00`` in JSON; a string that holds one cannot be encoded.
    """
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Mender:
    """:func:`mended` for a text in pieces, where a character may be cut in two."""

    def __init__(self) -> None:
        self._half = ""

    def push(self, text: str) -> str:
        """The text so far but for a first half at its end."""
        text = self._half + text
        self._half = text[-1] if _HIGH.search(text) else ""
        return mended(text[:-1] if self._half else text)

    def flush(self) -> str:
        """The text has ended: what stands for a half that was kept."""
        half, self._half = self._half, ""
        return mended(half)
