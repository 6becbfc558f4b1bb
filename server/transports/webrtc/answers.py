"""From aiortc's answer to the one that the peer gets. Pure: text in, text out."""

from __future__ import annotations

import ipaddress
import re

from server.transports.webrtc.codecs import first_named
from server.transports.webrtc.negotiation import Negotiation, Taken
from server.transports.webrtc.sdp import Section

_HOST_CANDIDATE = re.compile(r"^(a=candidate:\S+ \d+ \S+ \d+ )(\S+)( \d+ typ host.*)$", re.MULTILINE)
_OPUS = re.compile(r"^a=rtpmap:(\d+) opus/48000/2\r?\n", re.MULTILINE | re.IGNORECASE)
_TRANSPORT = ("a=ice-", "a=fingerprint:", "a=setup:", "a=candidate:", "a=end-of-candidates")
_SECTION = re.compile(r"^(?=m=)", re.MULTILINE)


def complete(negotiation: Negotiation, answer: str) -> str:
    """Put back what aiortc was not shown: refused sections, the group as it was offered, profiles and missing names."""
    head, *written = _SECTION.split(answer)
    lines = [line for line in head.splitlines(keepends=True) if not line.startswith("a=group:")]
    answers = {one.section.index: _taken(one, text) for one, text in zip(negotiation.taken, written, strict=True)}
    bundle = list(negotiation.bundle)
    if (carrier := negotiation.carrier) is not None:
        carried = next(one.section.index for one in negotiation.taken if one.mid in bundle)
        answers[carrier.index] = _carrier(carrier, answers[carried])
        bundle.insert(0, carrier.value("mid") or "")
    if bundle:
        lines.append(f"a=group:BUNDLE {' '.join(bundle)}\r\n")
    sections = negotiation.description.sections
    return "".join([*lines, *(answers.get(section.index) or _refused(section) for section in sections)])


def announce(sdp: str, external: str | None) -> str:
    """Replace the addresses of host candidates by ``external`` (1:1 NAT); unchanged when it is ``None``.

    Loopback stays as it is, and so do addresses of the other family, which that NAT does not translate.
    """
    if external is None:
        return sdp
    version = ipaddress.ip_address(external).version

    def replaced(match: re.Match[str]) -> str:
        own = ipaddress.ip_address(match[2])
        return match[0] if own.is_loopback or own.version != version else f"{match[1]}{external}{match[3]}"

    return _HOST_CANDIDATE.sub(replaced, sdp)


def ask_for_fec(sdp: str) -> str:
    """Tell the peer that we take Opus with in-band forward error correction and packets from 10 ms (RFC 7587 §6.1)."""
    return "".join(map(_with_fec, _SECTION.split(sdp)))


def _with_fec(section: str) -> str:
    match = _OPUS.search(section)
    if match is None or f"a=fmtp:{match[1]} " in section:
        return section
    return section[: match.end()] + f"a=fmtp:{match[1]} minptime=10;useinbandfec=1\r\n" + section[match.end() :]


def _taken(one: Taken, text: str) -> str:
    media, *lines = text.splitlines(keepends=True)
    words = media.split(" ")
    words[2] = one.section.protocol  # an answer repeats the profile of the offer (RFC 8829 §5.3.1)
    if one.section.value("mid") is None:
        lines = [line for line in lines if not line.startswith("a=mid:")]
    return " ".join(words) + "".join(lines)


def _carrier(section: Section, carried: str) -> str:
    """A section with nothing in it but the transport of the others, of which ``carried`` is one."""
    named = first_named(section)
    assert named is not None  # it would not carry
    transport = [line for line in carried.splitlines() if line.startswith(_TRANSPORT)]
    lines = [f"m={section.kind} 9 {section.protocol} {named.payload_type}", "c=IN IP4 0.0.0.0", "a=inactive"]
    lines += [f"a=mid:{section.value('mid')}", "a=rtcp-mux", *named.lines(), *transport]
    return "".join(f"{line}\r\n" for line in lines)


def _refused(section: Section) -> str:
    lines = [f"m={section.kind} 0 {section.protocol} {' '.join(section.formats)}", "c=IN IP4 0.0.0.0", "a=inactive"]
    mid = section.value("mid")
    if mid is not None:
        lines.append(f"a=mid:{mid}")
    return "".join(f"{line}\r\n" for line in lines)
