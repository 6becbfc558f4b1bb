"""What is expected to be lost follows what the peer reports, and Opus what is expected."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from aiortc.rtp import RtcpReceiverInfo, RtcpRrPacket, RtcpSdesPacket

from media import opus
from media.aiortc_internals.send import tell_loss
from media.audio_out import MOST_PERCENT, AudioOut, LossEstimate
from media.libopus_internals import OpusError, library
from media.opus import FRAME, OpusEncoder, OpusSettings
from tests.fakes.clock import FakeClock
from tests.media.test_fec import voice


def after(estimate: LossEstimate, *reports: tuple[float, float], begin: float = 0.0) -> list[int]:
    """What is expected after each report of a share, so many seconds after the one before."""
    found, now = [], begin
    for seconds, share in reports:
        now += seconds
        found.append(estimate.reported(share, now))
    return found


def test_without_loss_it_stays_where_it_began():
    assert after(LossEstimate(5), *[(5.0, 0.0)] * 50) == [5] * 50
    assert after(LossEstimate(0), *[(5.0, 0.0)] * 50) == [0] * 50


def test_one_packet_in_a_short_report_says_nothing():
    assert after(LossEstimate(5), (1.0, 0.0), (0.5, 1 / 25), (0.5, 0.0)) == [5, 5, 5]


def test_it_follows_more_soon_and_less_late():
    estimate = LossEstimate(5)
    rising = after(estimate, *[(5.0, 0.2)] * 3)
    assert rising == sorted(rising) and rising[1] >= 18 and rising[-1] == 20
    falling = after(estimate, *[(5.0, 0.0)] * 30, begin=15.0)
    assert falling == sorted(falling, reverse=True)
    assert falling[0] >= 14 and falling[-1] == 5


def test_bursts_are_remembered_between():
    estimate = LossEstimate(5)
    found = after(estimate, *[(5.0, share) for share in (0.0, 0.3) * 10])
    assert min(found[4:]) >= 18 and max(found) <= MOST_PERCENT


@pytest.mark.parametrize("share", [1.0, 7.0, -3.0])
def test_no_report_leads_beyond_the_limits(share):
    assert all(5 <= percent <= MOST_PERCENT for percent in after(LossEstimate(5), *[(-1.0, share), (1e9, share)] * 5))
    assert after(LossEstimate(40), (5.0, share)) == [40], "nor below what was asked for"


def bytes_of(encoder: OpusEncoder, frames: np.ndarray) -> int:
    return sum(len(bytes(encoder.encode(frame, n))) for n, frame in enumerate(frames))


def repeats(encoder: OpusEncoder, frames: np.ndarray) -> int:
    """Packets that repeat the one before."""
    found = library()
    assert found is not None
    payloads = [bytes(encoder.encode(frame, n)) for n, frame in enumerate(frames)]
    return sum(found.opus_packet_has_lbrr(payload, len(payload)) == 1 for payload in payloads)


def test_an_encoder_that_runs_is_told_of_losses():
    frames = voice(1.0).reshape(-1, FRAME)
    encoder = OpusEncoder(OpusSettings(expected_loss_percent=0))
    assert repeats(encoder, frames) == 0
    encoder.expect_loss(20)
    assert repeats(encoder, frames) > 20
    encoder.close()
    encoder.close()
    with pytest.raises(OpusError, match="closed"):
        encoder.encode(frames[0], 0)


@pytest.mark.parametrize("application", ["voip", "audio", "lowdelay"])
def test_it_encodes_as_ffmpeg_does(monkeypatch, application):
    frames = voice(0.5).reshape(-1, FRAME)
    settings = OpusSettings(application=application, expected_loss_percent=5)
    direct = OpusEncoder(settings)
    monkeypatch.setattr(opus, "library", lambda: None)
    wrapped = OpusEncoder(settings)
    wrapped.expect_loss(20)  # it cannot
    for n, frame in enumerate(frames):
        assert bytes(direct.encode(frame, n)) == bytes(wrapped.encode(frame, n))


async def test_reports_of_the_peer_reach_the_encoder():
    told: list[int] = []
    clock = FakeClock()
    out = AudioOut(clock)
    out._encoder.expect_loss = told.append
    handled = []

    async def handle(packet):
        handled.append(packet)

    sender = SimpleNamespace(_ssrc=7, _handle_rtcp_packet=handle)
    tell_loss(sender, out.lost)

    def report(ssrc: int, lost: int) -> RtcpReceiverInfo:
        return RtcpReceiverInfo(ssrc, lost, 9, 1000, 0, 0, 0)

    for packet in (
        RtcpSdesPacket(),
        RtcpRrPacket(1, [report(8, 200)]),
        RtcpRrPacket(1, [report(8, 200), report(7, 51)]),
    ):
        await sender._handle_rtcp_packet(packet)
        clock.advance(5)
    await sender._handle_rtcp_packet(RtcpRrPacket(1, [report(7, 51)]))
    assert len(handled) == 4
    assert told == [8, 19]
    out.stop()


async def test_what_repeats_nothing_expects_nothing():
    out = AudioOut(FakeClock(), OpusSettings(fec=False, expected_loss_percent=0))
    out.lost(0.5)
    assert repeats(out._encoder, voice(0.5).reshape(-1, FRAME)) == 0
    out.stop()
