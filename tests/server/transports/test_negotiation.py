"""What of an offer is taken, and how it is put to aiortc."""

from __future__ import annotations

from typing import Any

import pytest
from aiortc.sdp import SessionDescription

from server.transports.webrtc.candidates import DEFAULT_RANGES
from server.transports.webrtc.negotiation import MOST_TAKEN, Negotiation, negotiate
from server.transports.webrtc.sdp import SdpError, parse

DIGEST = ":".join(["AB"] * 32)
TRANSPORT = (
    f"a=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\na=fingerprint:sha-256 {DIGEST}\n"
    "a=setup:actpass\na=candidate:1 1 udp 5 192.168.1.9 50000 typ host\n"
)
OPUS, VP8 = "a=rtpmap:111 opus/48000/2\n", "a=rtpmap:96 VP8/90000\n"


def section(
    kind: str, mid: str, lines: str = "", *, port: int = 9, formats: str = "", transport: str = TRANSPORT
) -> str:
    known = {"audio": ("111", OPUS), "video": ("96", VP8)}
    if kind == "application":
        return (
            f"m=application {port} UDP/DTLS/SCTP webrtc-datachannel\na=mid:{mid}\na=sctp-port:5000\n{lines}{transport}"
        )
    default, rtpmap = known.get(kind, ("100", ""))
    head = f"m={kind} {port} UDP/TLS/RTP/SAVPF {formats or default}\na=mid:{mid}\na=rtcp-mux\n"
    return head + (lines if formats else rtpmap + lines) + transport


def offer(*sections: str, group: str | None = None, session: str = "") -> Negotiation:
    head = "v=0\ns=-\n" + (f"a=group:BUNDLE {group}\n" if group is not None else "") + session
    return negotiate(parse(head + "".join(sections)), DEFAULT_RANGES)


def seen(negotiation: Negotiation) -> list[Any]:
    """The sections as aiortc reads them."""
    return SessionDescription.parse(negotiation.sdp).media


def test_sections_keep_their_order_and_the_first_of_the_bundle_leads():
    made = offer(section("video", "v"), section("application", "d"), section("audio", "a"), group="d a v")
    assert [media.rtp.muxId for media in seen(made)] == ["v", "d", "a"]
    assert made.bundle == ("d", "a", "v")
    assert "a=group:BUNDLE d a v\r\n" in made.sdp


def test_bundled_sections_share_what_the_first_says_of_the_transport():
    bare = section("video", "v", "a=bundle-only\n", port=0, transport="a=setup:active\na=ice-ufrag:other\n")
    audio, video = seen(offer(section("audio", "a"), bare, group="a v"))
    for media in (audio, video):
        assert (media.ice.usernameFragment, media.dtls.role, len(media.ice_candidates)) == ("abcd", "auto", 1)
    assert video.port == 9


def test_sections_outside_of_the_bundle_keep_transports_of_their_own():
    other = TRANSPORT.replace("abcd", "efgh").replace("192.168.1.9", "192.168.1.8")
    made = offer(
        section("audio", "a"), section("video", "v", transport=other), section("application", "d"), group="a d"
    )
    assert [media.ice.usernameFragment for media in seen(made)] == ["abcd", "efgh", "abcd"]
    assert [media.ice_candidates[0].ip for media in seen(made)] == ["192.168.1.9", "192.168.1.8", "192.168.1.9"]
    assert made.bundle == ("a", "d")


def test_the_session_may_say_it_for_all():
    head = TRANSPORT.replace("a=candidate", "a=x") + "a=sendonly\na=ice-lite\n"
    audio, video = seen(offer(section("audio", "0", transport=""), section("video", "1", transport=""), session=head))
    assert [media.ice.password for media in (audio, video)] == ["0123456789012345678901"] * 2
    assert audio.direction == video.direction == "sendonly"
    assert audio.ice.iceLite


def test_what_a_section_says_stands_before_what_the_session_says():
    digests = f"a=fingerprint:sha-256 {':'.join(['CD'] * 32)}\n"
    (media,) = seen(offer(section("audio", "0"), session=digests))
    assert [one.value for one in media.dtls.fingerprints] == [DIGEST]


def test_the_transport_is_that_of_the_first_section_that_is_taken():
    lost = section("video", "v", "a=rtpmap:98 VP9/90000\n", formats="98", transport=TRANSPORT.replace("abcd", "efgh"))
    made = offer(lost, section("audio", "a"), section("application", "d", transport=""), group="v a d")
    assert [media.ice.usernameFragment for media in seen(made)] == ["abcd", "abcd"]
    assert made.bundle == ("a", "d")
    assert made.carrier is None


@pytest.mark.parametrize(
    "others",
    [
        (
            section("audio", "a", transport=TRANSPORT.partition("a=candidate")[0]),
            section("application", "d", transport=""),
        ),
        (
            section("audio", "a", "a=bundle-only\n", port=0, transport=""),
            section("application", "d", "a=bundle-only\n", port=0, transport=""),
        ),
    ],
    ids=["without candidates of their own", "bundle-only"],
)
def test_a_section_that_carries_the_bundle_is_kept_though_it_is_not_taken(others):
    lost = section("video", "v", "a=rtpmap:98 VP9/90000\n", formats="98")
    made = offer(lost, *others, group="v a d")
    assert made.carrier is not None
    assert made.carrier.value("mid") == "v"
    assert [media.ice_candidates[0].ip for media in seen(made)] == ["192.168.1.9"] * 2


def refused(*sections: str, group: str | None = None) -> list[int]:
    made = offer(*sections, group=group)
    return [one.index for one in made.description.sections if one.index not in {t.section.index for t in made.taken}]


def test_a_section_without_a_port_is_refused_unless_it_is_bundled():
    only = section("video", "v", "a=bundle-only\n", port=0)
    assert refused(section("audio", "a"), section("video", "v", port=0), group="a v") == [1]
    assert refused(section("audio", "a"), only, group="a v") == []
    assert refused(section("audio", "a"), only, group="a") == [1]
    assert refused(section("audio", "a"), only) == [1]


@pytest.mark.parametrize(
    "bad",
    [
        section("audio", "x", "a=rtpmap:18 G729/8000\n", formats="18"),
        section("audio", "x", "", formats="0 8 9"),
        section("audio", "x", "a=rtpmap:111 opus/8000/2\n", formats="111"),
        section("audio", "x", "a=rtpmap:111 opus/48000/2\n", formats="110"),
        section("video", "x", "a=rtpmap:45 AV1/90000\na=rtpmap:98 VP9/90000\n", formats="45 98"),
        section("video", "x", "a=rtpmap:96 rtx/90000\na=fmtp:96 apt=97\n", formats="96"),
        section("video", "x", "a=rtpmap:96 H264/90000\n", formats="96"),
        section(
            "video",
            "x",
            "a=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;profile-level-id=64001f\n",
            formats="96",
        ),
        section(
            "video", "x", "a=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;profile-level-id=zz\n", formats="96"
        ),
        section("video", "x", "a=rtpmap:35 VP8/90000\n", formats="35"),
        section("video", "x").replace("UDP/TLS/RTP/SAVPF", "RTP/XYZ"),
        section("application", "x").replace("5000", "0"),
        section("application", "x").replace("webrtc-datachannel", "other"),
        section("application", "x").replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP webrtc-datachannel"),
        section("text", "x"),
        section("image", "x").replace("UDP/TLS/RTP/SAVPF 100", "udptl t38"),
    ],
)
def test_what_is_not_spoken_is_refused_and_the_rest_is_taken(bad):
    assert refused(section("audio", "a"), bad, section("video", "v"), group="a x v") == [1]


def test_a_second_data_section_and_too_many_others_are_refused():
    many = [section("audio", f"a{n}") for n in range(MOST_TAKEN["audio"] + 1)]
    assert refused(*many, section("application", "d"), section("application", "e")) == [
        MOST_TAKEN["audio"],
        len(many) + 1,
    ]


def test_a_refused_section_need_not_tell_a_transport():
    assert refused(section("audio", "a"), section("video", "v", port=0, transport=""), group="a") == [1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("a=ice-ufrag:abcd\n", ""), r"section 1 \(m=video\) lacks ICE credentials"),
        (("a=ice-pwd:0123456789012345678901\n", "a=ice-pwd: \n"), "lacks ICE credentials"),
        (("abcd", "ab cd"), "lacks ICE credentials"),
        (("a=fingerprint", "a=f"), r"section 1 .* lacks a certificate fingerprint .* sha-256, sha-384, sha-512"),
        (("sha-256", "sha-1"), "lacks a certificate fingerprint"),
        ((DIGEST, DIGEST[3:]), "lacks a certificate fingerprint"),
        (("actpass", "holdconn"), "a=setup must be actpass, active, passive, not 'holdconn'"),
        (("a=rtcp-mux\n", ""), "lacks a=rtcp-mux"),
        (("a=mid:v", "a=mid:\x7f"), "a=mid must be a word"),
    ],
)
def test_what_cannot_be_connected_is_told_with_its_section(changed, message):
    with pytest.raises(SdpError, match=message):
        offer(section("audio", "a"), section("video", "v").replace(*changed))


def test_a_missing_role_may_be_either():
    (media,) = seen(offer(section("audio", "a").replace("a=setup:actpass\n", "")))
    assert media.dtls.role == "auto"


def test_our_voice_and_picture_go_where_the_peer_receives():
    names = ("a1", "a2", "a3"), ("v1", "v2")
    directions = {"a1": "sendonly", "a2": "recvonly", "a3": "sendrecv", "v1": "inactive", "v2": "sendrecv"}
    sections = [section("audio", mid, f"a={directions[mid]}\n") for mid in names[0]]
    sections += [section("video", mid, f"a={directions[mid]}\n") for mid in names[1]]
    made = offer(*sections, section("application", "d"))
    assert [one.mid for one in made.taken if one.sends] == ["a2", "v2"]
    assert [one.mid for one in made.media] == [*names[0], *names[1]]


def test_sections_without_names_get_some_and_no_extension_tells_them():
    extension = "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\n"
    sections = [section(kind, "x", extension).replace("a=mid:x\n", "") for kind in ("audio", "video")]
    made = offer(*sections, section("audio", "section-0"))
    assert [media.rtp.muxId for media in seen(made)] == ["section-0-", "section-1", "section-0"]
    assert "extmap" not in made.sdp


def codecs(made: Negotiation, index: int = 0) -> list[tuple[int, str]]:
    return [(codec.payloadType, codec.name) for codec in seen(made)[index].rtp.codecs]


def test_audio_is_opus_whatever_else_is_preferred():
    lines = (
        "a=rtpmap:63 red/48000/2\na=fmtp:63 111/111\na=rtpmap:110 telephone-event/48000\na=rtpmap:111 OPUS/48000/2\n"
    )
    assert codecs(offer(section("audio", "a", lines, formats="63 0 8 110 111"))) == [(111, "opus")]


def test_video_keeps_the_order_of_the_formats_and_their_retransmission():
    lines = (
        "a=fmtp:97 apt=96\na=fmtp:103 apt=102\na=fmtp:99 apt=98\n"
        "a=fmtp:102 PROFILE-LEVEL-ID=42E01F; Packetization-Mode=1 ;sprop-parameter-sets=Z0LA==,aM==\n"
        "a=fmtp:104 profile-level-id=42e01f;packetization-mode=0\n"
        "a=rtpmap:96 vp8/90000\na=rtpmap:97 rtx/90000\na=rtpmap:98 VP9/90000\na=rtpmap:99 rtx/90000\n"
        "a=rtpmap:102 H264/90000\na=rtpmap:103 rtx/90000\na=rtpmap:104 H264/90000\n"
        "a=rtcp-fb:* nack\na=rtcp-fb:102  nack  pli\na=rtcp-fb:96 transport-cc\na=rtcp-fb:96 goog-remb \n"
    )
    made = offer(section("video", "v", lines, formats="102 103 104 98 99 96 97"))
    assert codecs(made) == [(102, "h264"), (96, "vp8"), (103, "rtx"), (97, "rtx")]
    h264, vp8, *_ = seen(made)[0].rtp.codecs
    assert h264.parameters == {"packetization-mode": "1", "profile-level-id": "42e01f"}
    assert [(fb.type, fb.parameter) for fb in h264.rtcpFeedback] == [("nack", None), ("nack", "pli")]
    assert [(fb.type, fb.parameter) for fb in vp8.rtcpFeedback] == [("nack", None), ("goog-remb", None)]


def test_only_extensions_that_go_both_ways_are_passed_on():
    lines = (
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\n"
        "a=extmap:4/sendrecv urn:ietf:params:rtp-hdrext:sdes:mid\n"
        "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\na=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid\n"
        "a=extmap:5 urn:3gpp:video-orientation\na=extmap-allow-mixed\n"
    )
    (media,) = seen(offer(section("audio", "a", lines)))
    assert [(one.id, one.uri.rpartition(":")[2]) for one in media.rtp.headerExtensions] == [
        (1, "ssrc-audio-level"),
        (4, "mid"),
    ]
    (media,) = seen(offer(section("audio", "a", "a=extmap:4/recvonly urn:ietf:params:rtp-hdrext:sdes:mid\n")))
    assert media.rtp.headerExtensions == []


@pytest.mark.parametrize(
    ("lines", "sources"),
    [
        ("a=ssrc:7 cname:x\na=ssrc:7 msid:a b\n", [7]),
        ("a=ssrc:8 cname:x\na=ssrc:7 cname:x\na=ssrc-group:FID 7 8\n", [7, 8]),
        (
            "a=ssrc-group:SIM 1 3\na=ssrc-group:FID 1 2\na=ssrc-group:FID 3 4\na=ssrc:1 cname:x\na=ssrc:3 cname:x\n",
            [1, 2],
        ),
        ("a=ssrc:1 cname:x\na=ssrc:2 cname:x\na=ssrc:3 cname:x\n", [1]),
        ("a=ssrc:4294967296 cname:x\n", []),
        ("a=ssrc:x\n", []),
        ("a=simulcast:send q;h;f\na=rid:q send\n", []),
    ],
)
def test_one_source_and_its_retransmission_are_told(lines, sources):
    (media,) = seen(offer(section("video", "v", lines)))
    assert [one.ssrc for one in media.ssrc] == sources


def test_data_sections_of_both_generations_are_passed_on():
    (new,) = seen(offer(section("application", "d", "a=max-message-size:1000\n")))
    assert (new.sctp_port, new.sctpCapabilities.maxMessageSize) == (5000, 1000)
    old = section("application", "d", "a=sctpmap:5001 webrtc-datachannel 1024\n")
    (media,) = seen(offer(old.replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5001")))
    assert (media.profile, media.fmt, media.sctpCapabilities) == ("DTLS/SCTP", ["5001"], None)


@pytest.mark.parametrize("end", "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r")
def test_no_value_brings_lines_of_its_own(end):
    within = f"{end}a=candidate:1 1 udp 1 127.0.0.1 9 typ host"
    h264 = "a=rtpmap:102 H264/90000\na=fmtp:102 packetization-mode=1;profile-level-id=42e01f" + within + "\n"
    repaired = "a=rtpmap:103 rtx/90000\na=fmtp:103 apt=102" + within + "\n"
    lines = h264 + repaired + VP8
    made = offer(section("video", "v", lines, formats="102 103 96"))
    (media,) = seen(made)
    assert [one.ip for one in media.ice_candidates] == ["192.168.1.9"]
    assert "127.0.0.1" not in made.sdp


def test_nothing_that_was_not_understood_is_passed_on():
    hostile = "a=mystery:x\na=msid:- \u2028m=audio 9 X 1\na=ssrc:5 cname:\u2028m=video 9 X 1\na=fmtp:111 minptime=abc\n"
    made = offer(section("audio", "a", hostile))
    assert len(seen(made)) == 1
    assert made.sdp.isascii()
    assert not {"mystery", "msid", "minptime"} & {word for line in made.sdp.split() for word in line.split(":")}
