"""What no client should send to the REST API: each is answered 4xx in the common shape, and nothing is left behind."""

from __future__ import annotations

import io
import json
import random

import aiohttp
import pytest

from server.http.multipart import Field, MultipartError, read_form
from server.http.rest.routes import CHAT, TRANSCRIPTIONS, TRANSLATIONS
from tests.conftest import fake_engines
from tests.fakes.hostile_requests import JSON_VALUES
from tests.server.http.rest.clients import HELLO, bursts, sound_file

BOUNDARY = "b0und4ry"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
JSON = {"Content-Type": "application/json"}
GOOD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a b\\"c.wav"\r\n'
    "Content-Type: audio/wav\r\n\r\n\r\nbytes\r\n"
).encode()
END = f"--{BOUNDARY}--\r\n".encode()


def test_a_form_is_read():
    fields = read_form(FORM["Content-Type"], b"preamble\r\n" + GOOD + END + b"epilogue")
    assert fields == [Field("model", b"whisper-1"), Field("file", b"\r\nbytes", 'a b\\"c.wav')]
    assert fields[0].text == "whisper-1"
    quoted = f'multipart/form-data; charset=utf-8; boundary="{BOUNDARY}"'
    assert read_form(quoted, GOOD + END) == fields
    assert read_form(quoted, END) == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", GOOD + END),
        ("multipart/form-data", GOOD + END),
        ("multipart/form-data; boundary=", GOOD + END),
        ("multipart/form-data; boundary=other", GOOD + END),
        (FORM["Content-Type"], b""),
        (FORM["Content-Type"], GOOD),
        (FORM["Content-Type"], GOOD[:-20]),
        (FORM["Content-Type"], GOOD[:40]),
        (FORM["Content-Type"], GOOD.replace(b"form-data", b"attachment") + END),
        (FORM["Content-Type"], GOOD.replace(b'name="model"', b"") + END),
        (FORM["Content-Type"], GOOD * 40 + END),
        (FORM["Content-Type"], f"--{BOUNDARY}\r\n".encode() + b"a" * 20_000 + b"\r\n\r\nx\r\n" + END),
    ],
)
def test_what_is_no_form_is_refused(content_type, body):
    with pytest.raises(MultipartError):
        read_form(content_type, body)


def test_mutations_of_a_form_are_read_or_refused():
    random_bytes = random.Random(5)
    whole = GOOD + END
    for _ in range(3000):
        body = bytearray(whole)
        for _ in range(random_bytes.randint(1, 6)):
            place = random_bytes.randrange(len(body))
            match random_bytes.randrange(3):
                case 0:
                    body[place] = random_bytes.randrange(256)
                case 1:
                    del body[place : place + random_bytes.randrange(30)]
                case _:
                    body[place:place] = body[: random_bytes.randrange(30)]
        try:
            for field in read_form(FORM["Content-Type"], bytes(body)):
                assert field.text is not None
        except MultipartError:
            pass


@pytest.fixture
async def api(serve, tmp_path):
    url, _ = await serve(fake_engines(), cache=tmp_path)
    async with aiohttp.ClientSession(url) as session:
        yield session


async def refused(response: aiohttp.ClientResponse) -> tuple[int, str]:
    body = await response.json()
    assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "code", "param"}
    assert 400 <= response.status < 500 or response.status == 501, body
    assert len(json.dumps(body)) < 8000
    return response.status, body["error"]["code"]


async def test_bodies_of_any_value_are_answered_as_the_clients_fault(api):
    bodies = [value for value in JSON_VALUES if value != 10**400]
    fields = ("messages", "model", "temperature", "tools", "stop", "input", "voice", "stream_options", "tool_choice")
    for path in (CHAT, "/v1/audio/speech", "/v1/embeddings"):
        for value in bodies:
            await refused(await api.post(path, data=json.dumps(value), headers=JSON))
            for field in fields:
                whole = {"model": "nobody-here", "messages": HELLO, "input": "Hello.", field: value}
                if path != CHAT:
                    del whole["messages"]
                response = await api.post(path, data=json.dumps(whole), headers=JSON)
                if (field, value) != ("model", None) or path != "/v1/audio/speech":  # which needs none
                    await refused(response)


async def test_messages_of_any_value_are_answered_as_the_clients_fault(api):
    for value in (value for value in JSON_VALUES if value != 10**400):
        for message in (
            value,
            {"role": value, "content": "x"},
            {"role": "tool", "content": "x", "tool_call_id": value},
            {"role": "user", "content": [value]},
            {"role": "user", "content": [{"type": "image_url", "image_url": value}]},
            {"role": "assistant", "tool_calls": [value]},
            {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": value}}]},
        ):
            body = json.dumps({"model": "gpt-4o", "messages": [message]})
            response = await api.post(CHAT, data=body, headers=JSON)
            if response.status != 200:
                await refused(response)


async def test_uploads_that_are_too_large_or_no_sound(api):
    wav = sound_file(bursts(1.0))
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'.encode()
    tail = b"\r\n" + END
    for path in (TRANSCRIPTIONS, TRANSLATIONS):
        assert (await refused(await api.post(path, data=b"{}", headers=JSON)))[0] == 400
        assert (await refused(await api.post(path, data=GOOD, headers=FORM)))[0] == 400
    for data in (b"", wav[:43], bytes(500), b"RIFF" + bytes(100), b"OggS" * 300, b"\x1aE\xdf\xa3" * 99, b"ID3" * 200):
        assert (await refused(await api.post(TRANSCRIPTIONS, data=head + data + tail, headers=FORM)))[
            1
        ] == "invalid_file"
    twice = head + wav + b"\r\n" + head + wav + tail
    assert (await refused(await api.post(TRANSCRIPTIONS, data=twice, headers=FORM)))[0] == 400
    random_bytes = random.Random(3)
    for _ in range(25):
        broken = bytearray(wav)
        for _ in range(20):
            broken[random_bytes.randrange(200)] = random_bytes.randrange(256)
        response = await api.post(TRANSCRIPTIONS, data=head + bytes(broken) + tail, headers=FORM)
        assert response.status in (200, 400), await response.text()
    declared = {**FORM, "Content-Length": str(100 << 20), "Connection": "close"}
    assert (await refused(await api.post(TRANSCRIPTIONS, data=b"x", headers=declared)))[0] == 413


async def test_large_bodies_are_for_the_routes_that_need_them(api):
    text = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * (2 << 20)}]}).encode()
    assert (await api.post(CHAT, data=io.BytesIO(text), headers=JSON)).status == 200
    assert (await refused(await api.post("/v1/embeddings", data=io.BytesIO(text), headers=JSON)))[0] == 413
    assert (await refused(await api.get("/v1/models/x%00y/..%2f")))[0] == 404
    assert (await refused(await api.get(CHAT)))[0] == 405
