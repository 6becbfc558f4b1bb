"""Candidates that come after the offer (trickle ICE, RFC 8838): read, matched with its sections, and chosen. Pure.

They travel as ``application/trickle-ice-sdpfrag`` (RFC 8840 §9) in WHIP and WHEP, and as JSON in other signalling.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from server.transports.webrtc.candidates import MOST_TRIED, AddressRange, address_of, usable
from server.transports.webrtc.negotiation import Negotiation
from server.transports.webrtc.sdp import Attributes, SdpError, Section, is_number, parse

TRICKLE = "application/trickle-ice-sdpfrag"
LARGEST_FRAGMENT = 64 * 1024
"""Characters of a body; one with ten candidates has about 1,500."""
MOST_AT_ONCE = 64
"""Candidates that one request may bring."""
MOST_IN_ALL = 2 * MOST_TRIED
"""Per transport, from the offer and after it. A client trickles all it has, and its relay comes last."""

_NO_MORE = ("", "end-of-candidates")


class TrickleError(Exception):
    """The candidates cannot be taken. ``param`` names the field, ``status`` is the HTTP status."""

    def __init__(self, code: str, message: str, param: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.status = status


@dataclass(frozen=True, slots=True)
class Trickled:
    """One candidate of the peer and where it belongs, as the peer wrote it."""

    candidate: str
    """As in ``a=candidate`` (RFC 8839 §5.1), with or without ``candidate:`` before it; empty: there are no more."""
    mid: str | None = None
    """The section's ``a=mid``; it counts before the index."""
    index: int | None = None
    """The section's place in the offer, from 0; without either the offer must have one transport only."""
    ufrag: str | None = None
    """The ICE user fragment that it is given for, if that is said beside the candidate."""


def parse_fragment(text: str) -> list[Trickled]:
    """Read a body of :data:`TRICKLE`: its candidates in their order, and an empty one for each part that ends.

    Candidates before the first ``m=`` line belong to no section in particular, as some clients write them. Raises
    :class:`TrickleError` for what is no such body.
    """
    if len(text) > LARGEST_FRAGMENT:
        raise TrickleError("body_too_large", f"it may have {LARGEST_FRAGMENT} characters", "body", 413)
    try:
        fragment = parse(text)
    except SdpError as error:
        raise TrickleError("invalid_candidates", str(error), "body") from error
    found: list[Trickled] = []
    ufrag = _first(fragment.attributes, "ice-ufrag")
    sections = [(section.attributes, section.value("mid")) for section in fragment.sections]
    parts = [(fragment.attributes, None), *sections]
    for attributes, mid in parts:
        own = _first(attributes, "ice-ufrag") or ufrag
        found += [Trickled(value, mid, None, own) for value in attributes.get("candidate", ()) if value.strip()]
        if "end-of-candidates" in attributes or "ice-ufrag" in attributes or mid is not None:
            found.append(Trickled("", mid, None, own))
    if not found:
        message = "the body must have lines like a=ice-ufrag:…, m=audio 9 …, a=mid:0 and a=candidate:… (RFC 8840)"
        raise TrickleError("invalid_candidates", message, "body")
    return found


class Trickling:
    """Chooses what is tried of the candidates that come for one connection, after those of its offer.

    What says for which generation of ICE it is must say that of the offer: credentials that change would be an ICE
    restart, which aiortc does not have.
    """

    def __init__(self, negotiation: Negotiation, ranges: Collection[AddressRange]) -> None:
        self._negotiation = negotiation
        self._ranges = ranges
        self._tried = {mid: set(map(address_of, transport.candidates)) for mid, transport in negotiation.transports}
        """By transport: the addresses given to it."""
        self._ufrags = {mid: transport.ufrag for mid, transport in negotiation.transports}

    def take(self, candidates: Sequence[Trickled]) -> list[tuple[str, str]]:
        """What is to be tried: ``(mid, candidate)``, the mid being that of the section that has the transport.

        Left out are candidates for sections that were refused, of an earlier generation, that
        :func:`~server.transports.webrtc.candidates.usable` leaves out (names such as mDNS among them), that are known,
        and those over the limits. Raises :class:`TrickleError`; then none is tried.
        """
        if len(candidates) > MOST_AT_ONCE:
            message = f"one request may bring {MOST_AT_ONCE} candidates, not {len(candidates)}"
            raise TrickleError("too_many_candidates", message, "candidates")
        chosen: dict[str, list[str]] = {}
        for one in candidates:
            value = one.candidate.strip().removeprefix("a=").removeprefix("candidate:").strip()
            is_end = value in _NO_MORE
            section = self._section(one, is_end)
            owner = self._negotiation.owner(section) if section is not None else next(iter(self._tried))
            self._check_generation(one.ufrag, [owner] if section is not None else self._tried)
            if is_end:  # not passed on: the peer's own checks may still come, from an address that it cannot name
                continue
            _check(value)
            if owner is not None and _generation(value) in (None, self._ufrags[owner]):
                chosen.setdefault(owner, []).append(value)
        return [(mid, value) for mid, values in chosen.items() for value in self._new(mid, values)]

    def _new(self, mid: str, values: Sequence[str]) -> Iterator[str]:
        tried = self._tried[mid]
        for value in usable(values, self._ranges):
            if address_of(value) not in tried and len(tried) < MOST_IN_ALL:
                tried.add(address_of(value))
                yield value

    def _check_generation(self, ufrag: str | None, owners: Collection[str | None]) -> None:
        known = [self._ufrags[owner] for owner in owners if owner is not None]
        if ufrag is not None and known and ufrag not in known:
            message = "other ICE credentials than the offer's would restart ICE, which this server cannot: offer anew"
            raise TrickleError("ice_restart_unsupported", message, "ice-ufrag", 422)

    def _section(self, one: Trickled, is_end: bool) -> Section | None:
        """The section meant; ``None`` where none is named and it makes no difference."""
        sections = self._negotiation.description.sections
        if one.mid is not None:
            mids = {section.value("mid"): section for section in sections}
            if one.mid not in mids:
                known = ", ".join(repr(mid) for mid in mids if mid is not None) or "none"
                message = f"mid must be one of the offer's ({known}), not {one.mid[:40]!r}"
                raise TrickleError("unknown_section", message, "mid")
            return mids[one.mid]
        if one.index is not None:
            if not 0 <= one.index < len(sections):
                message = f"the m-line index must be from 0 to {len(sections) - 1}, not {one.index}"
                raise TrickleError("unknown_section", message, "index")
            return sections[one.index]
        if len(self._tried) > 1 and not is_end:
            message = "the offer has several transports: name the mid of the section"
            raise TrickleError("unknown_section", message, "mid")
        return None


def _check(value: str) -> None:
    words = value.split()
    if len(words) < 8 or words[6] != "typ" or not (is_number(words[3], 2**32 - 1) and is_number(words[5], 65_535)):
        message = f"a candidate must be like '1 1 udp 2122260223 192.0.2.7 50000 typ host', not {value[:80]!r}"
        raise TrickleError("invalid_candidates", message, "candidate")


def _generation(value: str) -> str | None:
    """The user fragment that browsers write after a candidate (an extension attribute of RFC 8839 §5.1)."""
    words = value.split()[8:]
    return next((text for name, text in zip(words[::2], words[1::2], strict=False) if name == "ufrag"), None)


def _first(attributes: Attributes, name: str) -> str | None:
    values = attributes.get(name)
    return values[0].strip() if values else None
