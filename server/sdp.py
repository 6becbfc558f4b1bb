"""Small changes to session descriptions that aiortc has no setting for. Pure: text in, text out."""

from __future__ import annotations

import re

_USELESS = re.compile(r"^a=(?:candidate:\S+ \d+ \S+ \d+ \S+\.local \d+ .*|end-of-candidates)\r?\n", re.MULTILINE)
_HOST_CANDIDATE = re.compile(r"^(a=candidate:\S+ \d+ \S+ \d+ )(\S+)( \d+ typ host.*)$", re.MULTILINE)

_OPUS = re.compile(r"^a=rtpmap:(\d+) opus/48000/2\r?\n", re.MULTILINE | re.IGNORECASE)


def normalise_offer(sdp: str) -> str:
    """Drop mDNS candidates and ``end-of-candidates``: the peer's address is learnt from its own checks.

    aioice would wait for the names (``….local``) and never connect; without these lines the same offer connects through
    peer-reflexive candidates (RFC 8445 §7.3.1.3).
    """
    return _USELESS.sub("", sdp)


def announce(sdp: str, external: str | None) -> str:
    """Replace the addresses of host candidates by ``external`` (1:1 NAT); unchanged when it is ``None``."""
    if external is None:
        return sdp
    return _HOST_CANDIDATE.sub(lambda match: f"{match[1]}{external}{match[3]}", sdp)


def ask_for_fec(sdp: str) -> str:
    """Tell the peer that we take Opus with in-band forward error correction and packets from 10 ms (RFC 7587 §6.1)."""
    match = _OPUS.search(sdp)
    if match is None or f"a=fmtp:{match[1]} " in sdp:
        return sdp
    return sdp[: match.end()] + f"a=fmtp:{match[1]} minptime=10;useinbandfec=1\r\n" + sdp[match.end() :]
