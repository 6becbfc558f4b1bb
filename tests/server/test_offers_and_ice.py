"""Offers are checked field by field, and made fit for aiortc."""

from __future__ import annotations

import aioice.ice
import pytest

from server import ice, sdp
from server.offers import LARGEST_SDP, OfferError, read_offer
from server.settings import load_settings

AUDIO = (
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n"
    "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n"
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\n"
    "a=rtpmap:111 opus/48000/2\r\n"
)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (None, "invalid_body", None),
        ([], "invalid_body", None),
        ({}, "invalid_type", "type"),
        ({"type": "answer", "sdp": AUDIO}, "invalid_type", "type"),
        ({"type": ["offer"], "sdp": AUDIO}, "invalid_type", "type"),
        ({"type": "offer"}, "invalid_sdp", "sdp"),
        ({"type": "offer", "sdp": 7}, "invalid_sdp", "sdp"),
        ({"type": "offer", "sdp": "  "}, "invalid_sdp", "sdp"),
        ({"type": "offer", "sdp": "m=audio nonsense"}, "invalid_sdp", "sdp"),
        ({"type": "offer", "sdp": "hello"}, "no_media", "sdp"),
        ({"type": "offer", "sdp": "v=0\r\ns=-\r\n"}, "no_media", "sdp"),
        ({"type": "offer", "sdp": AUDIO.replace("opus/48000/2", "PCMU/8000")}, "no_opus", "sdp"),
        ({"type": "offer", "sdp": AUDIO.replace("a=ice-ufrag:abcd\r\n", "")}, "invalid_sdp", "sdp"),
        ({"type": "offer", "sdp": AUDIO.replace("a=fingerprint", "a=fingerprinx")}, "invalid_sdp", "sdp"),
        ({"type": "offer", "sdp": AUDIO + "x" * LARGEST_SDP}, "sdp_too_large", "sdp"),
    ],
)
def test_bad_offers_name_the_field(body, code, param):
    with pytest.raises(OfferError) as refused:
        read_offer(body)
    assert refused.value.code == code
    assert refused.value.param == param


def test_extra_fields_are_ignored_and_directions_read():
    offer = read_offer({"type": "offer", "sdp": AUDIO, "video_transform": "none"})
    assert offer.wants_audio
    assert not offer.wants_video
    assert not read_offer({"type": "offer", "sdp": AUDIO.replace("sendrecv", "sendonly")}).wants_audio


def test_mdns_candidates_and_their_end_are_dropped():
    lines = (
        "a=candidate:1 1 udp 2113937151 8f0e.local 50000 typ host generation 0\r\n"
        "a=candidate:2 1 udp 2113937151 192.0.2.7 50001 typ host\r\n"
        "a=end-of-candidates\r\n"
    )
    assert sdp.normalise_offer(AUDIO + lines) == AUDIO + lines.splitlines(keepends=True)[1]


def test_external_address_replaces_host_candidates_only():
    text = "a=candidate:1 1 udp 2130706431 10.0.0.5 5000 typ host\r\na=candidate:2 1 udp 1 198.51.100.1 6 typ srflx\r\n"
    assert sdp.announce(text, "203.0.113.9") == text.replace("10.0.0.5", "203.0.113.9")
    assert sdp.announce(text, None) == text


def test_opus_is_asked_for_with_fec_once():
    asked = sdp.ask_for_fec(AUDIO)
    assert asked == f"{AUDIO}a=fmtp:111 minptime=10;useinbandfec=1\r\n"
    assert sdp.ask_for_fec(asked) == asked
    assert sdp.ask_for_fec("v=0\r\n") == "v=0\r\n"


@pytest.fixture
def offered(monkeypatch):
    """The addresses that would be offered now; what a test chooses ends with it."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", aioice.ice.get_host_addresses)
    return lambda **families: aioice.ice.get_host_addresses(**{"use_ipv4": True, "use_ipv6": True, **families})


def test_local_addresses_can_be_chosen(offered):
    ice.gather_from(["127.0.0.1", "::1"])
    assert offered() == ["127.0.0.1", "::1"]
    assert offered(use_ipv6=False) == ["127.0.0.1"]
    ice.gather_from(None)
    assert "127.0.0.1" not in offered()


@pytest.mark.parametrize(
    ("outward", "interfaces", "addresses"),
    [
        (["192.0.2.7", None], ["172.17.0.1"], ["127.0.0.1", "192.0.2.7"]),
        ([None, "2001:db8::7"], ["172.17.0.1"], ["127.0.0.1", "2001:db8::7"]),
        ([None, None], ["fe80::1", "172.17.0.1", "10.0.0.1"], ["127.0.0.1", "172.17.0.1"]),
        ([None, None], [], ["127.0.0.1"]),
    ],
)
def test_on_loopback_an_address_that_firefox_accepts_is_offered_too(
    offered, monkeypatch, outward, interfaces, addresses
):
    found = iter(outward)
    monkeypatch.setattr(ice, "_outward", lambda *_: next(found))
    monkeypatch.setattr(ice, "_gather_all", lambda use_ipv4, use_ipv6: interfaces)
    ice.gather_as_set(load_settings({}))
    assert offered() == addresses


def test_the_way_to_other_machines_is_looked_up_without_a_packet():
    assert ice._outward("0.0.0.0", "127.0.0.1") is None
    address = ice._outward("0.0.0.0", "198.51.100.1")
    assert address is None or address in ice._gather_all(use_ipv4=True, use_ipv6=False)


def test_off_loopback_every_interface_is_offered(offered):
    ice.gather_as_set(load_settings({"host": "0.0.0.0", "api_key": "a-key-of-some-length"}))
    assert offered() == ice._gather_all(use_ipv4=True, use_ipv6=True)
    ice.gather_as_set(load_settings({"ice_address": ("192.0.2.9",)}))
    assert offered() == ["192.0.2.9"]
