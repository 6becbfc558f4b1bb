"""Offers as they are written by browsers and other clients: each is answered, and by the rules (``tests/offers``)."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from server.http.signaling.offer import REGISTRY
from tests.fakes.offer_answer import check, parts

OFFERS = Path(__file__).parents[2] / "offers"

ANSWERS = {
    "aiortc-audio-video-data": "audio:sendrecv video:sendrecv application",
    "aiortc-data-first": "application video:sendrecv audio:sendrecv",
    "chromium-audio-data-no-candidates": "audio:sendrecv application",
    "chromium-data-first": "application video:sendrecv audio:sendrecv",
    "chromium-max-bundle": "audio:sendrecv video:sendrecv video:recvonly application",
    "chromium-page": "audio:sendrecv video:sendrecv video:recvonly application",
    "chromium-pcmu-first": "audio:sendrecv application",
    "chromium-red-first": "audio:sendrecv application",
    "chromium-sendonly-recvonly": "audio:recvonly video:recvonly audio:sendonly video:sendonly application",
    "chromium-simulcast": "audio:sendrecv video:sendrecv application",
    "chromium-video-first": "video:sendrecv audio:sendrecv application",
    "chromium-vp9-only": "video:0 audio:sendrecv application",
    "esp32": "audio:sendrecv video:0 application",
    "ffmpeg-whip": "audio:recvonly video:recvonly",
    "firefox-audio-data-no-candidates": "audio:sendrecv application",
    "firefox-data-first": "application video:sendrecv audio:sendrecv",
    "firefox-max-bundle": "audio:sendrecv video:sendrecv video:recvonly application",
    "firefox-page": "audio:sendrecv video:sendrecv video:recvonly application",
    "firefox-sendonly-recvonly": "audio:recvonly video:recvonly audio:sendonly video:sendonly application",
    "firefox-simulcast": "audio:sendrecv video:sendrecv application",
    "firefox-vp9-only": "video:0 audio:sendrecv application",
    "gstreamer-max-bundle": "video:sendrecv audio:sendrecv application",
    "gstreamer-unbundled": "video:sendrecv audio:sendrecv application",
    "libwebrtc-2015": "audio:sendrecv video:sendrecv",
    "libwebrtc-android": "video:sendrecv audio:sendrecv application",
    "libwebrtc-ios": "audio:sendrecv video:sendrecv application",
    "obs-whip": "audio:recvonly video:recvonly",
    "pion": "audio:sendrecv video:sendrecv application",
    "refusals": "video:0 audio:0 audio:sendrecv video:0 video:sendrecv application application:0 text:0",
    "rfc-whip": "audio:recvonly video:recvonly",
    "safari-12-ios": "audio:sendrecv video:sendrecv application",
    "safari-18": "audio:sendrecv video:sendrecv application",
    "sfu-ice-lite": "audio:sendonly video:sendonly application video:recvonly audio:recvonly",
    "sip-gateway": "audio:sendrecv video:0",
    "webrtc-rs-whip": "video:recvonly audio:recvonly",
}
"""What our side does with each section."""
CODECS = {"opus/48000", "vp8/90000", "h264/90000", "rtx/90000"}


def offer(name: str) -> str:
    return (OFFERS / f"{name}.sdp").read_text("utf-8")


def test_every_offer_of_the_corpus_is_expected():
    assert {path.stem for path in OFFERS.glob("*.sdp")} == set(ANSWERS)


@pytest.mark.parametrize("name", ANSWERS)
async def test_every_offer_is_answered_by_the_rules(serve, name):
    url, app = await serve()
    sdp = offer(name)
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/offer", json={"sdp": sdp, "type": "offer"}) as response,
    ):
        body = await response.json()
    assert response.status == 200, body
    check(sdp, body["sdp"])
    _, sections = parts(body["sdp"])
    shown = [
        f"{one.kind}:0" if not one.port else f"{one.kind}:{one.direction}" if one.direction else one.kind
        for one in sections
    ]
    assert " ".join(shown) == ANSWERS[name]
    assert {codec for one in sections if one.port for codec in one.codecs.values()} <= CODECS
    assert len(app[REGISTRY]) == 1
