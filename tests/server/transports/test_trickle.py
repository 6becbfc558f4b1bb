"""Candidates that come after the offer: how they are written, where they belong, and which of them are tried."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.transports.webrtc.candidates import DEFAULT_RANGES
from server.transports.webrtc.offers import read_offer
from server.transports.webrtc.trickle import (
    LARGEST_FRAGMENT,
    MOST_AT_ONCE,
    MOST_IN_ALL,
    Trickled,
    TrickleError,
    Trickling,
    parse_fragment,
)
from tests.server.transports.test_offer_corpus import OFFERS

HOST = "1 1 udp 2122260223 192.168.1.9 50000 typ host"
FRAGMENT = f"""a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=group:BUNDLE 0 1
m=audio 9 RTP/AVP 0
a=mid:0
a=candidate:{HOST} generation 0 ufrag EsAw network-cost 999
a=candidate:2 1 tcp 1518280447 192.168.1.9 9 typ host tcptype active
a=end-of-candidates
m=video 9 RTP/AVP 0
a=mid:1
a=candidate:3 1 udp 1 192.168.1.9 50001 typ host
"""


def offered(name: str = "rfc-whip") -> Trickling:
    sdp = (OFFERS / f"{name}.sdp").read_text("utf-8")
    return Trickling(read_offer({"type": "offer", "sdp": sdp}).negotiation, DEFAULT_RANGES)


def host(address: str = "192.168.1.9", port: int = 50_000, priority: int = 1, rest: str = "") -> str:
    return f"1 1 udp {priority} {address} {port} typ host{rest}"


def refusal(trickling: Trickling, *candidates: Trickled) -> TrickleError:
    with pytest.raises(TrickleError) as caught:
        trickling.take(candidates)
    return caught.value


# ---------------------------------------------------------------------------------------------------- as it is written


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_fragment_is_read(end):
    found = parse_fragment(FRAGMENT.replace("\n", end))
    assert [(one.candidate.split()[:1], one.mid) for one in found] == [
        ([], None),
        (["1"], "0"),
        (["2"], "0"),
        ([], "0"),
        (["3"], "1"),
        ([], "1"),
    ]
    assert {one.ufrag for one in found} == {"EsAw"}
    assert found[1].candidate.startswith(HOST)


def test_a_section_may_have_credentials_of_its_own_and_a_candidate_no_section():
    text = f"a=ice-ufrag:one\na=candidate:{HOST}\nm=audio 9 RTP/AVP 0\na=mid:a\na=ice-ufrag:two\n"
    assert [(one.mid, one.ufrag) for one in parse_fragment(text)] == [(None, "one"), (None, "one"), ("a", "two")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a=candidate"),
        ("hello", "a=candidate"),
        ("v=0\r\na=ice-pwd:x\r\n", "a=candidate"),
        ("m=audio x", "section 0"),
        ("m=audio 9 RTP/AVP 0\na=mid:0\nm=audio 9 RTP/AVP 0\na=mid:0\n", "a=mid:0"),
        ("\n" * 5000, "lines"),
    ],
)
def test_what_is_no_fragment_is_refused(text, words):
    with pytest.raises(TrickleError, match=words) as caught:
        parse_fragment(text)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "invalid_candidates", "body")


def test_a_fragment_has_a_largest_size():
    with pytest.raises(TrickleError) as caught:
        parse_fragment("a" * (LARGEST_FRAGMENT + 1))
    assert caught.value.status == 413


LINES = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(FRAGMENT.splitlines()),
        st.text(max_size=60).map(lambda text: f"a=candidate:{text}"),
        st.text(max_size=10).map(lambda text: f"a=mid:{text}"),
    ),
    max_size=30,
)


@given(LINES)
def test_whatever_is_written_is_read_or_refused(lines):
    trickling = offered()
    try:
        taken = trickling.take(parse_fragment("\n".join(lines)))
    except TrickleError as error:
        assert error.status in (400, 413, 422)
        assert error.param
    else:
        assert all(mid == "0" and len(value.split()) == 8 for mid, value in taken)


# ---------------------------------------------------------------------------------------------------- where it belongs


@pytest.mark.parametrize(
    "where",
    [{"mid": "0"}, {"mid": "1"}, {"index": 0}, {"index": 1}, {}, {"mid": "1", "index": 7}],
    ids=str,
)
def test_all_sections_of_a_bundle_have_the_transport_of_its_first(where):
    assert offered().take([Trickled(f"candidate:{HOST}", **where)]) == [("0", HOST)]


def test_without_a_bundle_the_section_says_which_transport():
    trickling = offered("gstreamer-unbundled")
    mids = list(trickling._tried)
    assert len(mids) > 1
    assert trickling.take([Trickled(HOST, index=1)]) == [(mids[1], HOST)]
    assert refusal(trickling, Trickled(HOST)).param == "mid"
    assert trickling.take([Trickled("", ufrag=trickling._ufrags[mids[1]])]) == []
    assert refusal(trickling, Trickled("", ufrag="other")).status == 422


@pytest.mark.parametrize(
    ("where", "param"),
    [({"mid": "nobody"}, "mid"), ({"mid": ""}, "mid"), ({"index": 2}, "index"), ({"index": -1}, "index")],
)
def test_a_section_that_was_not_offered_is_refused(where, param):
    error = refusal(offered(), Trickled(HOST, **where))
    assert (error.status, error.code, error.param) == (400, "unknown_section", param)


def test_a_section_that_was_refused_is_passed_over():
    trickling = offered("refusals")
    negotiation = trickling._negotiation
    taken = {one.section.index for one in negotiation.taken}
    refused = next(section.index for section in negotiation.description.sections if section.index not in taken)
    assert trickling.take([Trickled(HOST, index=refused)]) == []


def test_other_credentials_would_be_a_restart():
    trickling = offered()
    assert trickling.take([Trickled("", "0", ufrag="UkhU")]) == []
    for one in (Trickled(HOST, "0", ufrag="other"), Trickled("", ufrag="other")):
        error = refusal(trickling, one)
        assert (error.status, error.code) == (422, "ice_restart_unsupported")


def test_a_candidate_of_an_earlier_generation_is_passed_over():
    one, other = host(port=1, rest=" generation 0 ufrag UkhU"), host(port=2, rest=" generation 0 ufrag other")
    assert offered().take([Trickled(one, "0"), Trickled(other, "0")]) == [("0", host(port=1))]


# ---------------------------------------------------------------------------------------------------- what is tried


@pytest.mark.parametrize(
    "value",
    [
        "",
        "candidate:",
        "end-of-candidates",
        "a=end-of-candidates",
        host("4be42f15-9b0f-4f0f-8a3f-0b1f5d0a4c11.local"),
        host("example.org"),
        host("127.0.0.1"),
        host("224.0.0.251"),
        "1 1 tcp 1518280447 192.168.1.9 9 typ host tcptype active",
        "1 2 udp 1 192.168.1.9 9 typ host",
    ],
)
def test_what_cannot_or_may_not_be_tried_is_passed_over(value):
    assert offered().take([Trickled(value, "0")]) == []


@pytest.mark.parametrize("value", ["x", "1 1 udp 1 192.168.1.9 50000", "1 1 udp x 192.168.1.9 50000 typ host"])
def test_what_is_no_candidate_is_refused_and_nothing_is_tried(value):
    trickling = offered()
    error = refusal(trickling, Trickled(HOST, "0"), Trickled(value, "0"))
    assert (error.code, error.param) == ("invalid_candidates", "candidate")
    assert trickling.take([Trickled(HOST, "0")]) == [("0", HOST)]


def test_each_address_is_tried_once_whether_offered_or_trickled():
    trickling = offered("obs-whip")  # which offers 192.168.188.53:57249
    again, new = host("192.168.188.53", 57249), host("192.168.188.53", 57250)
    assert trickling.take([Trickled(again, "0"), Trickled(new, "0"), Trickled(new, "1")]) == [("0", new)]
    assert trickling.take([Trickled(new, "0")]) == []


def test_a_request_and_a_connection_have_a_limit():
    trickling = offered()
    error = refusal(trickling, *[Trickled(HOST, "0")] * (MOST_AT_ONCE + 1))
    assert error.code == "too_many_candidates"
    tried = [one for port in range(1, 60) for one in trickling.take([Trickled(host(port=port), "0")])]
    assert len(tried) == MOST_IN_ALL
