"""Text from outside as text that can be written: JSON may hold halves of characters (RFC 8259, section 8.2). Pure."""

from __future__ import annotations

import re

_HALF = re.compile("[\ud800-\udfff]")
_UNSURE = re.compile("\N{REPLACEMENT CHARACTER}*[\ud800-\udbff]?\\Z")
"""At the end of a piece: what may be the beginning of a character, or stand for one."""


def mended(text: str) -> str:
    """``text`` with the two halves of a character (UTF-16 surrogates) joined, and a lone half replaced by U+FFFD.

    Halves arrive as ``\\ud83d`` and ``\\ude00`` in JSON; a string that holds one cannot be encoded.
    """
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Mender:
    """:func:`mended` for a text in pieces, where a character may be cut in two.

    Bytes that are no character yet may already come as U+FFFD, too.
    """

    def __init__(self) -> None:
        self._half = ""

    def push(self, text: str) -> str:
        """The text so far but for what may be part of a character at its end."""
        text = self._half + text
        unsure = _UNSURE.search(text)
        assert unsure is not None, "it matches nothing, too"
        self._half = unsure[0]
        return mended(text[: unsure.start()])

    def flush(self, *, cut: bool = False) -> str:
        """The text has ended: what stands for a part that was kept; nothing if the text was ``cut`` there."""
        half, self._half = self._half, ""
        return "" if cut else mended(half)
