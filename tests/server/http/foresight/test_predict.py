"""A picture is posted; words and frames come over a WebSocket, the video is a file that can be read while it grows."""

from __future__ import annotations

import asyncio
import base64
import io
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import av
import pytest

from pipelines.errors import ModelError
from pipelines.foresight.service import Generator
from pipelines.vision.images import packed, snapshot, still
from server.http.foresight.kept import Prediction, Predictions
from tests.conftest import fake_engines
from tests.fakes.foresight import FakeDescriber, FakeFilmer
from tests.fakes.moving import moving
from tests.patience import until

PICTURE, EARLIER = (base64.b64encode(packed(moving(n))).decode() for n in (1, 0))
KEY = "correct-horse-battery"


class Page:
    """One client."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http

    async def predict(self, status: int = 200, **body: Any) -> dict[str, Any]:
        async with self.http.post(f"{self.url}/api/predict", json={"image": PICTURE, **body}) as response:
            told = await response.json()
            assert response.status == status, told
            return told

    async def watch(self, session_id: str) -> list[dict[str, Any]]:
        async with self.http.ws_connect(f"{self.url}/api/ws/{session_id}", max_msg_size=0) as socket:
            return [message.json() async for message in socket]

    async def get(self, path: str, **headers: str) -> tuple[int, bytes, Any]:
        async with self.http.get(self.url + path, headers=headers) as response:
            return response.status, await response.read(), response.headers


@pytest.fixture
async def page(serve):
    opened = []

    async def start(generator: Generator | None = None, **settings: Any) -> Page:
        engines = fake_engines()
        engines.foresight.close()
        engines.generator = generator
        engines.__post_init__()
        url, _ = await serve(engines, **settings)
        opened.append(aiohttp.ClientSession())
        return Page(url, opened[-1])

    yield start
    for http in opened:
        await http.close()


def generator(filmer: FakeFilmer | None = None, describer: FakeDescriber | None = None) -> Generator:
    return Generator(filmer or FakeFilmer(), describer or FakeDescriber())


def decoded(data: bytes) -> int:
    """Frames in a file that may have been cut off."""
    frames = 0
    with av.open(io.BytesIO(data)) as container:
        try:
            for _ in container.decode(video=0):
                frames += 1
        except av.FFmpegError:
            pass
    return frames


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


async def test_a_still_picture_is_answered_by_a_push_in_that_foretells_nothing(page):
    page = await page()
    begun = await page.predict(quality="low")
    messages = await page.watch(begun["session_id"])
    assert kinds(messages)[:2] == ["thinking_start", "video_frame"]
    assert kinds(messages)[-1] == "thinking_complete"
    start, end = messages[0], messages[-1]
    assert (start["method"], start["described_by"]) == ("push-in", "measured")
    assert (start["width"], start["height"], start["total_frames"]) == (256, 256, 15)
    frames = [message for message in messages if message["type"] == "video_frame"]
    assert [frame["frame_index"] for frame in frames] == list(range(15))
    assert {frame["confidence"] for frame in frames[1:]} == {0.0}
    assert still(base64.b64decode(frames[-1]["data"]), "frame").shape == (256, 256, 3)
    assert end["text"].startswith("This is one picture")
    (complete,) = [message for message in messages if message["type"] == "video_complete"]
    assert complete["video_url"] == begun["video_url"]
    assert end["first_frame_ms"] <= end["first_new_frame_ms"]


async def test_two_pictures_are_answered_by_what_moves(page):
    page = await page()
    begun = await page.predict(earlier=EARLIER, earlier_ms=66, quality="low")
    messages = await page.watch(begun["session_id"])
    assert messages[0]["method"] == "motion-extrapolation"
    sure = [message["confidence"] for message in messages if message["type"] == "video_frame"]
    assert sure == sorted(sure, reverse=True)
    assert "moves left" in messages[-1]["text"]


async def test_the_picture_itself_is_told_before_there_is_anything_else(page):
    """Whatever the video and its model take: nothing of them is waited for."""
    never = asyncio.Event()
    page = await page(generator(FakeFilmer(never.wait), FakeDescriber(before=never.wait)))
    body = {"image": base64.b64encode(snapshot(moving(1), 256).data).decode()}
    for _ in range(3):
        session = (await page.predict(**body))["session_id"]
        async with page.http.ws_connect(f"{page.url}/api/ws/{session}") as socket:
            assert (await socket.receive_json())["type"] == "thinking_start"
            first = await socket.receive_json()
            assert (first["type"], first["frame_index"]) == ("video_frame", 0)
            await socket.send_json({"type": "cancel"})


async def test_whoever_comes_later_gets_everything_from_the_start(page):
    page = await page(generator())
    session = (await page.predict(quality="low"))["session_id"]
    first = await page.watch(session)
    assert await page.watch(session) == first


async def test_the_video_is_read_while_it_grows_and_plays_wherever_it_is_cut(page):
    go = asyncio.Semaphore(10)  # of the 14 frames that follow the picture
    page = await page(generator(FakeFilmer(go.acquire)))
    begun = await page.predict(quality="low")
    async with page.http.get(page.url + begun["video_url"]) as response:
        assert (response.status, response.content_type) == (200, "video/mp4")
        data = b""
        while data.count(b"moof") < 2:
            data += await response.content.readany()
        for _ in range(4):
            go.release()
        data += await response.read()
    assert decoded(data) == 15
    moofs = [place - 4 for place in range(len(data)) if data.startswith(b"moof", place)]
    assert len(moofs) >= 3
    counts = [decoded(data[:cut]) for cut in [*moofs[1:], len(data)]]
    assert counts == sorted(counts)
    assert 0 < counts[0] < 15

    status, whole, headers = await page.get(begun["video_url"])
    assert (status, whole, headers["Accept-Ranges"]) == (200, data, "bytes")
    status, part, headers = await page.get(begun["video_url"], Range="bytes=10-19")
    assert (status, part) == (206, data[10:20])
    assert headers["Content-Range"] == f"bytes 10-19/{len(data)}"
    status, error, headers = await page.get(begun["video_url"], Range=f"bytes={len(data)}-")
    assert status == 416
    assert headers["Content-Range"] == f"bytes */{len(data)}"
    assert b"range_not_satisfiable" in error


async def test_a_failed_video_leaves_the_text(page):
    filmer = FakeFilmer(errors=[ModelError("model_broken", "the generator is broken")], frames_before=3)
    page = await page(generator(filmer))
    begun = await page.predict(quality="low")
    messages = await page.watch(begun["session_id"])
    (failed,) = [message for message in messages if message["type"] == "video_failed"]
    assert failed["error"]["code"] == "model_broken"
    assert messages[-1]["text"] == "A cat. "
    status, error, _ = await page.get(begun["video_url"])
    assert (status, b"video_not_found" in error) == (404, True)


async def test_whoever_reads_a_video_that_fails_sees_that_it_is_not_whole(page):
    go = asyncio.Semaphore(8)
    page = await page(generator(FakeFilmer(go.acquire, [ModelError("model_broken", "it is broken")], 9)))
    begun = await page.predict(quality="low")
    async with page.http.get(page.url + begun["video_url"]) as response:
        data = await response.content.readany()
        go.release()
        with pytest.raises(aiohttp.ClientPayloadError):
            while not response.content.at_eof():
                data += await response.content.readany()
    assert 0 < decoded(data) < 15


async def test_a_client_ends_it_and_those_that_are_left_alone_end_too(page, monkeypatch):
    never = asyncio.Event()
    filmer = FakeFilmer(never.wait)
    page = await page(generator(filmer))
    session = (await page.predict())["session_id"]
    async with page.http.ws_connect(f"{page.url}/api/ws/{session}") as socket:
        while not filmer.plans:
            assert (await socket.receive_json())["type"] in ("thinking_start", "video_frame", "text_chunk")
            await asyncio.sleep(0)
        await socket.send_str("nonsense")
        await socket.send_json({"type": "dance"})
        await socket.send_json({"type": "cancel"})
        messages = [message.json() async for message in socket]
    wrong = [message["error"]["code"] for message in messages if message["type"] == "error"]
    assert wrong == ["invalid_json", "invalid_value"]
    assert messages[-1]["type"] == "cancelled"
    await filmer.closed.wait()

    monkeypatch.setattr("server.http.foresight.kept.UNWATCHED_SECONDS", 0.0)
    session = (await page.predict())["session_id"]
    assert (await page.watch(session))[-1]["type"] == "cancelled"


async def test_predictions_are_bounded_and_forgotten(page, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("server.http.foresight.kept.MOST_RUNNING", 2)
    monkeypatch.setattr("server.http.foresight.kept.MOST_KEPT", 3)
    go = asyncio.Event()
    page = await page(generator(FakeFilmer(go.wait)))
    running = [(await page.predict(quality="low"))["session_id"] for _ in range(2)]
    assert (await page.predict(503))["error"]["code"] == "server_busy"
    go.set()
    for session in running:
        await page.watch(session)
    more = [(await page.predict(quality="low"))["session_id"] for _ in range(2)]
    for session in more:
        await page.watch(session)
    status, error, _ = await page.get(f"/api/videos/{running[0]}.mp4")
    assert (status, b"prediction_not_found" in error) == (404, True)
    assert (await page.get(f"/api/videos/{more[-1]}.mp4"))[0] == 200
    assert len(list(tmp_path.rglob("*.mp4"))) == 3

    monkeypatch.setattr("server.http.foresight.kept.KEPT_SECONDS", 0.0)
    last = (await page.predict(quality="low"))["session_id"]
    async with page.http.ws_connect(f"{page.url}/api/ws/{last}") as socket:
        assert [message async for message in socket]
    while (await page.get(f"/api/videos/{last}.mp4"))[0] != 404:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"image": "!"}, "invalid_value", "image"),
        ({"image": "http://example.org/cat.png"}, "invalid_value", "image"),
        ({"image": base64.b64encode(b"GIF89a").decode()}, "image_unusable", "image"),
        ({"quality": "huge"}, "invalid_value", "quality"),
        ({"prompt": 7}, "invalid_value", "prompt"),
        ({"frames": 3}, "unknown_parameter", "frames"),
        ({"earlier_ms": 0, "earlier": EARLIER}, "invalid_value", "earlier_ms"),
        ({"earlier": base64.b64encode(packed(moving(0)[:100])).decode()}, "invalid_value", "earlier"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_name_of_the_field(page, body, code, param):
    page = await page()
    error = (await page.predict(400, **body))["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert error["message"].startswith(param) or code == "unknown_parameter"


async def test_keys_and_origins_are_those_of_the_other_routes(page):
    page = await page(api_key=KEY)
    assert (await page.predict(401))["error"]["code"] == "missing_api_key"
    for path in ("/api/ws/pred_0", "/api/videos/pred_0.mp4"):
        assert (await page.get(path))[0] == 401
        assert (await page.get(path, Authorization=f"Bearer {KEY}"))[0] == 404
        assert (await page.get(path, Authorization=f"Bearer {KEY}", Origin="https://evil.example.org"))[0] == 403
    page.http.headers["Authorization"] = f"Bearer {KEY}"
    session = (await page.predict(quality="low"))["session_id"]
    del page.http.headers["Authorization"]
    watch = f"{page.url}/api/ws/{session}"
    offered = ("visavis.foresight", f"openai-insecure-api-key.{KEY}")
    async with page.http.ws_connect(watch, protocols=offered) as socket:
        assert socket.protocol == "visavis.foresight"
    with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
        await page.http.ws_connect(watch, protocols=("other", offered[1]))
    assert (await page.get(f"/api/ws/{session}", Authorization=f"Bearer {KEY}"))[0] == 426


async def test_one_that_is_ended_twice_gives_its_place_up_once(monkeypatch):
    settling, goes_on = asyncio.Event(), asyncio.Event()

    async def settle(prediction: Prediction) -> None:
        settling.set()
        await goes_on.wait()

    async def foresee(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Prediction, "settle", settle)
    predictions = Predictions(SimpleNamespace(foresee=foresee, settle=AsyncMock()))
    one = predictions.begin(None, "low")
    await asyncio.sleep(0)
    predictions.cancel(one)
    await settling.wait()
    predictions.cancel(one)
    await asyncio.sleep(0)
    assert predictions._running, "it still has a frame to put away"
    goes_on.set()
    await until(lambda: not predictions._running)
    await predictions.close()
