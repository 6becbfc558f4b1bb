"""What of an offer is taken, the offer as aiortc is to see it, and the answer as the peer is to see it. Pure.

aiortc answers all sections or none, wants every section to tell its transport, and passes on whatever is written to
libraries below. So it gets a description that is written anew from what was understood
(:mod:`server.transports.webrtc.sdp`): only sections that are answered, with only formats, candidates and attributes
that are used here. The sections that are refused (port 0, RFC 3264 §6) are put back into its answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from aiortc import RTCRtpSender

from server.transports.webrtc.candidates import AddressRange, usable
from server.transports.webrtc.codecs import Format, first_named, spoken
from server.transports.webrtc.sdp import MOST_SECTIONS, Description, Direction, SdpError, Section, is_number

MOST_TAKEN = {"audio": 3, "video": 4, "application": 1}
"""Sections of a kind that are answered; the others are refused. Each has a decoder of its own."""

_RTP = ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/TLS/RTP/SAVPF", "TCP/TLS/RTP/SAVP")
_RTP_OLD = ("RTP/SAVPF", "RTP/SAVP", "RTP/AVPF", "RTP/AVP")
"""Written by old clients for the same; an answer is to repeat what the offer says (RFC 8829 §5.1.2)."""
_SCTP = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP")
_SCTP_OLD = "DTLS/SCTP"
"""``m=application 9 DTLS/SCTP 5000`` (draft-ietf-mmusic-sctp-sdp-05), before ``a=sctp-port``."""

_MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
_FINGERPRINTS = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
"""The digests (RFC 8122) that aiortc can check, and their lengths in bytes."""
_MOST_FINGERPRINTS = 8
_SETUPS = ("actpass", "active", "passive")

_HEX = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2})*")
_EXTMAP = re.compile(r"([0-9]{1,3})(?:/sendrecv)? +([!-~]{1,100}) *")
_WORD = re.compile(r"[!-~]{1,256}")
_SSRC = re.compile(r"([0-9]{1,10})(?: .*)?")


@dataclass(frozen=True, slots=True)
class Transport:
    """How the peer is reached and known (RFC 8839, RFC 8842)."""

    ufrag: str
    password: str
    fingerprints: tuple[str, ...]
    setup: str
    candidates: tuple[str, ...]

    def lines(self) -> list[str]:
        """As it is written."""
        return [
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.password}",
            *(f"a=fingerprint:{fingerprint}" for fingerprint in self.fingerprints),
            f"a=setup:{self.setup}",
            *(f"a=candidate:{candidate}" for candidate in self.candidates),
        ]


@dataclass(frozen=True, slots=True)
class Taken:
    """A section that is answered."""

    section: Section
    mid: str
    """Its name; made up where the offer has none."""
    direction: Direction
    """What the peer does."""
    formats: tuple[Format, ...]
    """Empty for data."""
    sends: bool = False
    """Whether our voice or picture goes into it."""

    @property
    def kind(self) -> str:
        return self.section.kind

    @property
    def receives(self) -> bool:
        """Whether the peer takes what we send into it."""
        return self.kind != "application" and self.direction in ("sendrecv", "recvonly")


@dataclass(frozen=True, slots=True)
class Negotiation:
    """What is made of an offer."""

    description: Description
    taken: tuple[Taken, ...]
    """In the order of the offer, which is the order in which aiortc sees them."""
    bundle: tuple[str, ...]
    """Names of those taken that share one transport (RFC 9143), the section that describes it first."""
    carrier: Section | None
    """The first section of the bundle when it is not taken, but the others have no transport but its: it is answered
    as inactive, for when it is refused Chromium refuses the answer."""
    sdp: str
    """The offer as aiortc is to see it."""
    transports: tuple[tuple[str, Transport], ...]
    """How the peer is reached, by the name of the section that has the transport; the bundle has one."""

    @property
    def media(self) -> tuple[Taken, ...]:
        """Those with audio or video."""
        return tuple(one for one in self.taken if one.kind != "application")

    @property
    def without_candidates(self) -> tuple[object, ...]:
        """All that is agreed on but the candidates, for comparing offers."""
        taken = [
            (one.section.index, one.kind, one.section.value("mid"), one.direction, one.formats) for one in self.taken
        ]
        reached = [(mid, one.ufrag, one.password, one.fingerprints) for mid, one in self.transports]
        return (len(self.description.sections), taken, self.bundle, reached)

    def owner(self, section: Section) -> str | None:
        """Which of :attr:`transports` a section of the offer uses; ``None`` when it was refused."""
        mid = next((one.mid for one in self.taken if one.section is section), None)
        if section is self.carrier or mid in self.bundle:
            return self.bundle[0]
        return mid


def negotiate(description: Description, ranges: Collection[AddressRange]) -> Negotiation:
    """Choose what is taken and write it down. Candidates outside of ``ranges`` are left out.

    Raises :class:`SdpError` when a section that would be taken cannot be connected.
    """
    group = _group(description)
    taken = _with_senders(_take(description, group))
    mids = {one.mid: one for one in taken}
    bundle = tuple(mid for mid in group if mid in mids)
    tagged = next((s for s in description.sections if group and s.value("mid") == group[0]), None)
    shared = _transport(description, mids[bundle[0]].section, tagged, ranges) if bundle else None
    lines = ["v=0", "o=- 0 0 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    if "ice-lite" in description.attributes:
        lines.append("a=ice-lite")
    transports: dict[str, Transport] = {}
    if bundle:
        lines.append(f"a=group:BUNDLE {' '.join(bundle)}")
    for one in taken:
        is_shared = one.mid in bundle
        _check_rtcp_mux(one.section, tagged if is_shared else None)
        transport = shared if is_shared else _transport(description, one.section, None, ranges)
        assert transport is not None
        transports.setdefault(bundle[0] if is_shared else one.mid, transport)
        lines += _section_lines(one, transport)
    carrier = tagged if tagged is not None and _carries(tagged, [mids[mid].section for mid in bundle]) else None
    sdp = "".join(f"{line}\r\n" for line in lines)
    return Negotiation(description, tuple(taken), bundle, carrier, sdp, tuple(transports.items()))


# ---------------------------------------------------------------------------------------------------- what is taken


def _group(description: Description) -> list[str]:
    """Names of the first group of bundled sections, each once; sections of a second one get transports of their own."""
    known = {section.value("mid") for section in description.sections}
    for value in description.attributes.get("group", ()):
        semantics, *mids = value.split(maxsplit=MOST_SECTIONS + 1) or [""]
        if semantics == "BUNDLE":
            return [mid for mid in dict.fromkeys(mids) if mid in known]
    return []


def _take(description: Description, group: Sequence[str]) -> list[Taken]:
    taken: list[Taken] = []
    for section in description.sections:
        mid = section.value("mid")
        if mid is not None and not _WORD.fullmatch(mid):
            raise SdpError(f"{section.name}: a=mid must be a word of visible ASCII, not {mid[:40]!r}")
        is_offered = section.is_offered and (section.port != 0 or mid in group)
        room = MOST_TAKEN.get(section.kind, 0) - sum(one.kind == section.kind for one in taken)
        formats = _formats(section) if is_offered and room > 0 else None
        if formats is not None:
            name = mid or _unused(f"section-{section.index}", description)
            taken.append(Taken(section, name, description.direction(section), tuple(formats)))
    return taken


def _formats(section: Section) -> list[Format] | None:
    """What to answer with; ``None`` refuses the section."""
    if section.kind in ("audio", "video"):
        return (spoken(section) or None) if section.protocol in _RTP + _RTP_OLD else None
    return [] if section.kind == "application" and _sctp_lines(section) else None


def _carries(tagged: Section, bundled: Sequence[Section]) -> bool:
    """Whether the bundle hangs on a section that is not taken: a client with max-bundle (RFC 9143 §7.3.2)."""
    if tagged in bundled or not bundled or not tagged.is_offered or first_named(tagged) is None:
        return False
    is_reached = bool(tagged.values("candidate"))
    return all("bundle-only" in s.attributes or (is_reached and not s.values("candidate")) for s in bundled)


def _with_senders(taken: Iterable[Taken]) -> list[Taken]:
    """Our voice and our picture go into the first section of their kind that the peer receives on."""
    fed: set[str] = set()
    chosen: list[Taken] = []
    for one in taken:
        sends = one.receives and one.kind not in fed
        fed |= {one.kind} if sends else set()
        chosen.append(replace(one, sends=sends))
    return chosen


def _unused(name: str, description: Description) -> str:
    mids = {section.value("mid") for section in description.sections}
    while name in mids:
        name += "-"
    return name


# ------------------------------------------------------------------------------------------------- how it is reached


def _transport(
    description: Description, section: Section, tagged: Section | None, ranges: Collection[AddressRange]
) -> Transport:
    """What the section says of its transport, else the first of its bundle, else the session (RFC 9143 §7.1)."""
    owners = [section] if tagged is None else [section, tagged]

    def value(name: str) -> str | None:
        return next((found for owner in owners if (found := owner.value(name))), None) or description.value(
            section, name
        )

    ufrag, password = value("ice-ufrag"), value("ice-pwd")
    if not ufrag or not password or not _WORD.fullmatch(ufrag) or not _WORD.fullmatch(password):
        raise SdpError(f"{section.name} lacks ICE credentials (a=ice-ufrag, a=ice-pwd)")
    written = next((f for o in owners if (f := o.values("fingerprint"))), description.attributes.get("fingerprint", ()))
    fingerprints = [one for text in written[:_MOST_FINGERPRINTS] if (one := _fingerprint(text)) is not None]
    if not fingerprints:
        known = ", ".join(_FINGERPRINTS)
        raise SdpError(f"{section.name} lacks a certificate fingerprint (a=fingerprint with {known})")
    setup = value("setup") or "actpass"
    if setup not in _SETUPS:
        raise SdpError(f"{section.name}: a=setup must be {', '.join(_SETUPS)}, not {setup[:40]!r}")
    candidates = next((c for o in owners if (c := o.values("candidate"))), ())
    return Transport(ufrag, password, tuple(fingerprints), setup, tuple(usable(candidates, ranges)))


def _fingerprint(text: str) -> str | None:
    algorithm, _, digest = text.strip().partition(" ")
    digest = digest.strip().upper()
    length = _FINGERPRINTS.get(algorithm.lower(), 0)
    is_whole = length > 0 and len(digest) == 3 * length - 1 and _HEX.fullmatch(digest)
    return f"{algorithm.lower()} {digest}" if is_whole else None


def _check_rtcp_mux(section: Section, tagged: Section | None) -> None:
    asked = [owner for owner in (section, tagged) if owner is not None]
    if section.kind != "application" and not any("rtcp-mux" in owner.attributes for owner in asked):
        raise SdpError(f"{section.name} lacks a=rtcp-mux: RTCP on a port of its own is not supported")


# ------------------------------------------------------------------------------------------------ how it is written


def _section_lines(one: Taken, transport: Transport) -> list[str]:
    section = one.section
    if one.kind == "application":
        return [*_sctp_lines(section), f"a=mid:{one.mid}", *transport.lines()]
    numbers = " ".join(str(codec.payload_type) for codec in one.formats)
    return [
        f"m={one.kind} 9 {_RTP[0]} {numbers}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{one.mid}",
        f"a={one.direction}",
        "a=rtcp-mux",
        *_extensions(section),
        *(line for codec in one.formats for line in codec.lines()),
        *_sources(section),
        *transport.lines(),
    ]


def _sctp_lines(section: Section) -> list[str]:
    """The beginning of a section of data channels; empty when it is not one that can be answered."""
    size = section.value("max-message-size") or ""
    most = [f"a=max-message-size:{size}"] if is_number(size, 2**62) else []
    address = "c=IN IP4 0.0.0.0"
    if section.protocol in _SCTP and "webrtc-datachannel" in section.formats:
        port = section.value("sctp-port") or "5000"
        if is_number(port, 65_535) and int(port) > 0:
            return [f"m=application 9 {_SCTP[0]} webrtc-datachannel", address, f"a=sctp-port:{port}", *most]
    elif section.protocol == _SCTP_OLD and is_number(section.formats[0], 65_535) and int(section.formats[0]) > 0:
        port = section.formats[0]
        return [
            f"m=application 9 {_SCTP_OLD} {port}",
            address,
            f"a=sctpmap:{port} webrtc-datachannel 65535",
            *most,
        ]
    return []


def _extensions(section: Section) -> list[str]:
    """RTP header extensions (RFC 8285) that aiortc has, as far as they may be used both ways."""
    known = [one.uri for one in RTCRtpSender.getCapabilities(section.kind).headerExtensions]
    numbers: dict[str, int] = {}
    for value in section.values("extmap"):
        match = _EXTMAP.fullmatch(value)
        if match is None or match[2] not in known or (match[2] == _MID and section.value("mid") is None):
            continue
        number = int(match[1])
        if 0 < number < 256 and number not in numbers.values():
            numbers.setdefault(match[2], number)
    return [f"a=extmap:{number} {uri}" for uri, number in numbers.items()]


def _sources(section: Section) -> list[str]:
    """The SSRC of what the peer sends, and that of its retransmissions (RFC 5576): the first of each if there are more.

    aiortc tells sections with the same payload types apart by it.
    """
    single = [match[1] for value in section.values("ssrc") if (match := _SSRC.fullmatch(value))]
    pairs = (value[:80].split() for value in section.values("ssrc-group"))
    pair = next((words[1:] for words in pairs if len(words) == 3 and words[0] == "FID"), [])
    chosen = pair or list(dict.fromkeys(single))[:1]
    if not all(is_number(ssrc, 2**32 - 1) for ssrc in chosen):
        return []
    return [f"a=ssrc:{ssrc} cname:-" for ssrc in dict.fromkeys(chosen)]
