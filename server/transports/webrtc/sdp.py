"""Reads session descriptions (RFC 8866) as far as an offer needs it: text in, sections and attributes out. Pure.

The limits stand before everything that costs more than a line of text: browsers and apps stay far below them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

LARGEST_SDP = 256 * 1024
"""Characters; a browser's offer with four sections has about 12,000."""
MOST_LINES = 3000
"""A browser's section of video has about 130."""
MOST_SECTIONS = 16
"""A camera, a screen, two voices and events make five."""
MOST_FORMATS = 128
"""Per section: there are no more payload types."""
MOST_CANDIDATES = 256
"""In all sections together; ten interfaces, two components, UDP and TCP in four sections make 160."""

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]

_ATTRIBUTE = re.compile(r"a=([^:\s]+)(?::(.*))?")


class SdpError(Exception):
    """The description cannot be read; the message says where and what is legal."""


Attributes = Mapping[str, Sequence[str]]
"""What ``a=`` lines say: name → values in their order, empty ones for flags."""


@dataclass(frozen=True, slots=True)
class Section:
    """One ``m=`` line with its attributes."""

    index: int
    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    attributes: Attributes = field(default_factory=dict)

    def value(self, name: str) -> str | None:
        """The first value of an attribute, without blanks around it."""
        values = self.attributes.get(name)
        return values[0].strip() if values else None

    def values(self, name: str) -> Sequence[str]:
        """All values of an attribute."""
        return self.attributes.get(name, ())

    @property
    def is_offered(self) -> bool:
        """Whether it is in use: port 0 refuses it, but not when it only has no port of its own (RFC 9143 §6)."""
        return self.port != 0 or "bundle-only" in self.attributes

    @property
    def name(self) -> str:
        """For messages."""
        return f"section {self.index} (m={self.kind})"


@dataclass(frozen=True, slots=True)
class Description:
    """A whole session description."""

    attributes: Attributes
    sections: tuple[Section, ...]

    def value(self, section: Section, name: str) -> str | None:
        """An attribute of the section, or that of the session which stands for it."""
        own = section.value(name)
        if own is None and (session := self.attributes.get(name)):
            return session[0].strip()
        return own

    def direction(self, section: Section) -> Direction:
        """What the writer does with the section: its own attribute, that of the session, or ``sendrecv``."""
        for attributes in (section.attributes, self.attributes):
            for direction in get_args(Direction):
                if direction in attributes:
                    return cast(Direction, direction)
        return "sendrecv"


def parse(text: str) -> Description:
    """Read a description. Lines that are neither ``m=`` nor ``a=`` are passed over.

    Raises :class:`SdpError` for an ``m=`` line that is not one, and for more of anything than is legal.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    if len(lines) > MOST_LINES:
        raise SdpError(f"sdp may have {MOST_LINES} lines, not {len(lines)}")
    session: dict[str, list[str]] = {}
    sections: list[Section] = []
    attributes = session
    for line in lines:
        if line.startswith("m="):
            attributes = {}
            sections.append(_section(len(sections), line, attributes))
        elif match := _ATTRIBUTE.fullmatch(line):
            attributes.setdefault(match[1], []).append(match[2] or "")
    _check_counts(sections)
    return Description(session, tuple(sections))


def _section(index: int, line: str, attributes: Attributes) -> Section:
    words = line[2:].split()
    if len(words) > 3 + MOST_FORMATS:
        raise SdpError(f"section {index} may list {MOST_FORMATS} formats, not {len(words) - 3}")
    port = words[1].partition("/")[0] if len(words) > 3 else ""
    if not (is_number(port, 65_535) and line.isascii() and all(word.isprintable() for word in words)):
        raise SdpError(f"section {index} must begin like m=audio 9 UDP/TLS/RTP/SAVPF 111, not {line[:80]!r}")
    kind, formats = words[0], tuple(words[3:])
    if kind in ("audio", "video") and not all(is_number(name, 127) for name in formats):
        raise SdpError(f"section {index} (m={kind}) must list payload types from 0 to 127, not {line[:80]!r}")
    return Section(index, kind, int(port), words[2], formats, attributes)


def _check_counts(sections: Sequence[Section]) -> None:
    if len(sections) > MOST_SECTIONS:
        raise SdpError(f"sdp may have {MOST_SECTIONS} sections (m= lines), not {len(sections)}")
    candidates = sum(len(section.values("candidate")) for section in sections)
    if candidates > MOST_CANDIDATES:
        raise SdpError(f"sdp may have {MOST_CANDIDATES} candidates, not {candidates}")
    mids = Counter(mid for section in sections if (mid := section.value("mid")) is not None)
    twice = next((mid for mid, times in mids.items() if times > 1), None)
    if twice is not None:
        raise SdpError(f"two sections have the same a=mid:{twice[:40]}")


def is_number(text: str, largest: int) -> bool:
    """Whether the text is a decimal number from 0 to ``largest``, in ASCII digits and with nothing around it."""
    return 0 < len(text) <= len(str(largest)) and text.isascii() and text.isdigit() and int(text) <= largest
