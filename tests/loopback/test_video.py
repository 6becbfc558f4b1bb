"""Real aiortc ↔ the real server with a fake detector: what cameras do to a server, and what a session may ask for."""

from __future__ import annotations

import asyncio
from typing import Any

import av
import numpy as np
import pytest
from aiortc.sdp import SessionDescription

from pipelines.vision.images import still
from server.http.signaling.offer import REGISTRY
from tests.conftest import fake_engines
from tests.fakes.peer import Peer, picture_frame
from tests.fakes.vision import FakeVision
from tests.patience import PATIENCE


def session_of(app) -> Any:
    return next(iter(app[REGISTRY]._sessions.values()))


def is_drawn_upon(frame: av.VideoFrame) -> bool:
    return bool(np.ptp(frame.to_ndarray(format="gray")) > 40)


class Camera:
    """Frames whose timestamps go on from one scene to the next."""

    def __init__(self) -> None:
        self.pts = 0
        self.step = 3000

    def frame(self, width: int = 320, height: int = 240, level: int = 128) -> av.VideoFrame:
        self.pts += self.step
        return picture_frame(width, height, level, self.pts)


def seen_after(peer: Peer, frames: int) -> Any:
    """True once ``frames`` more frames have come back."""
    enough = len(peer.seen) + frames
    return lambda: len(peer.seen) >= enough


async def comes_back(peer: Peer, camera: Camera) -> None:
    """The session still works: what is shown comes back, drawn upon."""
    start = len(peer.seen)
    await peer.show(
        lambda n: camera.frame(level=90),
        lambda: any(frame.width == 320 and is_drawn_upon(frame) for frame in peer.seen[start:]),
    )


@pytest.fixture
async def call(serve):
    """``peer, app, camera`` of a running call whose annotated camera comes back."""
    vision = FakeVision()
    url, app = await serve(fake_engines(vision=vision))
    async with Peer(url, kinds=("video",)) as peer:
        camera = Camera()
        await comes_back(peer, camera)
        yield peer, app, camera
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*app[REGISTRY]._tasks)
    assert vision.opened - vision.closed <= 1  # one may wait for the next session


async def test_another_resolution_in_mid_call(call):
    peer, _, camera = call
    for width, height in [(640, 480), (160, 120), (480, 640)]:
        await peer.show(
            lambda n, size=(width, height): camera.frame(*size),
            lambda size=(width, height): (peer.seen[-1].width, peer.seen[-1].height) == size,
        )
    await peer.until(lambda: len(peer.named("vision.camera")) >= 4)
    assert [event["width"] for event in peer.named("vision.camera")] == [320, 640, 160, 480]
    await comes_back(peer, camera)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 2), (33, 17), (641, 479)])
async def test_odd_and_tiny_frames(call, width, height):
    peer, _, camera = call
    expected = (max(2, width & ~1), max(2, height & ~1))
    await peer.show(
        lambda n: camera.frame(width, height), lambda: (peer.seen[-1].width, peer.seen[-1].height) == expected
    )
    await comes_back(peer, camera)


async def test_4k_frames_come_back_smaller(call):
    peer, _, camera = call
    await peer.show(lambda n: camera.frame(3840, 2160), lambda: peer.seen[-1].width == 1280)
    await comes_back(peer, camera)


@pytest.mark.parametrize("step", [0, -900, 90_000_000, 1], ids=["frozen", "backwards", "leaps", "creeps"])
async def test_senseless_timestamps(call, step):
    peer, app, camera = call
    camera.pts += 10_000_000  # there is room to run backwards
    camera.step = step
    start = len(peer.seen)
    await peer.show(lambda n: camera.frame(level=60), seen_after(peer, 8))
    times = [frame.pts for frame in peer.seen[start:]]
    assert times == sorted(set(times))
    assert session_of(app).counts().timestamps_repaired > 0
    camera.step = 3000
    await comes_back(peer, camera)


async def test_a_camera_that_goes_off_and_on(call):
    peer, app, camera = call
    session = session_of(app)
    camera_watch = session.session.vision.camera
    camera_watch._arrived -= 60  # a minute passes without a frame
    await peer.until(lambda: any(event["state"] == "stopped" for event in peer.named("vision.camera")))
    assert camera_watch.scene == ""
    session.tracks.video[0].feed.arrived -= 60
    assert await session.session.vision.image("camera") is None
    camera.pts += 60 * 90_000
    await comes_back(peer, camera)
    assert [event["state"] for event in peer.named("vision.camera")] == ["live", "stopped", "live"]


async def test_a_frozen_camera_shows_the_same_picture_for_ever(call):
    peer, _, camera = call
    await peer.show(lambda n: camera.frame(level=70), seen_after(peer, 40))
    await comes_back(peer, camera)


async def test_settings_change_while_it_runs(call):
    peer, _, camera = call
    peer.send({"type": "session.update", "session": {"vision": {"width": 160, "overlay": {"labels": False}}}})
    updated = await peer.event("session.updated")
    assert updated["session"]["vision"]["width"] == 160
    assert updated["session"]["vision"]["overlay"]["labels"] is False
    assert updated["session"]["vision"]["codec"] == "vp8"
    await peer.show(lambda n: camera.frame(), lambda: peer.seen[-1].width == 160)
    peer.send({"type": "session.update", "session": {"vision": {"enabled": False, "width": None}}})
    await peer.event("session.updated", 2)
    await peer.show(lambda n: camera.frame(), lambda: peer.seen[-1].width == 320 and not is_drawn_upon(peer.seen[-1]))
    peer.send({"type": "session.update", "session": {"vision": {"enabled": True, "mode": "exact"}}})
    await peer.event("session.updated", 3)
    await comes_back(peer, camera)


async def test_bad_video_settings_change_nothing(call):
    peer, app, camera = call
    before = session_of(app).session.vision.settings
    peer.send({"type": "session.update", "event_id": "x", "session": {"vision": {"mode": "slow", "width": 64}}})
    error = (await peer.event("error"))["error"]
    assert error["param"].endswith("session.vision.mode")
    assert "'live' or 'exact'" in error["message"]
    assert error["event_id"] == "x"
    assert session_of(app).session.vision.settings == before
    await comes_back(peer, camera)


async def test_detectors_that_are_missing_are_told_and_the_rest_is_done(serve):
    vision = FakeVision()
    vision.unavailable = {"holistic": "its model is not here"}
    url, _ = await serve(fake_engines(vision=vision))
    async with Peer(url, kinds=("audio", "video")) as peer:
        created = (await peer.event("session.created"))["session"]["vision"]
        assert created["unavailable"] == {"holistic": "its model is not here"}
        wish = {"detectors": ["holistic", "faces"], "width": 64, "codec": "h264"}
        peer.send({"type": "session.update", "session": {"vision": wish}})
        updated = (await peer.event("session.updated"))["session"]["vision"]
        assert (updated["detectors"], updated["width"]) == (["faces"], 64)
        codec, missing = (event["error"] for event in peer.named("error"))
        assert codec["param"] == "session.vision.codec"
        assert missing["code"] == "detector_unavailable"
        assert "its model is not here" in missing["message"]


def video_codecs(sdp: str) -> list[str]:
    """Those of the first video section, in order, without retransmission."""
    video = next(media for media in SessionDescription.parse(sdp).media if media.kind == "video")
    names = [codec.name.lower() for codec in video.rtp.codecs]
    return list(dict.fromkeys(name for name in names if name != "rtx"))


@pytest.mark.parametrize(
    ("offered", "wish", "answered"),
    [
        ((), None, "vp8"),
        (("h264", "vp8"), None, "h264"),
        (("vp8", "h264"), "h264", "h264"),
        (("h264", "vp8"), "vp8", "vp8"),
        (("vp8",), "h264", "vp8"),
    ],
)
async def test_the_codec_is_the_one_preferred(serve, offered, wish, answered):
    url, _ = await serve()
    session = {"vision": {"codec": wish}} if wish else None
    async with Peer(url, kinds=("video",), session=session, codecs=offered) as peer:
        assert video_codecs(peer.answer["sdp"])[0] == answered
        created = await peer.event("session.created")
        assert created["session"]["vision"]["codec"] == answered
        camera = Camera()
        await peer.show(lambda n: camera.frame(level=200), seen_after(peer, 3))
        assert abs(float(peer.seen[-1].to_ndarray(format="gray").mean()) - 200) < 8


async def test_an_h264_call_survives_odd_sizes(serve):
    url, _ = await serve(fake_engines(vision=FakeVision()))
    async with Peer(url, kinds=("video",), codecs=("h264",)) as peer:
        camera = Camera()
        session = {"vision": {"width": 51, "height": 33}}
        await peer.event("session.created")
        peer.send({"type": "session.update", "session": session})
        await peer.event("session.updated")
        await peer.show(lambda n: camera.frame(), lambda: peer.seen and peer.seen[-1].width == 50)
        assert peer.seen[-1].height == 32


async def test_a_bad_wish_in_the_offer_is_refused(serve):
    url, _ = await serve()
    peer = Peer(url, kinds=("video",), session={"vision": {"codec": "av1"}})
    with pytest.raises(AssertionError, match=r"session\.vision\.codec"):
        await peer.connect()
    await peer.close()


async def test_the_bitrate_is_kept_to(serve):
    url, app = await serve()
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)

    def noisy(n: int) -> av.VideoFrame:
        frame = picture_frame(pts=3000 * n)
        pixels = np.roll(noise, 7 * n, axis=1)
        new = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        new.pts, new.time_base = frame.pts, frame.time_base
        return new

    async with Peer(url, kinds=("video",), session={"vision": {"bitrate": 100_000}}) as peer:
        await peer.show(noisy, seen_after(peer, 5))
        (sender,) = (t.sender for t in session_of(app)._pc.getTransceivers())
        encoder = sender._RTCRtpSender__encoder
        assert 50_000 <= encoder.target_bitrate <= 100_000
        assert encoder.codec.bit_rate == encoder.target_bitrate


async def test_a_second_video_is_the_screen_and_is_kept_for_looking_at(serve):
    vision = FakeVision()
    url, app = await serve(fake_engines(vision=vision))
    async with Peer(url, kinds=("audio", "video", "screen")) as peer:
        session = session_of(app)
        video, look = session.tracks.video, session.session.vision.image
        assert await look("screen") is None
        shown = Camera()
        await peer.show(
            lambda n: shown.frame(640, 360, level=220),
            lambda: len(video) > 1 and video[1].feed.newest is not None,
            screen=True,
        )
        picture = still((await look("screen")).data, "the screen")
        assert picture.shape == (360, 640, 3)
        assert abs(float(picture.mean()) - 220) < 8
        await comes_back(peer, Camera())  # the camera is what is looked at and sent back
        assert peer.seen[-1].width == 320


async def test_a_camera_that_nobody_wants_back(serve):
    url, app = await serve(fake_engines(vision=FakeVision()))
    async with Peer(url, kinds=("screen",)) as peer:  # only sends
        camera = Camera()
        session = session_of(app)
        await peer.show(lambda n: camera.frame(), lambda: session.counts().pictures_looked_at > 2, screen=True)
        assert session.counts().video_out == 0
