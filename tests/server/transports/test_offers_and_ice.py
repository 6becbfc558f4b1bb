"""Offers are checked field by field, and made fit for aiortc."""

from __future__ import annotations

import aiohttp
import aioice.ice
import pytest

from server.http.signaling.offer import REGISTRY
from server.settings import load_settings
from server.transports.webrtc import ice
from server.transports.webrtc.candidates import MOST_TRIED
from server.transports.webrtc.offers import LARGEST_SDP, OfferError, read_offer

AUDIO = (
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n"
    "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n"
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\n"
    "a=rtpmap:111 opus/48000/2\r\n"
)
VIDEO = AUDIO.replace("m=audio", "m=video").replace("opus/48000/2", "VP8/90000")


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
        ({"type": "offer", "sdp": AUDIO.replace("sha-256", "sha-1")}, "invalid_sdp", "sdp"),
        ({"type": "offer", "sdp": AUDIO.replace("AB:AB", "AB")}, "invalid_sdp", "sdp"),
        ({"type": "offer", "sdp": AUDIO.replace("actpass", "holdconn")}, "invalid_sdp", "sdp"),
        ({"type": "offer", "sdp": AUDIO.replace("a=rtcp-mux\r\n", "")}, "invalid_sdp", "sdp"),
        ({"type": "offer", "sdp": AUDIO.replace("a=mid:0", "a=mid:a b")}, "invalid_sdp", "sdp"),
        ({"type": "offer", "sdp": AUDIO + AUDIO[AUDIO.index("m=audio") :]}, "invalid_sdp", "sdp"),
        ({"type": "offer", "sdp": AUDIO.replace("m=audio 9", "m=audio 0")}, "no_media", "sdp"),
        ({"type": "offer", "sdp": VIDEO.replace("VP8", "AV1")}, "no_codec", "sdp"),
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


async def test_few_of_an_offers_addresses_are_tried_and_no_name_is_looked_up(serve, monkeypatch):
    async def looked_up(*_: object) -> None:
        raise AssertionError("a name was looked up")

    monkeypatch.setattr(aioice.ice, "get_or_create_mdns_protocol", looked_up)
    url, app = await serve(ice_peer_ranges=("private",))
    lines = [f"a=candidate:1 1 udp {port} 192.168.1.9 {port} typ host\r\n" for port in range(50_000, 50_100)]
    lines += ["a=candidate:2 1 udp 9 127.0.0.1 9 typ host\r\n", "a=candidate:3 1 udp 9 8.8.8.8 53 typ host\r\n"]
    lines += [
        "a=candidate:4  1  udp 9  8f0e.local  9  typ host\r\n",
        "a=candidate:5 1 udp 9 224.0.0.251 5353 typ host\r\n",
    ]
    lines += ["a=end-of-candidates\r\n"]
    body = {"type": "offer", "sdp": AUDIO + "".join(reversed(lines))}
    async with aiohttp.ClientSession() as http, http.post(f"{url}/offer", json=body) as response:
        assert response.status == 200
    (session,) = app[REGISTRY]._sessions.values()
    (transceiver,) = session._pc.getTransceivers()
    tried = transceiver.receiver.transport.transport.getRemoteCandidates()
    assert {(candidate.ip, candidate.port > 50_000) for candidate in tried} == {("192.168.1.9", True)}
    assert len(tried) == MOST_TRIED
