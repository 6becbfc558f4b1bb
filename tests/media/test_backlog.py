"""What waits for a slow video decoder is bounded, and the picture comes back."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from media.video_timing import Backlog, is_key_frame, size_of_key_frame


def run(backlog: Backlog, frames: int, decoded_per_frame: float, key_after: int = 3) -> tuple[list[int], int]:
    """A camera that sends a key frame a little after one is wanted, and its decoder: how many frames wait when.

    And how many were admitted.
    """
    waiting, due, lengths, admitted = 0.0, -1, [], 0
    for n in range(frames):
        if backlog.admits(int(waiting), key=n in (0, due)):
            waiting += 1
            admitted += 1
        elif due < n and backlog.has_caught_up(int(waiting)):
            due = n + key_after
        waiting = max(0.0, waiting - decoded_per_frame)
        lengths.append(int(waiting))
    return lengths, admitted


def test_a_decoder_that_keeps_up_gets_everything():
    lengths, admitted = run(Backlog(), 300, 1.0)
    assert max(lengths) <= 1
    assert admitted == 300


def test_a_slow_decoder_has_no_more_than_a_second_to_do_and_gets_key_frames():
    lengths, admitted = run(Backlog(), 3000, 0.25)
    assert max(lengths) <= 30
    assert admitted > 600  # three quarters cannot be decoded, whatever is done


def test_a_stall_costs_no_more_than_what_came_meanwhile():
    backlog = Backlog()
    for n in range(45):
        assert backlog.admits(min(n, 30), key=False) == (n < 30)
    assert not backlog.has_caught_up(30)
    assert not backlog.admits(20, key=True)  # not caught up yet
    assert backlog.has_caught_up(0)
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
    assert size_of_key_frame(codec, bytes(packets[0])) == ((64, 48) if codec == "VP8" else (0, 0))
    assert is_key_frame("AV1", b"\x01")
