"""Watch: whole pictures and films in, detections out; and what is freed when the client goes."""

from __future__ import annotations

import asyncio
import threading
from fractions import Fraction

import av
import cv2
import grpc
import numpy as np
import pytest

from server.grpc.generated import vision_pb2
from server.http.app import ENGINES
from server.http.pipelines.routes import PLACES
from tests.fakes.grpc_client import code_of
from tests.fakes.vision import FakeVision
from tests.patience import PATIENCE, until
from tests.vision_models import photo, stored_models

Code = grpc.StatusCode
WIDTH, HEIGHT = 64, 48


def config(**more) -> vision_pb2.WatchRequest:
    return vision_pb2.WatchRequest(config=vision_pb2.WatchConfig(**more))


def frame(**more) -> vision_pb2.WatchRequest:
    return vision_pb2.WatchRequest(frame=vision_pb2.Frame(**more))


def rgb(**more) -> vision_pb2.WatchRequest:
    size = {"width": WIDTH, "height": HEIGHT}
    return frame(encoding="FRAME_ENCODING_RGB", data=bytes(WIDTH * HEIGHT * 3), **{**size, **more})


def still(kind: str) -> vision_pb2.WatchRequest:
    data = cv2.imencode(f".{kind}", np.zeros((HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
    return frame(encoding=f"FRAME_ENCODING_{kind.upper()}", data=data)


def square(n: int) -> np.ndarray:
    pixels = np.zeros((240, 320, 3), np.uint8)
    pixels[50:90, 5 * n % 250 : 5 * n % 250 + 40] = 255
    return pixels


def film(codec: str, count: int, fps: int = 30, pixels=square) -> list[vision_pb2.WatchRequest]:
    """Access units of a film, of a moving square unless ``pixels`` gives another."""
    name, encoding = {"VP8": ("libvpx", "FRAME_ENCODING_VP8"), "H264": ("libx264", "FRAME_ENCODING_H264")}[codec]
    encoder = av.CodecContext.create(name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 320, 240, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, fps), Fraction(fps)
    encoder.options = {"tune": "zerolatency", "preset": "ultrafast"} if codec == "H264" else {"deadline": "realtime"}
    packets = []
    for n in range(count):
        picture = av.VideoFrame.from_ndarray(pixels(n), format="rgb24").reformat(format="yuv420p")
        picture.pts = n
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    return [frame(encoding=encoding, data=bytes(packet), time=n / fps) for n, packet in enumerate(packets)]


async def watched(client, *requests) -> list[vision_pb2.WatchResponse]:
    return [response async for response in client.watch(iter(requests), timeout=PATIENCE)]


async def test_pictures_of_every_kind_are_looked_at(spoken):
    vision = FakeVision()
    server = await spoken(vision=vision)
    client = server.client("VisionService")
    every = config(every_frame=True, detectors=["faces"])
    told = await watched(client, every, still("jpeg"), still("png"), rgb(), rgb(time=5.0))
    assert [one.frame for one in told] == [0, 1, 2, 3]
    assert [one.time for one in told] == pytest.approx([0, 1 / 30, 2 / 30, 5.0])
    (face,) = told[0].detections
    assert (face.kind, face.id, face.score) == ("face", 0, pytest.approx(0.9))
    assert (face.box.x, face.box.width) == (pytest.approx(0.2), pytest.approx(0.2))
    assert vision.selected[-1] == ("faces",)
    assert await watched(client, config()) == []


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_a_film_at_thirty_frames_a_second_is_decoded_and_followed(spoken, codec):
    server = await spoken(vision=FakeVision())
    told = await watched(server.client("VisionService"), config(every_frame=True), *film(codec, 45))
    assert [one.frame for one in told] == list(range(45))
    assert [one.time for one in told] == pytest.approx([n / 30 for n in range(45)], abs=1e-4)
    assert all(len(one.detections) == 1 for one in told)


async def test_live_only_the_newest_frame_is_looked_at(spoken):
    goes_on, began = threading.Event(), threading.Event()

    def look() -> None:
        began.set()
        assert goes_on.wait(PATIENCE)

    server = await spoken(vision=FakeVision(look))
    taken = []

    async def requests():
        yield config(max_fps=240)
        for n in range(5):
            yield rgb()
            taken.append(n)
            if n == 0:
                await asyncio.to_thread(began.wait, PATIENCE)
        await until(lambda: server.app[PLACES].running == 1)
        goes_on.set()

    told = [one async for one in server.client("VisionService").watch(requests(), timeout=PATIENCE)]
    assert told[0].frame == 0 and told[-1].frame == 4
    assert len(told) + told[-1].passed_over == 5


async def test_a_client_that_is_gone_frees_everything(spoken):
    vision = FakeVision()
    server = await spoken(vision=vision)
    engines = server.app[ENGINES]

    async def requests():
        yield config()
        for request in film("VP8", 20):
            yield request
        await asyncio.Event().wait()

    call = server.client("VisionService").watch(requests())
    assert (await call.read()).detections
    assert (server.app[PLACES].running, len(engines.trackers._idle)) == (1, 0)
    await server.channel.close()  # as when the process is killed: the connection is gone
    await until(lambda: server.app[PLACES].running == 0 and len(engines.trackers._idle) == 1)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "grpc-frames"]


async def test_real_eyes_follow_a_face_through_a_film(spoken):
    from pipelines.engines.mediapipe.tasks import MediaPipeVision
    from pipelines.vision.tracking import TrackedVision

    face = cv2.resize(photo("sergey.png"), (240, 240))

    def pixels(n: int) -> np.ndarray:
        canvas = np.full((240, 320, 3), 90, np.uint8)
        canvas[:, 2 * n : 2 * n + 240] = face
        return canvas

    engine = await asyncio.to_thread(MediaPipeVision, stored_models())
    server = await spoken(vision=TrackedVision(engine))
    begin = config(every_frame=True, detectors=["faces"])
    told = await watched(server.client("VisionService"), begin, *film("H264", 30, pixels=pixels))
    seen = [one.detections[0] for one in told if one.detections]
    assert len(seen) >= 25 and {one.id for one in seen} == {0}
    assert seen[-1].box.x > seen[0].box.x + 0.1 and len(seen[-1].trail) > 20


@pytest.mark.parametrize(
    ("requests", "code"),
    [
        ([rgb()], "missing_parameter"),
        ([config(), config()], "missing_parameter"),
        ([config(detectors=["noses"]), rgb()], "invalid_value"),
        ([config(max_fps=-1), rgb()], "invalid_value"),
        ([config(), rgb(width=3)], "invalid_value"),
        ([config(), rgb(time=2.0), rgb(time=1.0)], "invalid_value"),
        ([config(), frame(encoding="FRAME_ENCODING_JPEG", data=b"no picture")], "image_unusable"),
        ([config(), frame(encoding="FRAME_ENCODING_VP8", data=b"\x01 no key frame")], "invalid_value"),
        ([config(), frame(encoding="FRAME_ENCODING_H264")], "invalid_value"),
        ([config(), frame(data=b"x")], "invalid_value"),
    ],
)
async def test_what_is_no_picture_is_refused(spoken, requests, code):
    server = await spoken(vision=FakeVision())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await watched(server.client("VisionService"), *requests)
    assert (caught.value.code(), code_of(caught.value)) == (Code.INVALID_ARGUMENT, code)
    await until(lambda: server.app[PLACES].running == 0)


async def test_without_an_engine_nothing_can_be_watched(spoken):
    server = await spoken()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await watched(server.client("VisionService"), config())
    assert (caught.value.code(), code_of(caught.value)) == (Code.FAILED_PRECONDITION, "detector_unavailable")
