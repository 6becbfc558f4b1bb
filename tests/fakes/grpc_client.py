"""Clients of gRPC services, made from their descriptors."""

from __future__ import annotations

import re
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2


class Client:
    """``await client.list_models(request)``, ``async for … in client.chat(request)``: all calls of a service."""

    def __init__(self, channel: grpc.aio.Channel, service: Any, key: str | None = None) -> None:
        metadata = (("authorization", f"Bearer {key}"),) if key is not None else None
        for method in service.methods:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower()
            kinds = {
                (False, False): channel.unary_unary,
                (False, True): channel.unary_stream,
                (True, True): channel.stream_stream,
            }
            made = kinds[method.client_streaming, method.server_streaming](
                f"/{service.full_name}/{method.name}",
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            setattr(self, name, _with(made, metadata))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def _with(call: Any, metadata: Any) -> Any:
    def made(request: Any = None, **more: Any) -> Any:
        return call(request, metadata=(*(metadata or ()), *more.pop("metadata", ())), **more)

    return made


def code_of(error: grpc.aio.AioRpcError) -> str:
    """Our code in the trailers."""
    return str(dict(error.trailing_metadata())["error-code"])


def details_of(error: grpc.aio.AioRpcError) -> tuple[error_details_pb2.ErrorInfo, float | None]:
    """What travels with a status, and the seconds after which to come again."""
    whole = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    whole.details[0].Unpack(info)
    if len(whole.details) < 2:
        return info, None
    whole.details[1].Unpack(retry)
    return info, retry.retry_delay.ToTimedelta().total_seconds()
