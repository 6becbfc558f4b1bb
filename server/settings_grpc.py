"""Settings of the port that speaks gRPC: a part of :mod:`server.settings`."""

from __future__ import annotations

import ipaddress
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings


class GrpcSettings(BaseSettings):
    """Whether gRPC is spoken, and where. Keys, limits and certificates are those of HTTP."""

    grpc_port: int | None = Field(None, ge=0, le=65535)
    """TCP port on which gRPC is spoken; 0 takes a free one. Default: none. Needs the extra ``grpc``."""
    grpc_host: str | None = Field(None, min_length=1)
    """Address to listen on for it. Default: that of ``host``. Anything but loopback needs an API key."""
    grpc_message_mb: int = Field(32, ge=1, le=1024)
    """The most megabytes of a message, either way."""

    host: str = "127.0.0.1"

    @property
    def host_of_grpc(self) -> str:
        """Where gRPC is spoken."""
        return self.grpc_host or self.host

    @model_validator(mode="after")
    def _is_grpc_asked_for(self) -> Self:
        for name in ("grpc_host", "grpc_message_mb"):
            if name in self.model_fields_set and self.grpc_port is None:
                raise ValueError(f"{name}: needs grpc_port, such as 8081")
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
