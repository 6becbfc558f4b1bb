"""Fields as HTTP calls them → as the messages of gRPC do, in errors of what serves both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from server.grpc.generated import chat_pb2
from server.http.errors import HttpError
from server.http.pipelines.arriving import InputError

Rule = tuple[str, str | Callable[[re.Match[str]], str]]
"""How a field begins over HTTP, as a pattern, and what stands for that here."""

SPEECH: Sequence[Rule] = ((r"input", "text"), (r"response_format", "format"))
TRANSCRIBE: Sequence[Rule] = ((r"options\.[^.:]+(: language)?", "config.language"), (r"pipeline", "config.pipeline"))
OIP_CHAT: Sequence[Rule] = (
    (r"messages[.\w]*", "text"),
    (r"(max_tokens|temperature|top_p|seed|stop)", r"parameters.\1"),
    (r"model", "model_version"),
)
OIP_SPEECH: Sequence[Rule] = ((r"input", "text"), (r"(voice|speed)", r"parameters.\1"))
OIP_TRANSCRIBE: Sequence[Rule] = ((r"options\.[^.:]+(: language)?", "parameters.language"),)
_CHAT: Sequence[Rule] = (
    (r"(messages\.\d+)\.content\.\d+(\.text)?", r"\1.content"),
    (r"(messages\.\d+\.tool_calls\.\d+)\.function\.arguments", r"\1.arguments_json"),
    (r"(messages\.\d+\.tool_calls\.\d+)\.function", r"\1"),
    (r"(tools\.\d+)\.function\.parameters", r"\1.parameters_json"),
    (r"(tools\.\d+)\.function", r"\1"),
    (r"tool_choice\.function(\.name)?", "tool_choice"),
    (r"response_format\.json_schema\.name", "response_format.name"),
    (r"response_format\.json_schema(\.schema)?", "response_format.schema_json"),
    (r"(lora\.\d+)\.id", r"\1.name"),
)


def chat_rules(request: chat_pb2.ChatRequest) -> Sequence[Rule]:
    """Those of a request: its pictures follow its text in one list over HTTP."""

    def picture(found: re.Match[str]) -> str:
        message, part = int(found[1]), int(found[2])
        return f"messages.{message}.images.{part - bool(request.messages[message].content)}"

    return ((r"messages\.(\d+)\.content\.(\d+)\.image_url(?:\.url)?", picture), *_CHAT)


@contextmanager
def renamed(rules: Sequence[Rule]) -> Iterator[None]:
    """Errors name fields as the first rule has it that fits; those that no rule fits are called the same."""
    try:
        yield
    except HttpError as error:
        raise HttpError(error.response.status, error.code, *_named(error, rules)) from error
    except InputError as error:
        raise InputError(error.status, error.code, *_named(error, rules)) from error


def _named(error: HttpError | InputError, rules: Sequence[Rule]) -> tuple[str, str | None]:
    """Message and field."""
    if error.param is None:
        return error.message, None
    for pattern, name in rules:
        whole = re.compile(rf"{pattern}(?!\w)")
        if whole.match(error.param):
            told = whole.sub(name, error.message, count=1) if whole.match(error.message) else error.message
            return told, whole.sub(name, error.param, count=1)
    return error.message, error.param
