"""Which of the formats that a section lists are spoken here: Opus, and what aiortc has of video. Pure.

aiortc would take G.711 and G.722 too, but our audio is Opus from end to end; so an offer that prefers another codec
still gets Opus.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiortc import RTCRtpSender
from aiortc.sdp import parse_h264_profile_level_id

from server.transports.webrtc.sdp import Section, is_number

OPUS = ("opus", 48_000)
PAYLOAD_TYPES = range(96, 128)
"""The dynamic ones; aiortc renumbers formats outside of it, and then sends what the peer did not ask for."""
VIDEO_RATE = 90_000
FEEDBACK = ("nack", "nack pli", "goog-remb")
"""What aiortc sends and understands (RFC 4585)."""

_H264 = [codec.parameters for codec in RTCRtpSender.getCapabilities("video").codecs if codec.name == "H264"]
_H264_PROFILES = {parse_h264_profile_level_id(str(known["profile-level-id"]))[0] for known in _H264}
_H264_MODES = {str(known["packetization-mode"]) for known in _H264}
_H264_ABSENT = {"packetization-mode": "0", "profile-level-id": "42E01F"}
"""What aiortc takes these for where they are not given."""

_LONGEST_PARAMETERS = 1000
"""Characters of an ``a=fmtp`` that are looked at."""

_RTPMAP = re.compile(r"([0-9]{1,3}) +([!-.0-~]{1,64})/([0-9]{1,6})(?:/[0-9]{1,3})? *")


@dataclass(frozen=True, slots=True)
class Format:
    """A codec under its payload type (RFC 8866 §6.6), with the parameters (``a=fmtp``) that matter to us."""

    payload_type: int
    name: str
    rate: int
    parameters: tuple[tuple[str, str], ...] = ()
    feedback: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """As it is written."""
        number, channels = self.payload_type, "/2" if self.name == "opus" else ""
        lines = [f"a=rtpmap:{number} {self.name}/{self.rate}{channels}"]
        lines += [f"a=rtcp-fb:{number} {feedback}" for feedback in self.feedback]
        if self.parameters:
            lines.append(f"a=fmtp:{number} " + ";".join(f"{name}={value}" for name, value in self.parameters))
        return lines


def spoken(section: Section) -> list[Format]:
    """The formats of a section of audio or video to answer with, the peer's favourite first; retransmission included.

    Empty when there is no codec among them.
    """
    names, parameters = _names(section), _parameters(section)
    numbers = [number for number in dict.fromkeys(map(int, section.formats)) if number in PAYLOAD_TYPES]
    if section.kind == "audio":
        return [Format(number, *OPUS) for number in numbers if names.get(number) == OPUS]
    feedback = _feedback(section)
    chosen = [
        Format(number, *names[number], tuple(known.items()), tuple(feedback.get(number, ())))
        for number in numbers
        if number in names and (known := _known_parameters(*names[number], parameters.get(number, ""))) is not None
    ]
    return chosen + _retransmissions(numbers, names, parameters, chosen)


def first_named(section: Section) -> Format | None:
    """The first format of a section of audio or video that says what it is, whether it is spoken here or not."""
    if section.kind not in ("audio", "video"):
        return None
    names = _names(section)
    found = next((number for number in map(int, section.formats) if number in names), None)
    return Format(found, *names[found]) if found is not None else None


def _retransmissions(
    numbers: Sequence[int], names: dict[int, tuple[str, int]], parameters: dict[int, str], chosen: Sequence[Format]
) -> list[Format]:
    """The RTX formats (RFC 4588) of those chosen, one of each."""
    rates = {str(one.payload_type): one.rate for one in chosen}
    found: list[Format] = []
    for number in numbers:
        name, rate = names.get(number, ("", 0))
        if name == "rtx":
            repaired = _parameter(parameters.get(number, ""), "apt")
            if repaired is not None and rates.get(repaired) == rate:
                found.append(Format(number, name, rate, (("apt", repaired),)))
                del rates[repaired]
    return found


def _known_parameters(name: str, rate: int, text: str) -> dict[str, str] | None:
    """What to tell aiortc of a video format beside its name; ``None`` when it does not speak it."""
    if rate != VIDEO_RATE or name not in ("vp8", "h264"):
        return None
    if name == "vp8":
        return {}
    known = {key: _parameter(text, key) or absent for key, absent in _H264_ABSENT.items()}
    try:
        profile = parse_h264_profile_level_id(known["profile-level-id"])[0]
    except ValueError:
        return None
    return known if profile in _H264_PROFILES and known["packetization-mode"] in _H264_MODES else None


def _parameter(text: str, key: str) -> str | None:
    """A value of ``a=fmtp``; nothing is taken apart that is not asked for.

    What is written again must not end the line: other readers take more for its end than the standard does.
    """
    at = text.find(f"{key}=")
    while at > 0 and text[at - 1] not in "; ":
        at = text.find(f"{key}=", at + 1)
    value = text[at + len(key) + 1 :].partition(";")[0].strip() if at >= 0 else ""
    return value if value and value.isascii() and value.isprintable() else None


def _names(section: Section) -> dict[int, tuple[str, int]]:
    names: dict[int, tuple[str, int]] = {}
    for value in section.values("rtpmap"):
        if match := _RTPMAP.fullmatch(value):
            names.setdefault(int(match[1]), (match[2].lower(), int(match[3])))
    return names


def _parameters(section: Section) -> dict[int, str]:
    found: dict[int, str] = {}
    for value in section.values("fmtp"):
        number, _, text = value.strip().partition(" ")
        if is_number(number, 127):
            found.setdefault(int(number), text[:_LONGEST_PARAMETERS].lower())
    return found


def _feedback(section: Section) -> dict[int, list[str]]:
    wishes = dict.fromkeys(" ".join(value[:40].split()) for value in section.values("rtcp-fb"))
    found: dict[int, list[str]] = {}
    for number, _, wish in (text.partition(" ") for text in wishes):
        if wish in FEEDBACK and (number == "*" or is_number(number, 127)):
            for one in dict.fromkeys(section.formats) if number == "*" else [number]:
                found.setdefault(int(one), []).append(wish)
    return {number: list(dict.fromkeys(wishes)) for number, wishes in found.items()}
