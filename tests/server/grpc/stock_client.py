"""What a user of ``tritonclient`` does, as a program: its messages and ours cannot be in one process.

``python stock_client.py PORT`` prints one JSON object.
"""

from __future__ import annotations

import json
import queue
import sys
import warnings
from typing import Any

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tritonclient.grpc as triton
    from tritonclient.grpc import model_config_pb2, service_pb2
    from tritonclient.utils import InferenceServerException


def text(*words: str) -> triton.InferInput:
    """The input ``text``."""
    made = triton.InferInput("text", [len(words)], "BYTES")
    made.set_data_from_numpy(np.array([word.encode() for word in words], np.object_))
    return made


def streamed(client: triton.InferenceServerClient, *requests: dict[str, Any], finals: int) -> list[Any]:
    """All that a stream answers until so many answers are final."""
    told: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: told.put(error or result))
    for request in requests:
        client.async_stream_infer(enable_empty_final_response=True, **request)
    found: list[Any] = []
    while finals:
        one = told.get(timeout=60)
        found.append(one)
        if isinstance(one, InferenceServerException):
            finals -= 1
        else:
            finals -= one.get_response().parameters["triton_final_response"].bool_param
    client.stop_stream()
    return found


def fields(descriptor: Any) -> dict[str, Any]:
    """Number and type of each field, of nested messages too."""
    own = {
        field.name: [field.number, field.type, field.message_type.full_name if field.message_type else ""]
        for field in descriptor.fields
    }
    return {descriptor.full_name: own, **{k: v for one in descriptor.nested_types for k, v in fields(one).items()}}


def definitions() -> dict[str, Any]:
    """What the client believes to be the protocol."""
    messages = [
        *service_pb2.DESCRIPTOR.message_types_by_name.values(),
        *(
            model_config_pb2.DESCRIPTOR.message_types_by_name[name]
            for name in ("ModelConfig", "ModelInput", "ModelOutput", "ModelTransactionPolicy")
        ),
    ]
    types = model_config_pb2.DESCRIPTOR.enum_types_by_name["DataType"].values_by_name
    return {
        "messages": {name: own for one in messages for name, own in fields(one).items()},
        "types": {name: value.number for name, value in types.items()},
    }


def main(port: str) -> dict[str, Any]:
    """Everything."""
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    told: dict[str, Any] = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "server": client.get_server_metadata(as_json=True),
        "metadata": client.get_model_metadata("embed", as_json=True),
        "config": client.get_model_config("chat", as_json=True),
        "model_ready": client.is_model_ready("embed"),
        "not_ready": client.is_model_ready("vision"),
        "index": client.get_model_repository_index(as_json=True),
    }
    vectors = client.infer("embed", [text("one", "two")]).as_numpy("embedding")
    told["vectors"] = [vectors.shape, str(vectors.dtype), [float(value) for value in vectors[0][:4]]]
    client.load_model("tasks/feature-extraction")
    client.unload_model("tasks/feature-extraction")
    asked = {"max_tokens": 9}
    answer = client.infer("chat", [text("Hello?")], parameters=asked, outputs=[triton.InferRequestedOutput("text")])
    told["answer"] = answer.as_numpy("text")[0].decode()
    task = client.infer("tasks/language-detection", [text("Guten Morgen, wie geht es dir?", "Good morning!")])
    told["task"] = [json.loads(one) for one in task.as_numpy("output")]
    samples = triton.InferInput("audio", [16_000], "INT16")
    samples.set_data_from_numpy((8000 * np.sign(np.sin(np.arange(16_000)))).astype(np.int16))
    told["heard"] = client.infer("stt", [samples]).as_numpy("text")[0].decode()
    spoken = client.infer("tts", [text("Good morning.")])
    told["spoken"] = [spoken.as_numpy("audio").shape[0], int(spoken.as_numpy("sample_rate")[0])]
    read = client.infer("pipelines/read-aloud", [text("Good morning.")])
    told["read"] = read.as_numpy("audio").shape[0]
    pieces = streamed(
        client,
        {"model_name": "chat", "inputs": [text("Hello?")], "request_id": "a"},
        {"model_name": "chat", "inputs": [text("Hello?")], "request_id": "b", "parameters": {"temperature": 9}},
        {"model_name": "tts", "inputs": [text("Good morning.")], "request_id": "c"},
        finals=3,
    )
    told["stream"] = [
        str(one)
        if isinstance(one, InferenceServerException)
        else [one.get_response().id, (one.as_numpy("text")[0].decode() if one.as_numpy("text") is not None else "")]
        for one in pieces
    ]
    for name, inputs in (("none-such", [text("x")]), ("embed", [])):
        try:
            client.infer(name, inputs)
        except InferenceServerException as error:
            told[name] = [error.status(), error.message()]
    return {**told, "definitions": definitions()}


if __name__ == "__main__":
    json.dump(main(sys.argv[1]), sys.stdout)
