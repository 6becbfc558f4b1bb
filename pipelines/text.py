"""Words that are not known: what was probably meant, and what is legal. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.errors import listed

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


def unknown(what: str, word: str, known: Sequence[str]) -> str:
    """``there is no model 'whisper-smal'; did you mean whisper-small? Legal values are …``"""
    if not known:
        return f"there is no {what} {word!r}: none is taken"
    meant = nearest(word, known)
    guess = f"; did you mean {meant}?" if meant else ";"
    return f"there is no {what} {word!r}{guess} {'Legal' if meant else 'legal'} values are {listed(known)}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that is spelled most like ``word``; ``None`` when none is like it."""
    plain = {_plain(one): one for one in known}
    found = get_close_matches(_plain(word), plain, n=1, cutoff=0.7)
    return plain[found[0]] if found else None


def base_url(value: str) -> str:
    """``value``, if the paths of an HTTP API can be put behind it. Raises :class:`ValueError` saying what is legal."""
    legal = "it must be http://HOST[:PORT][/PATH] or the same with https"
    if not value or re.search(r"[\s\x00-\x20\x7f]", value):
        raise ValueError(f"{value!r} is no address: {legal}")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{value!r} is no address ({error}): {legal}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(f"{value!r} is no address: {legal}")
    if parts.query or parts.fragment:
        raise ValueError(f"{value!r} goes on behind its path: {legal}")
    return value


def header_value(value: str) -> str:
    """``value``, if it can travel in an HTTP header as a key. Raises :class:`ValueError`, which does not repeat it."""
    if not value:
        raise ValueError("is empty; leave it unset if there is none")
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ValueError("must be letters, digits and punctuation of ASCII, without spaces: it travels in a header")
    return value


def _plain(word: str) -> str:
    return word.lower().replace("_", "-")


def in_home(path: Path) -> Path:
    """``path`` with the folder that its ``~`` or ``~USER`` stands for. Raises :class:`ValueError`."""
    try:
        return path.expanduser()
    except RuntimeError:  # no such user, or none of this number and no HOME, as in some containers
        raise ValueError(f"{str(path)!r}: {path.parts[0]} is no known home folder; give the whole path") from None
