"""What makes an answer an answer to an offer (RFC 3264, 8829, 9143), checked without the code under test."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiortc.sdp import SessionDescription

REVERSED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
ROLES = {"actpass": ("active", "passive"), "active": ("passive",), "passive": ("active",)}


@dataclass
class Part:
    """One section of a description, or its head."""

    lines: list[str]

    @property
    def words(self) -> list[str]:
        return self.lines[0][2:].split()

    @property
    def kind(self) -> str:
        return self.words[0]

    @property
    def port(self) -> int:
        return int(self.words[1])

    def values(self, name: str) -> list[str]:
        return [line[len(name) + 3 :].strip() for line in self.lines if line.startswith(f"a={name}:")]

    def value(self, name: str) -> str | None:
        return next(iter(self.values(name)), None)

    def flag(self, name: str) -> bool:
        return f"a={name}" in self.lines

    @property
    def direction(self) -> str | None:
        return next((direction for direction in REVERSED if self.flag(direction)), None)

    @property
    def codecs(self) -> dict[str, str]:
        """Payload type → name and rate."""
        pairs = (value.split(maxsplit=1) for value in self.values("rtpmap"))
        return {number: "/".join(name.lower().split("/")[:2]) for number, name in pairs}


def parts(sdp: str) -> tuple[Part, list[Part]]:
    head, *sections = re.split(r"(?m)^(?=m=)", sdp)
    return Part(head.splitlines()), [Part(text.splitlines()) for text in sections]


def bundle(head: Part) -> list[str]:
    groups = [value.split()[1:] for value in head.values("group") if value.startswith("BUNDLE")]
    return groups[0] if groups else []


def check(offer: str, answer: str) -> None:
    """Raise :class:`AssertionError` with the section and the rule that it breaks."""
    offered_head, offered = parts(offer)
    head, sections = parts(answer)
    assert answer.endswith("\r\n") and "\n" not in answer.replace("\r\n", "")
    assert len(sections) == len(offered), "as many sections as offered"
    group, offered_group = bundle(head), bundle(offered_head)
    used = [section.value("mid") for section in sections if section.port]
    assert [mid for mid in offered_group if mid in used] == group, "bundled are those of the offer that are answered"
    for number, (theirs, ours) in enumerate(zip(offered, sections, strict=True)):
        where = f"section {number}: {ours.lines[0]}"
        assert (ours.kind, ours.words[2]) == (theirs.kind, theirs.words[2]), where
        assert ours.value("mid") == theirs.value("mid"), where
        if ours.port == 0:
            assert set(ours.words[3:]) <= set(theirs.words[3:]), where
        else:
            _check_used(offered_head, theirs, ours, where)
    SessionDescription.parse(answer)


def _check_used(head: Part, theirs: Part, ours: Part, where: str) -> None:
    is_bundle_only = theirs.flag("bundle-only") and theirs.value("mid") in bundle(head)
    assert theirs.port or is_bundle_only, f"{where}: a refused section stays refused"
    assert not ours.flag("bundle-only"), where
    assert ours.value("ice-ufrag") and ours.value("ice-pwd") and ours.value("fingerprint"), where
    setup = theirs.value("setup") or head.value("setup") or "actpass"
    assert ours.value("setup") in ROLES[setup], where
    assert not any(".local" in candidate for candidate in ours.values("candidate")), where
    if ours.kind == "application":
        assert ours.value("sctp-port") or ours.value("sctpmap"), where
        return
    asked = theirs.direction or head.direction or "sendrecv"
    assert ours.flag("rtcp-mux"), where
    assert ours.words[3:], where
    if ours.direction != "inactive":
        allowed = {"sendrecv": REVERSED.keys()}.get(asked, {REVERSED[asked]})
        assert ours.direction in allowed, where
    assert list(ours.codecs) == ours.words[3:], f"{where}: every format is named"
    assert ours.codecs.items() <= theirs.codecs.items(), f"{where}: formats keep their numbers"
    extensions = {value.split()[0].split("/")[0]: value.split()[1] for value in theirs.values("extmap")}
    assert {value.split()[0]: value.split()[1] for value in ours.values("extmap")}.items() <= extensions.items(), where
