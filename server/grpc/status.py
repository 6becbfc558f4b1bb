"""Codes of errors → gRPC's status, and the details that travel with one. The one table of it.

Details are those of ``google.rpc`` (https://grpc.io/docs/guides/error): ``ErrorInfo`` with the code as over HTTP and
the field that is wrong, ``RetryInfo`` where it is worth to come again. The trailer ``error-code`` has the code, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode as Code

from pipelines.errors import PipelineError
from server.http.errors import RETRY_AFTER_SECONDS, HttpError

DOMAIN = "visavis"
DETAILS = "grpc-status-details-bin"
ERROR_CODE = "error-code"
_DEFECT = "the server failed; its log has the details"

_ROWS: tuple[tuple[Code, str], ...] = (
    (Code.UNAUTHENTICATED, r"(missing|invalid)_api_key|client_secret_(expired|revoked)"),
    (Code.PERMISSION_DENIED, r"\w+_not_allowed|adapter_(loading_off|outside)|https_required|node_not_trusted"),
    (Code.DEADLINE_EXCEEDED, r"latency_exceeded|deadline|request_timeout|(llm|remote)_timeout"),
    (Code.RESOURCE_EXHAUSTED, r"server_(busy|full)|rate_limit_exceeded|(engine|stt)_busy|too_many_\w+|adapters_full"),
    (Code.RESOURCE_EXHAUSTED, r"out_of_memory|does_not_fit|no_space|input_audio_buffer_full|output_too_large"),
    (
        Code.UNAVAILABLE,
        r"warming_up|worker_restarting|(engine|stt|vision)_closed|engine_stuck|(stt|task)_stuck|no_backend",
    ),
    (Code.UNAVAILABLE, r"(llm|remote|server)_(unavailable|unreachable|http_error|no_answer|invalid)|llm_bad_stream"),
    (Code.UNAVAILABLE, r"download_failed|check_failed|llm_key_refused|remote_bad_answer|node_unreachable"),
    (Code.ALREADY_EXISTS, r"adapter_exists|target_exists"),
    (Code.NOT_FOUND, r"\w+_not_found|not_found|no_recording|no_previous_version|session_ended"),
    (Code.NOT_FOUND, r"unknown_(model|pipeline|task)|(model|repo|revision|file|version|adapter)_unknown"),
    (Code.FAILED_PRECONDITION, r"model_(not_here|missing|unavailable|not_chat|broken|needs_remote_code|ambiguous)"),
    (Code.FAILED_PRECONDITION, r"(library|voice|detector|device|quantization|stage|adapter|key|stt|tts|vad)_missing"),
    (Code.FAILED_PRECONDITION, r"(voice|detector|device|quantization)_unavailable|(device_map|dtype|format)_unknown"),
    (Code.FAILED_PRECONDITION, r"(adapter|moonshine|whisper|voice|vad|stt|tts|version|turn_model)_(broken|incomplete)"),
    (
        Code.FAILED_PRECONDITION,
        r"not_(installed|served|deployed)|load_failed|lfs_pointer|labels_differ|template_unusable",
    ),
    (Code.FAILED_PRECONDITION, r"cannot_combine|adapter_in_use|precondition_failed|several_sessions"),
    (Code.FAILED_PRECONDITION, r"catalogue_invalid|definition_\w+|vision_unusable|quantized_already|no_conversion"),
    (Code.FAILED_PRECONDITION, r"model_not_convertible|(file|folder)_\w+|conversation_already_has_active_response"),
    (Code.OUT_OF_RANGE, r"range_not_satisfiable"),
    (Code.UNIMPLEMENTED, r"upgrade_required|stt_(cannot_translate|unable)|(renegotiation|ice_restart)_unsupported"),
    (Code.INVALID_ARGUMENT, r"\w+_unsupported|model_cannot_infill"),
    (Code.INVALID_ARGUMENT, r"(invalid|missing|unknown|unsupported|unserved|wrong)_\w+"),
    (Code.INVALID_ARGUMENT, r"\w+_too_(large|long)|too_long|(images|tools)_not_taken|tool_(choice|call_invalid)"),
    (Code.INVALID_ARGUMENT, r"image_unusable|nothing_\w+|no_(codec|media|opus|conversation)|not_acceptable"),
    (Code.INVALID_ARGUMENT, r"llm_(context_full|refused|template)|stt_(language|task)|adapter_(name|scale)"),
    (Code.INVALID_ARGUMENT, r"idle_prompt_never|expectation_failed|delegation_required"),
    (Code.INVALID_ARGUMENT, r"(input_audio|item_truncate|response_cancel)_\w+"),
    (Code.INTERNAL, r"internal_error|server_error|output_too_large|\w+_(failed|crashed|ended|bad_answer|broken)"),
)
"""Status, and the codes that mean it. The first that matches a code counts."""

_COMES_AGAIN = frozenset((Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE))
_OF_HTTP = {
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    429: Code.RESOURCE_EXHAUSTED,
    501: Code.UNIMPLEMENTED,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}


@cache
def status_of(code: str) -> Code | None:
    """What a code means; ``None`` for one that no row knows."""
    return next((status for status, pattern in _ROWS if re.fullmatch(pattern, code)), None)


def meanings(codes: Sequence[str]) -> dict[Code, list[str]]:
    """Each status that there is, in the order of the table, and the codes among these that mean it."""
    found: dict[Code, list[str]] = {status: [] for status, _ in _ROWS}
    for code in codes:
        found[status_of(code) or Code.INTERNAL].append(code)
    return found


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a call ends that is not served."""

    status: Code
    code: str
    message: str
    param: str | None = None
    """The field that is wrong."""
    retry_after: float | None = None
    """Seconds."""

    @property
    def trailers(self) -> tuple[tuple[str, str | bytes], ...]:
        """Metadata that travel with it."""
        more = {"param": self.param} if self.param else {}
        told: list[any_pb2.Any] = [_packed(error_details_pb2.ErrorInfo(reason=self.code, domain=DOMAIN, metadata=more))]
        if self.retry_after is not None:
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(round(self.retry_after * 1e9))
            told.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
        whole = status_pb2.Status(code=self.status.value[0], message=self.message, details=told)
        return ((ERROR_CODE, self.code), (DETAILS, whole.SerializeToString()))


def refusal(code: str, message: str, param: str | None = None, retry_after: float | None = None) -> Refusal:
    """The end of a call for a code of ours."""
    status = status_of(code) or Code.INTERNAL
    if retry_after is None and status in _COMES_AGAIN:
        retry_after = RETRY_AFTER_SECONDS
    return Refusal(status, code, message, param, retry_after)


def refusal_of(error: Exception) -> Refusal | None:
    """The end of a call whose handler raised this; ``None`` for a defect, whose text stays here."""
    if isinstance(error, HttpError):
        made = refusal(error.code, error.message, error.param)
        if status_of(made.code) is None:
            status = _OF_HTTP.get(error.response.status, Code.INTERNAL)
            status = Code.INVALID_ARGUMENT if 400 <= error.response.status < 500 and status is Code.INTERNAL else status
            return Refusal(status, made.code, made.message, made.param)
        return made
    if isinstance(error, PipelineError):
        return refusal(error.code, error.message, getattr(error, "param", None))
    return None


def defect() -> Refusal:
    """The end of a call that failed by a defect of ours."""
    return Refusal(Code.INTERNAL, "internal_error", _DEFECT)


def _packed(message: object) -> any_pb2.Any:
    made = any_pb2.Any()
    made.Pack(message)
    return made
