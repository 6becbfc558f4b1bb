"""``/v1/pipelines``: what is there, runs in every shape, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import wave
from typing import Any

import aiohttp
import av
import numpy as np
import pytest

from media.frames import Picture
from media.recordings.video_encoder import VideoEncoder
from pipelines.errors import LLMError, TTSError
from tests.fakes.engines import FakeModel, FakeVoice
from tests.fakes.stage_engines import FakeTask, spoken
from tests.server.http.rest.clients import bursts, seconds_of, sound_file

SPEECH = bursts(1.0)
PCM = SPEECH.astype("<i2").tobytes()
RAW = {"Content-Type": "audio/pcm"}
TEXT = {"Content-Type": "text/plain"}


async def posted(http: aiohttp.ClientSession, pipeline: str, data: Any, **headers: str) -> tuple[Any, bytes]:
    async with http.post(f"/v1/pipelines/{pipeline}", data=data, headers=headers) as response:
        return response, await response.read()


def events_of(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix(b"data: ")) for line in body.split(b"\n\n") if line]


async def test_the_list_tells_what_each_takes_and_gives(house):
    http = await house()
    async with http.get("/v1/pipelines") as response:
        told = await response.json()
    rows = {row["id"]: row for row in told["data"]}
    assert rows["voice"] == {
        "id": "voice",
        "object": "pipeline",
        "name": "Voice",
        "description": "Speak and be answered.",
        "takes": ["audio", "video"],
        "gives": ["audio"],
        "stages": ["listen", "think", "speak"],
        "file": "test.yaml",
        "shipped": True,
    }
    assert told["problems"] == []


async def test_one_pipeline_tells_who_would_do_its_work_and_why(house):
    http = await house()
    async with http.get("/v1/pipelines/voice", headers={"X-Efficiency-Mode": "performance"}) as response:
        told = await response.json()
    think = told["stages"][1]
    assert (think["backend"], think["reason"]) == ("cpu", "preferred in Performance mode")
    assert think["inputs"] == ["listen"]
    assert [one["passed_over"] for one in think["plan"]] == [None, "resting"]
    assert think["plan"][1]["reason"] == "it failed a moment ago"
    async with http.get("/v1/pipelines/paint") as response:
        stage = (await response.json())["stages"][0]
    assert (stage["backend"], stage["reason"]) == (None, "nobody here can do this")


async def test_a_pipeline_that_is_not_there_names_those_that_are(house):
    http = await house()
    response, body = await posted(http, "voise", PCM, **RAW)
    error = json.loads(body)["error"]
    assert (response.status, error["code"], error["param"]) == (404, "pipeline_not_found", "pipeline")
    assert "did you mean voice?" in error["message"]
    assert "write" in error["message"]


async def test_sound_in_sound_out(house, engines):
    http = await house()
    response, body = await posted(http, "voice", PCM, **RAW)
    assert response.status == 200, body
    assert response.headers["Content-Type"] == "audio/pcm;rate=16000;channels=1"
    assert response.headers["X-Pipeline"] == "voice"
    assert len(body) > 3200
    assert engines.llm.requests[0].messages[-1].content == "Hello there."
    async with http.get(f"/v1/pipelines/runs/{response.headers['X-Run-Id']}") as run:
        told = await run.json()
    assert (told["outcome"], told["pipeline"]) == ("completed", "voice")
    assert [record["stage"] for record in told["records"]] == ["listen", "think", "speak"]
    assert told["total_ms"] > 0


FORMATS: list[Any] = [
    ("audio/wav", "audio/wav"),
    ("audio/*", "audio/wav"),
    ("audio/mpeg", "audio/mpeg"),
    ("audio/flac;q=0.5, audio/ogg;q=0.9", "audio/ogg"),
    ("video/mp4, audio/aac", "audio/aac"),
]


async def test_sound_comes_in_the_format_that_is_accepted(house):
    http = await house()
    for accept, kind in FORMATS:
        response, body = await posted(http, "read", "Hello there.", Accept=accept, **TEXT)
        assert (response.status, response.content_type) == (200, kind)
        assert seconds_of(body) > 0.05


async def test_the_rate_of_the_answer_can_be_chosen(house):
    http = await house()
    url = "/v1/pipelines/read?rate=8000"
    async with http.post(url, data="Hello.", headers={**TEXT, "Accept": "audio/wav"}) as response:
        body = await response.read()
    with wave.open(io.BytesIO(body)) as file:
        assert (file.getframerate(), file.getnchannels()) == (8000, 1)
    async with http.post(url, data="Hello.", headers={**TEXT, "Accept": "audio/pcm"}) as response:
        assert response.headers["Content-Type"] == "audio/pcm;rate=8000;channels=1"


SOUNDS: list[Any] = [
    ("audio/pcm;rate=48000;channels=2", np.repeat(np.repeat(SPEECH, 3), 2).astype("<i2").tobytes()),
    ("audio/pcm", PCM),
    ("audio/wav", sound_file(SPEECH)),
    ("audio/wav", sound_file(SPEECH, codec="pcm_alaw", rate=8000)),
    ("audio/flac", sound_file(SPEECH, "flac", "flac")),
    ("audio/ogg", sound_file(SPEECH, "ogg", "libopus", 48_000)),
    ("audio/mp4", sound_file(SPEECH, "mp4", "aac", 16_000)),
    ("video/webm", sound_file(SPEECH, "webm", "libopus", 48_000)),
    ("application/octet-stream", sound_file(SPEECH, "mp3", "libmp3lame", 16_000)),
]


async def test_sound_of_any_kind_is_heard(house, engines):
    http = await house()
    for content_type, data in SOUNDS:
        response, body = await posted(http, "write", data, **{"Content-Type": content_type})
        assert (response.status, response.content_type, body.strip()) == (200, "text/plain", b"Hello there."), body
    heard = [len(samples) / 16_000 for samples in engines.stt.heard]
    assert len(heard) >= 5  # the same samples again are not listened to again
    assert heard == pytest.approx([heard[0]] * len(heard), abs=0.5)


async def test_json_and_forms_hold_the_same_fields(house, engines):
    http = await house()
    file = sound_file(SPEECH)
    body = {"audio": base64.b64encode(file).decode(), "options": {}}
    async with http.post("/v1/pipelines/write", json=body) as response:
        assert (response.status, (await response.json())["outputs"]["listen"]["text"]) == (200, "Hello there.")
    url = "data:audio/wav;base64," + base64.b64encode(file).decode()
    async with http.post("/v1/pipelines/write", json={"audio": url}) as response:
        assert response.status == 200
    raw = {"audio": base64.b64encode(PCM).decode(), "rate": 16_000}
    async with http.post("/v1/pipelines/write", json=raw) as response:
        assert response.status == 200
    form = aiohttp.FormData({"options": '{"listen": {}}'})
    form.add_field("audio", file, filename="a.wav")
    async with http.post("/v1/pipelines/write", data=form, headers={"Accept": "text/plain"}) as response:
        assert (response.status, await response.text()) == (200, "Hello there.\n")


async def test_options_of_stages_hold_for_one_run(house, engines):
    http = await house()
    body = {"text": "Hi", "options": {"think": {"max_tokens": 7, "instructions": "Be brief."}}}
    async with http.post("/v1/pipelines/talk", json=body) as response:
        assert response.status == 200, await response.text()
    assert engines.llm.requests[0].max_tokens == 7
    assert engines.llm.requests[0].messages[0].content.startswith("Be brief.")
    async with http.post("/v1/pipelines/talk", json={"text": "Hi"}) as response:
        assert response.status == 200
    assert engines.llm.requests[1].max_tokens == 256


async def test_a_conversation_goes_on_from_run_to_run(house, engines):
    http = await house()
    response, body = await posted(http, "talk?context_id=ann", "I am Ann.", **TEXT)
    assert response.status == 200, body
    async with http.post("/v1/pipelines/talk?context_id=ann", json={"text": "Who am I?"}) as response:
        assert response.status == 200, await response.text()
    async with http.post("/v1/pipelines/talk?context_id=ann", json={"text": "x", "context_id": "bob"}) as response:
        assert (response.status, (await response.json())["error"]["param"]) == (400, "context_id")
    assert [message.content for message in engines.llm.requests[1].messages][-3:] == [
        "I am Ann.",
        "Good day to you. How are you?",
        "Who am I?",
    ]


async def test_events_tell_of_every_stage(house):
    http = await house()
    response, body = await posted(http, "voice", PCM, Accept="text/event-stream", **RAW)
    assert response.headers["X-Run-Id"]
    events = events_of(body)
    kinds = [event["type"] for event in events]
    assert (kinds[0], kinds[-1]) == ("run.started", "run.ended")
    assert {"stage.started", "stage.output", "stage.ended"} <= set(kinds)
    said = "".join(one["text"] for one in events if one["type"] == "stage.output" and one["stage"] == "think")
    assert said.strip() == "Good day to you. How are you?"
    sound = [one for one in events if one["type"] == "stage.output" and one["kind"] == "audio"]
    assert {one["stage"] for one in sound} == {"speak"}
    assert sum(len(base64.b64decode(one["audio"])) for one in sound) > 3200
    ended = events[-1]
    assert (ended["outcome"], ended["late"], len(ended["records"])) == ("completed", False, 3)


async def test_json_holds_what_every_stage_gave(house):
    http = await house()
    response, body = await posted(http, "voice", PCM, Accept="application/json", **RAW)
    told = json.loads(body)
    assert response.status == 200
    assert told["outputs"]["listen"]["text"] == "Hello there."
    assert seconds_of(base64.b64decode(told["outputs"]["speak"]["audio"])) > 0.05
    assert told["id"] == response.headers["X-Run-Id"]


async def test_data_comes_as_lines(house):
    http = await house()
    response, body = await posted(http, "embed", "Hello.", **TEXT)
    assert (response.status, response.content_type) == (200, "application/x-ndjson"), body
    assert [0.5, 0.25] in [json.loads(body)["embedding"]]


async def test_several_outputs_are_json_unless_one_is_asked_for(house):
    http = await house()
    response, body = await posted(http, "both", "Hello.", **TEXT)
    assert response.content_type == "application/json"
    assert {"speak", "embed"} <= json.loads(body)["outputs"].keys()
    response, body = await posted(http, "both", "Hello.", Accept="audio/wav", **TEXT)
    assert (response.status, seconds_of(body) > 0.05) == (200, True)


async def test_a_picture_comes_as_a_file(house, engines):
    drawn = io.BytesIO()
    with av.open(drawn, "w", format="image2pipe") as output:
        stream: Any = output.add_stream("png", rate=1)
        stream.width = stream.height = 32
        stream.pix_fmt = "rgb24"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        output.mux(stream.encode(None))
    engines.tasks["text-to-image"] = FakeTask(lambda inputs, parameters: drawn.getvalue())
    http = await house()
    response, body = await posted(http, "paint", "a cat", Accept="image/png", **TEXT)
    assert (response.status, response.content_type) == (200, "image/png"), body
    assert body.startswith(b"\x89PNG")


WRONG: list[Any] = [
    ("voice", {**RAW, "Accept": "image/png"}, 406, "Accept", "this pipeline gives audio"),
    ("voice", {**RAW, "X-Priority": "urgent"}, 400, "X-Priority", "legal values are low, normal, high, critical"),
    ("voice", {**RAW, "X-Latency-Critical": "yes"}, 400, "X-Latency-Critical", "legal values are true, false"),
    ("voice", {**RAW, "X-Max-Latency-Ms": "soon"}, 400, "X-Max-Latency-Ms", "milliseconds above 0"),
    ("voice", {**RAW, "X-Max-Latency-Ms": "0"}, 400, "X-Max-Latency-Ms", "milliseconds above 0"),
    ("voice", {**RAW, "X-Max-Latency-Ms": "nan"}, 400, "X-Max-Latency-Ms", "milliseconds above 0"),
    ("voice", {**RAW, "X-Target-Backend": "npu9"}, 400, "X-Target-Backend", "there are cpu, far"),
    ("voice", {**RAW, "X-Efficiency-Mode": "fast"}, 400, "X-Efficiency-Mode", "UltraEfficiency"),
    ("voice", {**RAW, "X-On-Late": "never"}, 400, "X-On-Late", "legal values are error, partial"),
    ("voice", {"Content-Type": "audio/pcm;rate=5"}, 400, "input_rate", "from 8000 to 48000"),
    ("voice", {"Content-Type": "audio/pcm;channels=9"}, 400, "channels", "from 1 to 2"),
    ("voice?rate=1", RAW, 400, "rate", "from 8000 to 48000"),
    ("voice?context_id=a%20b", RAW, 400, "context_id", "letters, digits"),
    ("voice", {"Content-Type": "application/pdf"}, 415, "Content-Type", "legal values are audio/pcm"),
    ("talk", RAW, 400, None, "takes text"),
    ("voice", TEXT, 400, None, "takes audio"),
    ("voice", {"Content-Type": "audio/flac"}, 400, "the body", "no file that can be decoded"),
    ("write", {"Content-Type": "image/png"}, 400, None, "takes audio"),
]


async def test_what_is_wrong_is_named_with_what_is_legal(house):
    http = await house()
    for pipeline, headers, status, param, words in WRONG:
        response, body = await posted(http, pipeline, PCM, **headers)
        error = json.loads(body)["error"]
        assert (response.status, error["param"]) == (status, param), error
        assert words in error["message"]


WRONG_BODIES: list[Any] = [
    ("talk", {}, "text", "must hold one of"),
    ("talk", {"txt": "Hi"}, "txt", "did you mean text?"),
    ("talk", {"text": "Hi", "options": {"thing": {}}}, "options", "there is no stage 'thing'"),
    ("talk", {"text": "Hi", "options": {"think": {"max_tokens": 0}}}, "options.think", "max_tokens"),
    ("talk", {"text": "Hi", "options": {"think": {"speed": 2}}}, "options.think", "speed"),
    ("write", {"audio": "http://127.0.0.1/a.wav"}, "audio", "addresses are not fetched"),
    ("write", {"audio": "no base64!"}, "audio", "is not base64"),
    ("write", {"text": "Hi"}, None, "takes audio"),
    ("write", {"rate": 16000, "text": "Hi"}, "rate", "needs audio"),
    ("talk", {"text": "Hi", "context_id": "a b"}, "context_id", "pattern"),
    ("write", [], None, "must be a JSON object"),
]


async def test_what_is_wrong_in_a_body_is_named(house):
    http = await house()
    for pipeline, body, param, words in WRONG_BODIES:
        async with http.post(f"/v1/pipelines/{pipeline}", json=body) as response:
            error = (await response.json())["error"]
        assert (response.status, error["param"]) == (400, param), error
        assert words in error["message"]


async def test_an_engine_that_fails_is_told_before_and_among_the_events(house, engines):
    engines.llm = FakeModel(*[LLMError("llm_broken", "it broke")] * 2)
    http = await house()
    response, body = await posted(http, "voice", PCM, **RAW)
    assert (response.status, json.loads(body)["error"]["code"]) == (500, "llm_broken")
    async with http.get(f"/v1/pipelines/runs/{response.headers['X-Run-Id']}") as run:
        told = await run.json()
    assert (told["outcome"], told["error"]["code"]) == ("failed", "llm_broken")
    response, body = await posted(http, "voice", PCM, Accept="text/event-stream", **RAW)
    assert response.status == 200
    events = events_of(body)
    assert [event["error"]["code"] for event in events if event["type"] == "error"] == ["llm_broken"]
    assert events[-1]["outcome"] == "failed"


async def test_a_run_that_fails_after_its_first_bytes_has_failed(house, engines):
    class Hoarse(FakeVoice):
        async def synthesize(self, text, voice=None, speed=1.0):
            async for piece in super().synthesize(text, voice, speed):
                yield piece
                raise TTSError("tts_broken", "it is hoarse")

    engines.tts = Hoarse()
    http = await house()
    async with http.post("/v1/pipelines/read", data="Hello there.", headers=TEXT) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    async with http.get(f"/v1/pipelines/runs/{response.headers['X-Run-Id']}") as run:
        told = await run.json()
    assert (told["outcome"], told["error"]["code"]) == ("failed", "tts_broken")


TARGET = "X-Target-Backend"


@pytest.mark.parametrize(("forced", "status", "param"), [({}, 503, None), ({TARGET: "far"}, 400, TARGET)])
async def test_what_a_forced_backend_cannot_do_is_the_clients_mistake(house, engines, forced, status, param):
    engines.llm = FakeModel(*[LLMError("no_backend", "it has no such model")] * 2)
    http = await house()
    response, body = await posted(http, "talk", "Hello", **TEXT, **forced)
    error = json.loads(body)["error"]
    assert (response.status, error["code"], error["param"]) == (status, "no_backend", param)
    _, body = await posted(http, "talk", "Hello", Accept="text/event-stream", **TEXT, **forced)
    [told] = [event["error"] for event in events_of(body) if event["type"] == "error"]
    assert (told["type"], told["param"]) == (error["type"], param)


async def test_sound_of_which_nothing_was_sent_is_refused(house):
    http = await house()
    response, body = await posted(http, "write", b"", **RAW)
    assert (response.status, json.loads(body)["error"]["code"]) == (400, "invalid_body")


async def test_after_a_body_that_cannot_be_read_the_connection_ends(house):
    http = await house()
    response, body = await posted(http, "write", b"no gzip" * 10_000, **RAW, **{"Content-Encoding": "gzip"})
    assert (response.status, json.loads(body)["error"]["code"]) == (400, "invalid_body")
    assert response.headers["Connection"] == "close"


async def test_a_run_that_nobody_knows(house):
    http = await house()
    async with http.get("/v1/pipelines/runs/run_x") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "run_not_found")


async def test_the_key_is_needed_and_pages_may_read_the_headers(house):
    key = "a-key-for-this-test"
    http = await house(api_key=key, allowed_origins="https://app.example.org")
    async with http.get("/v1/pipelines") as response:
        assert response.status == 401
    headers = {"Authorization": f"Bearer {key}", "Origin": "https://app.example.org", **TEXT}
    async with http.post("/v1/pipelines/talk", data="Hi", headers=headers) as response:
        assert response.status == 200
        exposed = response.headers["Access-Control-Expose-Headers"]
    assert {"X-Run-Id", "X-Pipeline", "X-Partial"} <= set(exposed.split(", "))


def test_spoken_is_loud():
    assert np.abs(spoken(0.1).samples).min() > 100


async def test_what_a_video_shows_comes_as_lines_or_drawn_into_it(house):
    encoder = VideoEncoder("webm")
    pictures = [Picture(np.full((64, 96, 3), 20 * n, np.uint8), n / 10) for n in range(10)]
    film = b"".join([*map(encoder.push, pictures), encoder.finish()])
    http = await house()
    headers = {"Content-Type": "video/webm"}
    response, body = await posted(http, "watch", film, **headers)
    assert (response.status, response.content_type) == (200, "application/x-ndjson"), body
    lines = [json.loads(line) for line in body.splitlines()]
    assert [line["time"] for line in lines] == pytest.approx([n / 10 for n in range(10)], abs=0.01)
    assert {"scene", "detections"} <= lines[0].keys()
    response, body = await posted(http, "watch", film, Accept="video/mp4", **headers)
    assert (response.status, response.content_type) == (200, "video/mp4"), body[:300]
    with av.open(io.BytesIO(body)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 10
    response, _ = await posted(http, "voice", PCM, Accept="video/mp4", **RAW)
    assert response.status == 406
