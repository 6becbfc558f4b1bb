"""Words that are not known: what was probably meant, and what is legal. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from urllib.parse import urlsplit

from pipelines.errors import listed


def unknown(what: str, word: str, known: Sequence[str]) -> str:
    """``there is no model 'whisper-smal'; did you mean whisper-small? Legal are …``"""
    if not known:
        return f"there is no {what} {word!r}: none is taken"
    meant = nearest(word, known)
    guess = f"; did you mean {meant}?" if meant else ";"
    return f"there is no {what} {word!r}{guess} {'Legal' if meant else 'legal'} are {listed(known)}"


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
