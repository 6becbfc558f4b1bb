"""aiortc's answer becomes the peer's: refused sections, names, profiles, groups and addresses."""

from __future__ import annotations

from server.transports.webrtc.answers import announce, ask_for_fec, complete
from tests.server.transports.test_negotiation import TRANSPORT, offer, section

HEAD = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a v\r\na=msid-semantic:WMS *\r\n"


def written(kind: str, mid: str, port: int = 5000) -> str:
    """A section of aiortc's answer."""
    return (
        f"m={kind} {port} UDP/TLS/RTP/SAVPF 111\r\na=sendrecv\r\na=mid:{mid}\r\n"
        "a=ice-ufrag:ours\r\na=ice-pwd:secret\r\na=fingerprint:sha-256 AB\r\na=setup:active\r\n"
    )


def test_refused_sections_come_back_in_their_place_with_port_0():
    lost = section("video", "gone", "a=rtpmap:98 VP9/90000\n", formats="98 99")
    made = offer(section("audio", "a"), lost, section("video", "v"), group="a gone v")
    answer = complete(made, HEAD + written("audio", "a") + written("video", "v"))
    lines = answer.splitlines()
    assert [line for line in lines if line.startswith(("m=", "a=mid", "a=group"))] == [
        "a=group:BUNDLE a v",
        "m=audio 5000 UDP/TLS/RTP/SAVPF 111",
        "a=mid:a",
        "m=video 0 UDP/TLS/RTP/SAVPF 98 99",
        "a=mid:gone",
        "m=video 5000 UDP/TLS/RTP/SAVPF 111",
        "a=mid:v",
    ]


def test_there_is_no_group_where_none_was_offered():
    made = offer(section("audio", "a"), section("video", "v"))
    assert "a=group" not in complete(made, HEAD + written("audio", "a") + written("video", "v"))


def test_profiles_are_repeated_and_made_up_names_left_out():
    old = section("audio", "x").replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF").replace("a=mid:x\n", "")
    made = offer(old)
    answer = complete(made, HEAD + written("audio", made.taken[0].mid))
    assert "m=audio 5000 RTP/SAVPF 111\r\n" in answer
    assert "a=mid" not in answer


def test_a_section_that_only_carries_the_bundle_stays_and_does_nothing():
    lost = section("video", "v", "a=rtpmap:98 VP9/90000\n", formats="98 99")
    bare = TRANSPORT.partition("a=candidate")[0]
    made = offer(lost, section("audio", "a", transport=bare), group="v a")
    lines = complete(made, HEAD + written("audio", "a")).splitlines()
    assert "a=group:BUNDLE v a" in lines
    video = lines[lines.index("m=video 9 UDP/TLS/RTP/SAVPF 98") : lines.index("m=audio 5000 UDP/TLS/RTP/SAVPF 111")]
    assert {
        "a=inactive",
        "a=mid:v",
        "a=rtcp-mux",
        "a=rtpmap:98 vp9/90000",
        "a=ice-ufrag:ours",
        "a=setup:active",
    } <= set(video)


def test_external_address_replaces_host_candidates_of_its_family_only():
    text = (
        "a=candidate:1 1 udp 2130706431 10.0.0.5 5000 typ host\r\n"
        "a=candidate:2 1 udp 2130706431 127.0.0.1 5001 typ host\r\n"
        "a=candidate:3 1 udp 2130706431 fd00::5 5002 typ host\r\n"
        "a=candidate:4 1 udp 1 198.51.100.1 6 typ srflx raddr 10.0.0.5 rport 5000\r\n"
    )
    assert announce(text, "203.0.113.9") == text.replace("10.0.0.5 5000 typ", "203.0.113.9 5000 typ")
    assert announce(text, "2001:db8::9") == text.replace("fd00::5", "2001:db8::9")
    assert announce(text, None) == text


def test_opus_is_asked_for_with_fec_in_every_section_once():
    audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n"
    asked = ask_for_fec(audio + audio)
    assert asked == f"{audio}a=fmtp:111 minptime=10;useinbandfec=1\r\n" * 2
    assert ask_for_fec(asked) == asked
    assert ask_for_fec("v=0\r\n") == "v=0\r\n"
