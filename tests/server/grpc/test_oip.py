"""The Open Inference Protocol: the stock client of Triton, and what it does not try."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest

from server.grpc.generated import grpc_service_pb2 as pb
from server.http.app import ENGINES
from server.http.pipelines.routes import PLACES
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice
from tests.fakes.grpc_client import code_of
from tests.fakes.vision import FakeVision
from tests.patience import PATIENCE, until

Code = grpc.StatusCode
PROGRAM = Path(__file__).with_name("stock_client.py")


def ask(model: str, *inputs: tuple[str, str, list[int], bytes], **parameters) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=model, id="1")
    for name, kind, shape, data in inputs:
        request.inputs.add(name=name, datatype=kind, shape=shape)
        request.raw_input_contents.append(data)
    for name, value in parameters.items():
        setattr(request.parameters[name], {int: "int64_param", str: "string_param"}[type(value)], value)
    return request


def text(*words: str) -> tuple[str, str, list[int], bytes]:
    data = b"".join(struct.pack("<I", len(word.encode())) + word.encode() for word in words)
    return "text", "BYTES", [len(words)], data


@pytest.mark.skipif(find_spec("tritonclient") is None, reason="tritonclient is not installed")
async def test_the_stock_client_is_served(spoken, tiny_models):
    answers = ["Good morning to you."] * 2
    stt = FakeRecognizer("Hello there.")
    server = await spoken(folders=(tiny_models,), llm=FakeModel(*answers), stt=stt, tts=FakeVoice())
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), str(server.port), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE):
        out, problems = await program.communicate()
    assert program.returncode == 0, problems.decode()
    told = json.loads(out)
    assert told["live"] and told["ready"] and told["model_ready"] and not told["not_ready"]
    assert told["server"]["name"] == "visavis" and "model_repository" in told["server"]["extensions"]
    assert told["metadata"]["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": ["-1"]}]
    assert told["metadata"]["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": ["-1", "-1"]}]
    assert told["config"]["config"]["model_transaction_policy"]["decoupled"]
    index = {one["name"]: one for one in told["index"]["models"]}
    assert index["embed"]["state"] == "READY" and index["vision"]["reason"]
    assert {"chat", "stt", "tts", "tasks/ocr", "pipelines/read-aloud"} <= index.keys()
    assert told["vectors"][0] == [2, 16] and told["vectors"][1] == "float32"
    assert told["answer"].strip() == answers[0]
    assert [one[0]["language"] for one in told["task"]] == ["de", "en"]
    assert told["heard"] == "Hello there."
    assert told["spoken"] == [told["read"], FakeVoice.rate] and told["read"] == FakeVoice.rate // 2
    words = [one[1] for one in told["stream"] if isinstance(one, list) and one[0] == "a"]
    assert [word.strip() for word in words] == ["Good", "morning", "to", "you.", ""]
    (error,) = [one for one in told["stream"] if isinstance(one, str)]
    assert "invalid_value: parameters.temperature" in error
    assert len([one for one in told["stream"] if isinstance(one, list) and one[0] == "c"]) == 3
    assert told["none-such"][0] == "StatusCode.NOT_FOUND" and "text is missing" in told["embed"][1]
    assert_fields_are_those_of(told["definitions"])


def assert_fields_are_those_of(definitions: dict) -> None:
    """Whatever we define is numbered and typed as the stock client has it."""
    for name, message in pb.DESCRIPTOR.message_types_by_name.items():
        known = definitions["messages"][f"inference.{name}"]
        for field in message.fields:
            typed = field.message_type.full_name if field.message_type else ""
            assert known[field.name] == [field.number, field.type, typed], f"{name}.{field.name}"
    assert dict(pb.DataType.items()) == definitions["types"]


async def test_pictures_are_followed_in_a_stream(spoken):
    vision = FakeVision()
    server = await spoken(vision=vision)
    client = server.client("GRPCInferenceService")
    picture = ("image", "UINT8", [48, 64, 3], bytes(48 * 64 * 3))
    alone = await client.model_infer(ask("vision", picture, detectors="faces"), timeout=PATIENCE)
    shapes = {one.name: list(one.shape) for one in alone.outputs}
    assert shapes == {"boxes": [1, 4], "scores": [1], "ids": [1], "kinds": [1], "labels": [1]}
    boxes = np.frombuffer(alone.raw_output_contents[0], "<f4")
    assert boxes == pytest.approx([0.2] * 4)
    trackers = server.app[ENGINES].trackers
    await until(lambda: len(trackers._idle) == 1)

    async def requests():
        yield ask("vision", picture)
        yield ask("vision", picture)

    told = [one async for one in client.model_stream_infer(requests(), timeout=PATIENCE)]
    assert [one.infer_response.parameters["triton_final_response"].bool_param for one in told] == [True, True]
    assert vision.opened == 1, "one tracker serves the whole stream, and is handed on"
    await until(lambda: len(trackers._idle) == 1)


async def test_a_stream_has_one_place_of_pipelines_and_gives_it_up_while_it_is_idle(spoken):
    server = await spoken(vision=FakeVision(), settings={"pipeline_runs": 1, "request_timeout": 0.5})
    picture = ("image", "UINT8", [48, 64, 3], bytes(48 * 64 * 3))
    told = []
    goes_on = asyncio.Event()

    async def requests():
        yield ask("vision", picture, detectors="faces")
        yield ask("vision", picture, detectors="hands")
        await until(lambda: len(told) == 2 and server.app[PLACES].running == 0)
        yield ask("vision", picture, detectors="hands")
        goes_on.set()

    async for one in server.client("GRPCInferenceService").model_stream_infer(requests(), timeout=PATIENCE):
        told.append(one.error_message)  # noqa: PERF401 - the requests look at it meanwhile
    assert told == [""] * 3 and goes_on.is_set()


async def test_results_that_are_files_are_told_as_they_are(spoken):
    server = await spoken()
    _, whole = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))
    data = whole.tobytes()
    picture = ("image", "BYTES", [1], struct.pack("<I", len(data)) + data)
    told = await server.client("GRPCInferenceService").model_infer(
        ask("tasks/image-enhance", picture, upscale=2), timeout=PATIENCE
    )
    made = told.raw_output_contents[0][4:]
    assert cv2.imdecode(np.frombuffer(made, np.uint8), cv2.IMREAD_COLOR).shape == (16, 16, 3)


async def test_a_client_that_leaves_a_stream_frees_the_model(spoken):
    model = FakeModel("one two three")
    model.gate.clear()
    server = await spoken(llm=model)

    async def requests():
        yield ask("chat", text("Hello?"))
        await asyncio.Event().wait()

    call = server.client("GRPCInferenceService").model_stream_infer(requests())
    reading = asyncio.ensure_future(call.read())
    await until(lambda: bool(model.requests))
    call.cancel()
    await until(lambda: model.cancelled == 1)
    await asyncio.gather(reading, return_exceptions=True)


async def test_a_client_that_leaves_one_answer_frees_the_model(spoken):
    model = FakeModel("one two three")
    model.gate.clear()
    server = await spoken(llm=model)
    call = server.client("GRPCInferenceService").model_infer(ask("chat", text("Hello?")))
    await until(lambda: bool(model.requests))
    call.cancel()
    await until(lambda: model.cancelled == 1)


async def test_values_that_are_not_raw_are_answered_likewise(spoken, tiny_models):
    server = await spoken(folders=(tiny_models,))
    request = pb.ModelInferRequest(model_name="embed")
    request.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"one")
    told = await server.client("GRPCInferenceService").model_infer(request, timeout=PATIENCE)
    assert not told.raw_output_contents and len(told.outputs[0].contents.fp32_contents) == told.outputs[0].shape[1]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ask("embed", ("words", "BYTES", [1], b"")), "inputs.0: there is no input 'words'"),
        (ask("embed", ("text", "INT8", [1], b"1")), "inputs.0.datatype: of text is BYTES, not 'INT8'"),
        (ask("embed", ("text", "BYTES", [1, 1], b"")), r"inputs.0.shape: of text is \[-1\], not \[1, 1\]"),
        (ask("embed", ("text", "BYTES", [2], b"\1\0\0\0a")), "inputs.0: must be 2 elements"),
        (ask("stt", ("audio", "INT16", [4], b"abc")), r"inputs.0: must have 8 bytes for \[4\], not 3"),
        (ask("stt", ("audio", "INT16", [1], b"ab"), sample_rate=7), "parameters.sample_rate: must be a whole number"),
        (ask("stt", ("audio", "INT16", [1], b"ab"), speed=7), "parameters.speed: there is no such parameter"),
        (ask("stt", ("audio", "INT16", [1], b"ab"), language="klingon!!"), "parameters.language: "),
        (ask("tts", text("x"), voice="nobody"), "parameters.voice: there is none"),
        (ask("tts", text("x"), speed=9), "parameters.speed: "),
        (ask("tts", text("")), "text: "),
        (ask("chat", text("x"), max_tokens=-1), "parameters.max_tokens: "),
        (ask("vision", ("image", "UINT8", [1, 1, 3], b"abc"), detectors="x"), "detectors.0: there is no detector"),
        (ask("tasks/none"), "model 'tasks/none'"),
    ],
)
async def test_what_is_wrong_is_named(spoken, request_, message):
    server = await spoken(vision=FakeVision())
    with pytest.raises(grpc.aio.AioRpcError, match=message) as caught:
        await server.client("GRPCInferenceService").model_infer(request_, timeout=PATIENCE)
    assert code_of(caught.value) in ("invalid_value", "unsupported_value", "model_not_found")
