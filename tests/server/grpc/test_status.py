"""The one table from our codes to gRPC's status, and what travels with a status."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from pipelines.errors import LLMError
from server.grpc.status import refusal, refusal_of, status_of
from server.http.errors import _STATUS as ENGINES  # the statuses of HTTP for the same codes
from server.http.errors import HttpError
from server.http.tasks.door import STATUS as TASKS
from tools.error_codes import codes

Code = grpc.StatusCode
ALIKE = {
    400: {Code.INVALID_ARGUMENT},
    401: {Code.UNAUTHENTICATED},
    403: {Code.PERMISSION_DENIED},
    404: {Code.NOT_FOUND},
    422: {Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION},
    501: {Code.FAILED_PRECONDITION, Code.UNIMPLEMENTED},
    503: {Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.FAILED_PRECONDITION},
}


def test_every_code_has_a_status():
    assert not [code for code in (*codes(), *ENGINES, *TASKS) if status_of(code) is None]


@pytest.mark.parametrize(("code", "http"), sorted({**ENGINES, **TASKS}.items()))
def test_a_code_means_the_same_as_over_http(code, http):
    if code not in ("adapter_broken", "stt_cannot_translate"):  # what is wrong is the request, and what is here
        assert status_of(code) in ALIKE[http]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("invalid_value", Code.INVALID_ARGUMENT),
        ("model_not_found", Code.NOT_FOUND),
        ("model_not_here", Code.FAILED_PRECONDITION),
        ("warming_up", Code.UNAVAILABLE),
        ("llm_unreachable", Code.UNAVAILABLE),
        ("server_busy", Code.RESOURCE_EXHAUSTED),
        ("out_of_memory", Code.RESOURCE_EXHAUSTED),
        ("latency_exceeded", Code.DEADLINE_EXCEEDED),
        ("missing_api_key", Code.UNAUTHENTICATED),
        ("client_secret_not_allowed", Code.PERMISSION_DENIED),
        ("llm_failed", Code.INTERNAL),
    ],
)
def test_what_clients_count_on(code, status):
    assert status_of(code) is status


def test_details_say_the_code_the_field_and_when_to_come_again():
    made = refusal("server_busy", "full", "model", 7.5)
    trailers = dict(made.trailers)
    whole = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert whole.details[0].Unpack(info) and whole.details[1].Unpack(retry)
    assert (info.reason, info.domain, dict(info.metadata)) == ("server_busy", "visavis", {"param": "model"})
    assert retry.retry_delay.ToTimedelta().total_seconds() == 7.5
    assert trailers["error-code"] == "server_busy"


def test_what_handlers_raise_has_an_ending():
    told = refusal_of(HttpError(400, "invalid_value", "model: is wrong", "model"))
    assert told is not None and (told.status, told.param) == (Code.INVALID_ARGUMENT, "model")
    assert refusal_of(HttpError(404, "never_heard_of", "no")).status is Code.NOT_FOUND
    assert refusal_of(LLMError("llm_failed", "it fell over")).message == "it fell over"
    assert refusal_of(ValueError("a secret of ours")) is None


def test_generated_messages_are_those_of_the_definitions():
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    from tools.generate_grpc import GENERATED, generated

    wanted = generated()
    assert {path.name for path in GENERATED.glob("*_pb2.py*")} == wanted.keys()
    stale = [name for name, text in wanted.items() if (GENERATED / name).read_text("utf-8") != text]
    assert not stale, "run python -m tools.generate_grpc"
