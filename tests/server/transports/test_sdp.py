"""Descriptions are read within limits that no client reaches, and by nothing but their own grammar."""

from __future__ import annotations

import pytest

from server.transports.webrtc.sdp import MOST_CANDIDATES, MOST_FORMATS, MOST_LINES, MOST_SECTIONS, SdpError, parse

AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"


def test_a_description_is_read_section_by_section():
    text = "v=0\r\na=sendonly\r\na=ice-lite\r\n" + AUDIO + "a=mid: 0 \r\na=rtpmap:111 opus/48000/2\r\na=recvonly\r\n"
    description = parse(text + "m=video 0 UDP/TLS/RTP/SAVPF 96 97\na=bundle-only\na=ssrc:1 a\na=ssrc:2 b\nwhatever\n")
    audio, video = description.sections
    assert (audio.kind, audio.port, audio.protocol, audio.formats) == ("audio", 9, "UDP/TLS/RTP/SAVPF", ("111",))
    assert audio.value("mid") == "0"
    assert video.values("ssrc") == ["1 a", "2 b"]
    assert [description.direction(section) for section in description.sections] == ["recvonly", "sendonly"]
    assert [section.is_offered for section in description.sections] == [True, True]
    assert "ice-lite" in description.attributes


def test_a_section_without_direction_goes_both_ways():
    description = parse("v=0\r\n" + AUDIO)
    assert description.direction(description.sections[0]) == "sendrecv"


@pytest.mark.parametrize(
    "line",
    [
        "m=",
        "m=audio",
        "m=audio 9 UDP/TLS/RTP/SAVPF",
        "m=audio x UDP/TLS/RTP/SAVPF 111",
        "m=audio 65536 UDP/TLS/RTP/SAVPF 111",
        "m=audio ٣ UDP/TLS/RTP/SAVPF 111",
        "m=audio 9 UDP/TLS/RTP/SAVPF 128",
        "m=audio 9 UDP/TLS/RTP/SAVPF -1",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 webrtc-datachannel",
        "m=áudio 9 UDP/TLS/RTP/SAVPF 111",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 \x00",
    ],
)
def test_a_section_that_is_none_is_refused_with_its_number(line):
    with pytest.raises(SdpError, match="section 1"):
        parse(f"v=0\r\n{AUDIO}{line}\r\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=x\r\n" * (MOST_LINES + 1), f"{MOST_LINES} lines, not {MOST_LINES + 1}"),
        (AUDIO * (MOST_SECTIONS + 1), f"{MOST_SECTIONS} sections .* not {MOST_SECTIONS + 1}"),
        (AUDIO.replace("111", "1 " * (MOST_FORMATS + 1)), f"{MOST_FORMATS} formats, not {MOST_FORMATS + 1}"),
        (AUDIO + "a=candidate:1\r\n" * (MOST_CANDIDATES + 1), f"{MOST_CANDIDATES} candidates, not"),
        ((AUDIO + "a=mid:0\r\n") * 2, "two sections have the same a=mid:0"),
    ],
)
def test_more_of_anything_than_is_legal_is_refused(text, message):
    with pytest.raises(SdpError, match=message):
        parse(text)


def test_what_is_just_legal_is_read():
    text = AUDIO * MOST_SECTIONS + "a=candidate:1\r\n" * MOST_CANDIDATES
    assert len(parse(text + "a=x\r\n" * (MOST_LINES - text.count("\n"))).sections) == MOST_SECTIONS
