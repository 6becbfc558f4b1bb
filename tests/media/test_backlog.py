"""What waits for a slow video decoder is bounded, and the picture comes back."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from media.backlog import Backlog, is_key_frame


def run(backlog: Backlog, frames: int, decoded_per_frame: float, key_after_asking: int = 3) -> tuple[list[int], int]:
    """A camera and its decoder: the frames that wait after each one sent, and how often a key frame was asked for."""
    waiting, asked, due, lengths = 0.0, 0, -1, []
    for n in range(frames):
        if backlog.admits(int(waiting), key=n == 0 or n == due):
            waiting += 1
        if backlog.asks(int(waiting)):
            asked, due = asked + 1, n + key_after_asking
        waiting = max(0.0, waiting - decoded_per_frame)
        lengths.append(int(waiting))
    return lengths, asked


def test_a_decoder_that_keeps_up_gets_everything():
    backlog = Backlog()
    assert max(run(backlog, 300, 1.0)[0]) <= 1
    assert backlog.skipped == 0


def test_a_slow_decoder_has_no_more_than_a_second_to_do_and_gets_key_frames():
    backlog = Backlog()
    lengths, asked = run(backlog, 3000, 0.25)
    assert max(lengths) <= 30
    assert asked >= 10
    assert 3000 - backlog.skipped > 600  # three quarters cannot be decoded, whatever is done


def test_a_key_frame_that_does_not_come_is_asked_for_again():
    backlog = Backlog()
    _, asked = run(backlog, 400, 0.25, key_after_asking=-1000)
    assert 5 <= asked <= 12


def test_a_stall_costs_no_more_than_what_came_meanwhile():
    backlog = Backlog()
    for n in range(45):
        assert backlog.admits(min(n, 30), key=False) == (n < 30)
    assert not backlog.asks(30)
    assert not backlog.admits(20, key=True)  # not caught up yet
    assert backlog.asks(0) and not backlog.asks(0)
    assert not backlog.admits(0, key=False)
    assert backlog.admits(0, key=True) and backlog.admits(1, key=False)


@pytest.mark.parametrize(("codec", "encoder"), [("VP8", "libvpx"), ("H264", "libx264")])
def test_key_frames_are_known(codec, encoder):
    context = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt, context.gop_size = 64, 48, "yuv420p", 5
    context.time_base = Fraction(1, 30)
    context.options = {"lag-in-frames": "0"} if codec == "VP8" else {"tune": "zerolatency"}
    packets = []
    for n in range(11):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * n, np.uint8), format="rgb24")
        frame.pts = n
        packets += context.encode(frame.reformat(format="yuv420p"))
    packets += context.encode(None)
    assert len(packets) == 11
    assert [is_key_frame(codec, bytes(packet)) for packet in packets] == [packet.is_keyframe for packet in packets]
    assert is_key_frame("AV1", b"\x01")
