"""Damaged offers are refused with a reason or answered: nothing else comes of reading one, and nothing of aiortc."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription

from server.transports.webrtc import ice
from server.transports.webrtc.answers import complete
from server.transports.webrtc.offers import Offer, OfferError, read_offer

OFFERS = [path.read_text("utf-8") for path in sorted((Path(__file__).parents[2] / "offers").glob("*.sdp"))]
ODD = (
    *(
        "",
        " ",
        "0",
        "-1",
        "9" * 30,
        "٣",
        "*",
        "72",
        "128",
        "256",
        "65535",
        "65536",
        "x" * 300,
        ":",
        "/",
        "=",
        ";",
        "\t",
    ),
    *("\x00", "é", "\x85", "\u2028m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=sendrecv", "UDP", "sha-256", "BUNDLE", "true"),
    *("239.1.1.1", "0.0.0.0", "::1", "fe80::1%eth0", "[::1]", "x.local", "bundle-only", "apt=96", "apt=", "apt=x"),
    *("VP8/90000", "rtx/90000", "opus/48000/2", "H264/90000", "packetization-mode=x;profile-level-id=zz"),
    *(
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "m=application 9 DTLS/SCTP 0",
    ),
)


def damaged(chance: random.Random) -> str:
    lines = chance.choice(OFFERS).splitlines()
    for _ in range(chance.choice([1, 1, 2, 3, 6, 15])):
        line = chance.randrange(len(lines))
        match chance.randrange(8):
            case 0:
                lines[line] = ""
            case 1:
                lines.insert(chance.randrange(len(lines)), lines[line])
            case 2:
                other = chance.randrange(len(lines))
                lines[line], lines[other] = lines[other], lines[line]
            case 3:
                lines[line] = lines[line][: chance.randrange(len(lines[line]) + 1)]
            case 4:
                words = lines[line].split(" ")
                words[chance.randrange(len(words))] = chance.choice(ODD)
                lines[line] = " ".join(words)
            case 5:
                at = chance.randrange(len(lines[line]) + 1)
                lines[line] = lines[line][:at] + chance.choice(ODD) + lines[line][at:]
            case 6:
                lines[line] = lines[line].replace(":", chance.choice([": ", "::", ""]), 1)
            case 7:
                more = chance.choice(OFFERS).splitlines()
                start = chance.randrange(len(more))
                lines[line:line] = more[start : start + chance.randrange(40)]
    return chance.choice(["\r\n", "\n", "\r"]).join(lines)


def read(sdp: str) -> Offer | None:
    try:
        return read_offer({"type": "offer", "sdp": sdp})
    except OfferError as error:
        assert error.code in ("invalid_sdp", "no_media", "no_opus", "no_codec")
        return None


@pytest.mark.parametrize("seed", range(4))
def test_damaged_offers_are_read_or_refused(seed):
    chance = random.Random(seed)
    offers = [read(damaged(chance)) for _ in range(250)]
    assert 50 < sum(offer is None for offer in offers) < 200, "the damage is neither harmless nor deadly"


async def test_what_was_read_can_be_answered(loopback):
    chance, answered = random.Random(4), 0
    while answered < 40:
        offer = read(damaged(chance))
        if offer is None:
            continue
        pc = RTCPeerConnection(ice.configuration((), answers=True))
        await pc.setRemoteDescription(RTCSessionDescription(offer.negotiation.sdp, "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        complete(offer.negotiation, pc.localDescription.sdp)
        await pc.close()
        answered += 1
