"""Offers of real browsers with their sections in any order: voice, picture and events come in both directions."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Page

from server.http.signaling.offer import REGISTRY
from tests.browser.waiting import SECONDS, in_browsers, until_true
from tests.conftest import fake_engines
from tests.fakes.vision import FakeVision

pytestmark = in_browsers

CALL = """async ({ layout, policy }) => {
    const call = (window.call = { events: 0 });
    const pc = (call.pc = new RTCPeerConnection({ bundlePolicy: policy }));
    const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
    const tracks = { audio: media.getAudioTracks()[0], video: media.getVideoTracks()[0] };
    tracks.screen = tracks.video.clone();
    for (const word of layout) {
        const [name, what] = word.split(":");
        if (name === "data") {
            call.channel = pc.createDataChannel("oai-events");
            call.channel.onmessage = () => { call.events += 1; };
        } else {
            const direction = what ?? (name === "screen" ? "sendonly" : "sendrecv");
            const source = direction === "recvonly" ? name : tracks[name];
            const transceiver = pc.addTransceiver(source, { direction: what === "vp9" ? "sendrecv" : direction });
            if (what === "vp9") {
                const { codecs } = RTCRtpReceiver.getCapabilities("video");
                transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType === "video/VP9"));
            }
        }
        await pc.setLocalDescription(await pc.createOffer()); // a section that was once offered keeps its place
    }
    while (pc.iceGatheringState !== "complete") {
        await new Promise((next) => pc.addEventListener("icegatheringstatechange", next, { once: true }));
    }
    const response = await fetch("/offer", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ type: "offer", sdp: pc.localDescription.sdp }),
    });
    const { sdp } = await response.json();
    await pc.setRemoteDescription({ type: "answer", sdp });
    const sections = (text) => text.match(/^m=.*/gm).map((line) => line.split(" "));
    return { offered: sections(pc.localDescription.sdp), answered: sections(sdp) };
}"""

COMES = """async (kinds) => {
    const found = async () => {
        const received = { data: call.events };
        for (const one of (await call.pc.getStats()).values()) {
            if (one.type !== "inbound-rtp") continue;
            const amount = one.kind === "audio" ? one.packetsReceived : one.framesDecoded;
            received[one.kind] = Math.max(received[one.kind] ?? 0, amount ?? 0);
        }
        return kinds.every((kind) => received[kind] > 0);
    };
    while (!(await found())) await new Promise((next) => setTimeout(next, 20));
}"""

LAYOUTS = [
    "audio",
    "video",
    "audio data",
    "data audio",
    "video audio",
    "data video",
    "audio video data",
    "video audio data",
    "audio data video",
    "video data audio",
    "data audio video",
    "data video audio",
    "audio video screen data",
    "screen data video audio",
    "audio:sendonly video:sendonly audio:recvonly video:recvonly data",
    "video:vp9 audio data",
    "audio data video:vp9",
]


async def call(page: Page, layout: str, policy: str = "balanced") -> list[str]:
    """Connect; returns the kinds of the sections that were refused, and checks that no others were moved."""
    said = await page.evaluate(CALL, {"layout": layout.split(), "policy": policy})
    assert [words[0] for words in said["answered"]] == [words[0] for words in said["offered"]]
    return [words[0][2:] for words in said["answered"] if words[1] == "0"]


async def comes(page: Page, layout: str) -> None:
    """Wait for what must come back: voice, picture, events."""
    words = [word for word in layout.split() if not word.endswith(("screen", ":vp9"))]
    kinds = sorted({word.split(":")[0] for word in words})
    try:
        async with asyncio.timeout(SECONDS):
            await page.evaluate(COMES, kinds)
    except TimeoutError:
        raise AssertionError(f"{layout}: not all of {kinds} came") from None


@pytest.mark.long
async def test_sections_in_any_order_connect(serve, browser_page):
    url, app = await serve(fake_engines(vision=FakeVision()))
    page = await browser_page(url)
    for layout in LAYOUTS:
        assert await call(page, layout) == ["video"] * layout.count("vp9"), layout
        session: Any = list(app[REGISTRY]._sessions.values())[-1]
        await comes(page, layout)
        assert len(session.tracks.video) == len(re.findall(r"screen|video(?!:vp9|:recvonly)", layout)), layout
        await until_true(lambda: all(reader.feed.received > 0 for reader in session.tracks.video))  # noqa: B023
        await page.evaluate("() => call.pc.close()")


async def test_one_transport_for_all_connects(serve, browser_page):
    """Chromium refuses an answer that refuses the section which all others depend on: it must be kept."""
    url, _ = await serve(fake_engines(vision=FakeVision()))
    page = await browser_page(url)
    for layout in ("audio video screen data", "video audio data", "data video audio", "video:vp9 audio data"):
        assert await call(page, layout, "max-bundle") == [], layout
        await comes(page, layout)
        await page.evaluate("() => call.pc.close()")
