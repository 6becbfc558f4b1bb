"""Calls that do what nobody should, on servers of one or more checkouts in turn: what it costs a quiet call beside.

    .venv/bin/python -m tests.benchmarks.hostile_calls leaps sources --tree . --tree ../before --rounds 3

For each attack and checkout a fresh server of the bench profile is started, with a quiet call from another process.
``late_ms`` is the longest time that the server's event loop was held up, ``gap_ms`` the longest pause between packets
that the quiet call got (20 ms is usual; the first pair of figures is with nothing going on).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc import RTCPeerConnection
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtp import RtcpByePacket, is_rtcp
from rich.console import Console

from media.opus import RATE
from media.resample import Resampler
from pipelines.engines.tts.espeak import EspeakVoice
from server.transports.webrtc import ice
from tests.benchmarks.watched import Quiet, Watched, quiet_call, running
from tests.fakes.hostile_events import hostile_messages
from tests.fakes.peer import Peer, loud, picture_frame

SILENCE = b"\xf8\xff\xfe"
VP8 = b"\x10\x01rest"
console = Console(highlight=False, markup=False, soft_wrap=True)
Figures = dict[str, Any]


class Beside:
    """What it cost since it was last asked."""

    def __init__(self, server: Watched, quiet: Quiet) -> None:
        self.server, self._quiet = server, quiet

    async def told(self, name: str) -> Figures:
        """``name``'s figures."""
        late = await self.server.ask()
        return {f"{name} late_ms": late["late_ms"], f"{name} gap_ms": await self._quiet.gap()}


async def paced(per_second: float, count: int, send: Callable[[int], Awaitable[None]]) -> None:
    """``send(0)``, ``send(1)``, … at this pace."""
    begun = time.monotonic()
    for n in range(count):
        await send(n)
        ahead = begun + n / per_second - time.monotonic()
        if ahead > 0.002:
            await asyncio.sleep(ahead)


async def nothing(beside: Beside) -> Figures:
    """A second call that is as quiet."""
    async with Peer(beside.server.url):
        await asyncio.sleep(8)
        return await beside.told("nothing")


async def leaps(beside: Beside) -> Figures:
    """RTP timestamps that leap 1.95 s, 500 packets a second, for 8 s."""
    async with Peer(beside.server.url) as peer:
        await peer.event("session.created")
        await beside.told("")
        leap = round(1.95 * RATE)
        await paced(500, 4000, lambda n: peer.rtp("audio", n, n * leap, SILENCE))
        return await beside.told("leaps")


async def leaps_loud(beside: Beside) -> Figures:
    """The same while one's own microphone goes on, so that two clocks alternate."""
    async with Peer(beside.server.url) as peer:
        await peer.event("session.created")
        peer.say(loud(10), RATE)
        await beside.told("")
        leap = round(1.95 * RATE)
        await paced(500, 4000, lambda n: peer.rtp("audio", n, n * leap, SILENCE))
        return await beside.told("leaps_loud")


async def sources(beside: Beside) -> Figures:
    """4,000 SSRCs in one call, 2,000 a second if this process can."""
    async with Peer(beside.server.url) as peer:
        await peer.event("session.created")
        await beside.told("")
        await paced(2000, 4000, lambda n: peer.rtp("audio", n, n * 960, SILENCE, ssrc=1000 + n))
        await asyncio.sleep(2)
        return await beside.told("sources")


async def video_sources(beside: Beside) -> Figures:
    """300 video SSRCs, then the end: how long the call takes to be over."""
    peer = Peer(beside.server.url, kinds=("audio", "video"))
    await peer.connect()
    await peer.event("session.created")
    await beside.told("")
    await paced(500, 300, lambda n: peer.rtp("video", n, n * 3000, VP8, ssrc=1000 + n, marker=True))
    await asyncio.sleep(2)
    return {**await beside.told("open"), **await gone(peer, beside)}


async def gone(peer: Peer, beside: Beside) -> Figures:
    """Close; the seconds until only the quiet call is left."""
    await peer.close()
    begun = time.monotonic()
    seconds: float | None = None
    while seconds is None and time.monotonic() - begun < 40:
        if (await beside.server.ask("sessions"))["sessions"] == 1:
            seconds = round(time.monotonic() - begun, 2)
        await asyncio.sleep(0.02)
    return {"place free after s": seconds, **await beside.told("closing")}


async def many_audio_sources(beside: Beside) -> Figures:
    """255 and more SSRCs on the voice, which a report cannot hold; then the end."""
    peer = Peer(beside.server.url)
    await peer.connect()
    await peer.event("session.created")
    await paced(500, 300, lambda n: peer.rtp("audio", n, n * 960, SILENCE, ssrc=1000 + n))
    await asyncio.sleep(2)
    return await gone(peer, beside)


async def question(words: str = "how many people are there in this room") -> np.ndarray:
    """The words at 48 kHz, and two seconds of silence."""
    voice, resampler = EspeakVoice(), Resampler(RATE)
    parts = [resampler.push(piece.samples, piece.rate) async for piece in voice.synthesize(words, speed=0.9)]
    await voice.close()
    return np.concatenate([*parts, resampler.flush(), np.zeros(2 * RATE, np.int16)])


async def heard(peer: Peer) -> bool:
    """Whether what is said now is answered."""
    before = len(peer.named("response.done"))
    peer.say(await question(), RATE)
    try:
        await peer.event("response.done", before + 1, timeout=10)
    except AssertionError:
        return False
    return True


async def goodbye(beside: Beside) -> Figures:
    """An RTCP BYE in mid-call, and RTP after it."""
    async with Peer(beside.server.url) as peer:
        await peer.event("session.created")
        first = await heard(peer)
        await peer.rtcp(RtcpByePacket(sources=[peer.pc.getSenders()[0]._ssrc]))
        await asyncio.sleep(0.5)
        return {"heard before": first, "heard after": await heard(peer)}


async def leap_in_a_word(beside: Beside) -> Figures:
    """The sender's clock moves 1.5 s ahead in the middle of a sentence: where the server takes it to end."""
    samples = await question("tell me how many people are standing in the garden behind the old house this morning")
    ends = np.flatnonzero(np.abs(samples) > 500)[-1] / RATE
    figures: Figures = {"speech ends at s": round(float(ends), 2)}
    for name, leap in (("no leap", 0), ("leap", round(1.5 * RATE))):
        async with Peer(beside.server.url) as peer:
            await peer.event("session.created")
            transport: Any = peer.pc.getSenders()[0].transport
            moved = 0

            async def leaping(data: bytes, send: Any = transport._send_rtp) -> None:
                if not is_rtcp(data):
                    timestamp = (int.from_bytes(data[4:8], "big") + moved) % 2**32  # noqa: B023
                    data = data[:4] + timestamp.to_bytes(4, "big") + data[8:]
                await send(data)

            transport._send_rtp = leaping
            begun = time.monotonic()
            playout = peer.say(samples, RATE)
            await asyncio.sleep(2.0)
            moved = leap
            await peer.event("response.created")
            figures[f"{name}: answered at s"] = round(time.monotonic() - begun, 2)
            await playout.ended.wait()
            await asyncio.sleep(1)
            figures[f"{name}: turns"] = len(peer.named("input_audio_buffer.speech_stopped"))
    return figures


async def events(beside: Beside) -> Figures:
    """4,000 random events, or as many as there is time for; a session that does not answer any more is lost.

    Another one then takes the rest.
    """
    lost = sent = 0
    peer = Peer(beside.server.url)
    await peer.connect()
    await peer.event("session.created")
    begun = time.monotonic()
    for sent, message in enumerate(hostile_messages(1, 4000), 1):
        with suppress(Exception):
            peer.channel.send(message)
        if sent % 20 == 0 and not await alive(peer, sent):
            lost += 1
            last = [e["error"]["message"] for e in peer.named("error")][-1:]
            unsent = peer.channel.bufferedAmount
            console.print(f"lost after {sent}: {peer.pc.connectionState}, {unsent} bytes unsent, {last}")
            with suppress(Exception):
                async with asyncio.timeout(2):
                    await peer.close()
            peer = Peer(beside.server.url)
            await peer.connect()
            await peer.event("session.created")
        if time.monotonic() - begun > 240:
            break
    await peer.close()
    return {"sessions lost": lost, "events": sent, **await beside.told("events")}


async def alive(peer: Peer, number: int) -> bool:
    """Whether an error comes back for an event that there is not."""
    name = f"after {number}"
    with suppress(Exception):
        peer.events.clear()
        peer.send({"type": "nothing", "event_id": name})
        await peer.until(lambda: any(e["error"].get("event_id") == name for e in peer.named("error")), 20)
        return True
    return False


async def offers(beside: Beside) -> Figures:
    """Offers of up to 256 KiB with too much of one thing."""
    pc = RTCPeerConnection(ice.configuration(()))
    pc.addTransceiver("audio")
    await pc.setLocalDescription(await pc.createOffer())
    sdp = pc.localDescription.sdp
    await pc.close()
    candidates = [f"a=candidate:{n} 1 udp 9 127.0.{n >> 8}.{n & 255} 9 typ host\r\n" for n in range(4300)]
    maps = [f"a=rtpmap:{96 + n % 30} x/{n}\r\n" for n in range(20_000)]
    sections = [f"m=audio 9 x {n % 99}\r\na=mid:x{n}\r\n" for n in range(8000)]
    figures: Figures = {}
    for name, lines in (("candidates", candidates), ("rtpmap", maps), ("sections", sections)):
        body = {"type": "offer", "sdp": sdp + "".join(lines)[: 255_000 - len(sdp)].rpartition("\r\n")[0] + "\r\n"}
        await beside.told("")
        async with aiohttp.ClientSession() as http, http.post(f"{beside.server.url}/offer", json=body) as response:
            figures[f"{name} status"] = response.status
        await asyncio.sleep(3)
        figures |= await beside.told(name)
    return figures


async def stun(beside: Beside) -> Figures:
    """3,500 candidates of this machine in one offer: how many packets they get within 35 s, and how large it was."""
    sockets: list[socket.socket] = []
    for port in range(20_000, 30_000):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with suppress(OSError):
            one.bind(("127.0.0.1", port))
            sockets.append(one)
        if len(sockets) == 3500:
            break
    ports = [one.getsockname()[1] for one in sockets]
    lines = [f"a=candidate:{n} 1 udp {n + 1} 127.0.0.1 {port} typ host\r\n" for n, port in enumerate(ports)]
    pc = RTCPeerConnection(ice.configuration(()))
    pc.addTransceiver("audio")
    await pc.setLocalDescription(await pc.createOffer())
    body = {"type": "offer", "sdp": pc.localDescription.sdp + "".join(lines)}
    await pc.close()
    packets = octets = 0
    async with aiohttp.ClientSession() as http, http.post(f"{beside.server.url}/offer", json=body) as response:
        status = response.status
    for _ in range(35):
        await asyncio.sleep(1)
        for one in sockets:
            with suppress(BlockingIOError):
                while data := one.recv(2048):
                    packets, octets = packets + 1, octets + len(data)
    for one in sockets:
        one.close()
    told = await beside.told("stun")
    return {"status": status, "body": len(body["sdp"]), "packets": packets, "octets": octets, **told}


def film(width: int, height: int, count: int) -> list[list[bytes]]:
    """RTP payloads of ``count`` VP8 pictures that move, the first of them whole."""
    codec: Any = av.CodecContext.create("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base, codec.bit_rate = Fraction(1, 60), 8_000_000
    codec.options = {"deadline": "realtime", "cpu-used": "-16", "lag-in-frames": "0", "static-thresh": "1"}
    across = np.tile((np.arange(width) * 255 // width).astype(np.uint8), (height, 1))
    encoder, made = Vp8Encoder(), []
    for n in range(count):
        pixels = np.full((height * 3 // 2, width), 128, np.uint8)
        pixels[:height] = np.roll(across, 8 * n, axis=1)
        frame = av.VideoFrame.from_ndarray(pixels, format="yuv420p")
        frame.pts, frame.time_base = n, Fraction(1, 60)
        data = b"".join(bytes(packet) for packet in codec.encode(frame))
        made.append(encoder._packetize(data, n))
    return made


async def huge_pictures(beside: Beside) -> Figures:
    """A camera of 3840 x 2160 at 60 pictures a second, for 12 s."""
    pictures = await asyncio.to_thread(film, 3840, 2160, 20)
    async with Peer(beside.server.url, kinds=("audio", "video")) as peer:
        await peer.event("session.created")
        await asyncio.sleep(2)
        await beside.told("")
        before = await beside.server.ask()
        number = 0

        async def send(n: int) -> None:
            nonlocal number
            payloads = pictures[n % len(pictures)]
            for payload in payloads:
                await peer.rtp("video", number, n * 1500, payload, marker=payload is payloads[-1])
                number += 1

        await paced(60, 720, send)
        after = await beside.server.ask()
        peer.seen.clear()
        return {
            "memory rose by MB": round(after["rss_mb"] - before["rss_mb"], 1),
            "at most by MB": round(after["peak_mb"] - before["rss_mb"], 1),
            "cores": round((after["cpu_s"] - before["cpu_s"]) / 12, 2),
            **{key: value for key, value in (await beside.told("4K")).items() if "gap" in key},
            "4K late_ms": after["late_ms"],
        }


async def lossy_pictures(beside: Beside) -> Figures:
    """A tenth of the camera's packets is lost and none comes again: the seconds until a picture comes back."""

    def no_retransmission(sdp: str) -> str:
        rtx = re.findall(r"a=rtpmap:(\d+) rtx/", sdp)
        lines = [line for line in sdp.split("\r\n") if not re.match(r"a=rtcp-fb:\d+ nack$|a=ssrc-group:FID", line)]
        lines = [line for line in lines if not any(re.match(rf"a=\w[\w-]*:{n} ", line) for n in rtx)]
        return "\r\n".join(" ".join(w for w in line.split(" ") if w not in rtx or line[0] != "m") for line in lines)

    dice = random.Random(5)
    peer = Peer(beside.server.url, kinds=("audio", "video"), rewrite=no_retransmission)
    await peer.connect()
    await peer.event("session.created")
    (sender,) = [sender for sender in peer.pc.getSenders() if sender.kind == "video"]
    transport: Any = sender.transport
    send = transport._send_rtp

    async def losing(data: bytes) -> None:
        video = not is_rtcp(data) and int.from_bytes(data[8:12], "big") == sender._ssrc
        if not video or dice.random() > 0.1:
            await send(data)

    async def nothing_again(sequence: int) -> None:
        """Lost is lost."""

    transport._send_rtp = losing
    sender._retransmit = nothing_again
    begun = time.monotonic()
    first: float | None = None

    def over() -> bool:
        nonlocal first
        if peer.seen and first is None:
            first = round(time.monotonic() - begun, 2)
        return time.monotonic() - begun > 15

    await peer.show(lambda n: picture_frame(640, 480, pts=n * 3000, noise=True), over)
    back = len(peer.seen)
    await peer.close()
    return {"first picture after s": first, "pictures in 15 s": back, **await beside.told("lossy")}


ATTACKS = {
    one.__name__: one
    for one in (
        *(nothing, leaps, leaps_loud, sources, video_sources, many_audio_sources, goodbye, leap_in_a_word),
        *(events, offers, stun, huge_pictures, lossy_pictures),
    )
}


async def attacked(name: str, tree: Path) -> Figures:
    """One attack on a fresh server."""
    async with running(tree) as server, quiet_call(server.url) as quiet:
        beside = Beside(server, quiet)
        await beside.told("")
        await asyncio.sleep(3)
        idle = await beside.told("idle")
        try:
            async with asyncio.timeout(400):
                figures = await ATTACKS[name](beside)
        except (AssertionError, TimeoutError, aiohttp.ClientError) as error:
            figures = {"failed": f"{type(error).__name__}: {str(error)[:200]}"}
        figures["exceptions in the log"] = server.log.count(b"Traceback")
        for line in re.findall(r"the event loop was held up[^\r\n]*", server.log.decode(errors="replace")):
            console.print(f"    {line}")
        return {**idle, **figures}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attacks", nargs="*", choices=[*ATTACKS, []], help="which (default: all)")
    parser.add_argument("--tree", type=Path, action="append", help="a checkout; repeatable (default: this one)")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    for name in options.attacks or ATTACKS:
        for _ in range(options.rounds):
            for tree in options.tree or [Path.cwd()]:
                figures = await attacked(name, tree.resolve())
                console.print(f"{name:20} {tree}: {json.dumps(figures)}")


if __name__ == "__main__":
    asyncio.run(main())
