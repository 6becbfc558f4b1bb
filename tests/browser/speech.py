"""Speaking into the page, and what its call has sent and received, alike in every browser."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import numpy as np
from playwright.async_api import Page

from media.opus import RATE
from media.resample import Resampler
from pipelines.engines.tts.espeak import EspeakVoice
from tests.browser.waiting import SECONDS

SPEAKER = """
    if (!navigator.mediaDevices) return;
    const ask = MediaDevices.prototype.getUserMedia;
    MediaDevices.prototype.getUserMedia = async function (wanted) {
        const stream = await ask.call(this, wanted);
        const context = new AudioContext({ sampleRate: RATE });
        await context.resume();
        const mouth = context.createMediaStreamDestination();
        const play = (samples, loop) => {
            const buffer = context.createBuffer(1, samples.length, RATE);
            buffer.copyToChannel(samples, 0);
            const source = new AudioBufferSourceNode(context, { buffer, loop });
            source.connect(mouth);
            source.start();
            return new Promise((done) => { source.onended = () => done(); });
        };
        play(Float32Array.from({ length: RATE }, () => (Math.random() - 0.5) * 0.002), true);
        for (const track of stream.getAudioTracks()) { stream.removeTrack(track); track.stop(); }
        stream.addTrack(mouth.stream.getAudioTracks()[0]);
        window.sayAloud = (text) => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            return play(Float32Array.from(new Int16Array(bytes.buffer), (sample) => sample / 32768), false);
        };
        return stream;
    };
    const calls = window.calls = [];
    window.RTCPeerConnection = class extends window.RTCPeerConnection {
        constructor(...options) { super(...options); calls.push(this); }
    };
""".replace("RATE", str(RATE))
"""The page's microphone is a room with a faint noise (no microphone hears digital silence) in which to speak."""

TRAFFIC = """async () => {
    const found = {};
    for (const entry of (await window.calls.at(-1).getStats()).values()) {
        if (entry.type === "inbound-rtp") {
            found[`${entry.kind} received`] = entry.bytesReceived;
            if (entry.kind === "video") found["pictures decoded"] = entry.framesDecoded;
            else found["energy heard"] = entry.totalAudioEnergy;
        }
        if (entry.type === "outbound-rtp" && entry.bytesSent > 0) {
            found[`${entry.kind} sent`] = entry.bytesSent;
            if (entry.kind === "video") found["pictures sent"] = entry.framesSent;
        }
    }
    return found;
}"""


async def synthesize(text: str) -> bytes:
    """``text`` said by the embedded voice: 16-bit samples at 48 kHz."""
    voice, resampler = EspeakVoice(), Resampler(RATE)
    pieces = [resampler.push(piece.samples, piece.rate) async for piece in voice.synthesize(text, speed=0.9)]
    await voice.close()
    return np.concatenate([*pieces, resampler.flush()]).astype("<i2").tobytes()


async def say(page: Page, samples: bytes) -> None:
    """Say it into the microphone of a page opened with ``init=SPEAKER``; returns after the last sound."""
    await page.evaluate("(text) => window.sayAloud(text)", base64.b64encode(samples).decode())


async def traffic(page: Page, *wanted: str) -> dict[str, Any]:
    """The statistics of the page's call (see :data:`TRAFFIC`), once all that are ``wanted`` are above zero."""
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(SECONDS):
            while not all(found.get(name) for name in wanted):
                found = await page.evaluate(TRAFFIC)
    except TimeoutError:
        raise AssertionError(f"not all of {wanted} within {SECONDS:g} s: {found}") from None
    return found
