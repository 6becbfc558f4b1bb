"""Settings of the port that speaks gRPC, and who reaches it and that of HTTP: a part of :mod:`server.settings`."""

from __future__ import annotations

import ipaddress
from typing import Self

from pydantic import Field, SecretStr, model_validator
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
    api_key: SecretStr | None = None

    @property
    def host_of_grpc(self) -> str:
        """Where gRPC is spoken."""
        return self.grpc_host or self.host

    @property
    def unsafe(self) -> str | None:
        """Why a server must not be started so: others reach it, and no key keeps them out; ``None`` when it may."""
        if self.api_key is not None:
            return None
        grpc = self.host_of_grpc if self.grpc_port is not None else self.host
        for name, host in (("host", self.host), ("grpc_host", grpc)):
            if not is_loopback(host):
                how = "set an API key (--api-key or VISAVIS_API_KEY), or listen on 127.0.0.1"
                return f"{name} {host} can be reached by others: {how}"
        return None

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

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
