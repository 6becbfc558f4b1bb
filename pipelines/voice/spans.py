"""Parts of a growing text that are not to be cut: links, formulas, code, tags, addresses. Pure.

``regex`` tells whether a text may be the beginning of such a part (a partial match), which :mod:`re` cannot.
"""

from __future__ import annotations

import regex

_OPENS = regex.compile(r"(?<!\\)(?:[`\[$<]|\\[(\[])")
_SPAN = regex.compile(
    r"""
      `[^`\n]{1,200}`
    | \[ [^\[\]\n]{0,300} \]
      (?: \( [^()\s]{0,2000} (?: \([^()\s]{0,200}\) [^()\s]{0,200} ){0,4} (?: [ ]+ "[^"\n]{0,200}" )? \)
        | [ ]? \[ [^\[\]\n]{0,100} \] )
    | \$\$ [^$]{1,300} \$\$
    | \$ (?: [^\s$\d\n] | \d[\d.,]* (?: [\\^_] | [a-zA-Z](?<![kKmMbBtT])(?![a-zA-Z]) ) )
      (?: [^$\n]{0,100} [^\s$\\\n] )? \$ (?!\w)
    | \\\( .{1,300}? \\\)
    | \\\[ (?s:.{1,300}?) \\\]
    | <!-- (?s:.{0,300}?) -->
    | < /? [a-zA-Z] [^<>\n]{0,300} >
    """,
    regex.VERBOSE,
)
_ADDRESS = regex.compile(r"(?:https?|ftp|wss?)://\S*|www\.\S*", regex.IGNORECASE)
LONGEST_ADDRESS = 4_000
"""Characters."""


def spans(text: str) -> tuple[list[tuple[int, int]], int | None]:
    """Where parts of ``text`` that are not to be cut begin and end, and where one begins that is not complete yet."""
    found: list[tuple[int, int]] = []
    at = 0
    while (opening := _OPENS.search(text, at)) is not None:
        match = _SPAN.match(text, opening.start(), partial=True)
        if match is None:
            at = opening.end()
        elif match.partial:
            return found, opening.start()
        else:
            found.append(match.span())
            at = match.end()
    return found, None


def is_address(token: str) -> bool:
    """Whether a word is an address, or as far as it has come."""
    return _ADDRESS.match(token) is not None


def address_end(text: str, at: int) -> int | None:
    """Where the address ends that holds position ``at`` of ``text``, ``len(text)`` if it may go on; ``None``: none."""
    begin = max(text.rfind(space, 0, at) for space in " \n\t\r") + 1
    match = _ADDRESS.match(text, begin)
    return match.end() if match is not None and match.end() > at else None
