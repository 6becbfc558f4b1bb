"""Settings of a node among several: a part of :mod:`server.settings`."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from pipelines.text import base_url
from server.settings_grpc import is_loopback
from server.workers.ids import NODE

LEAST_SECRET = 16
"""Characters of a ``cluster_secret``."""
_SCHEMES = ("redis", "rediss", "unix")
_ALONE = ("node_name", "node_address", "cluster_secret", "whip_redirect")
"""What only means something to a node among several."""


class ClusterSettings(BaseSettings):
    """Whether this server is one node of several, and how the others reach it."""

    cluster_url: SecretStr | None = None
    """The Redis server where nodes find each other, such as ``redis://:PASSWORD@10.0.0.5:6379/0``; ``rediss`` for TLS,
    ``unix:///path`` for a socket. Default: none, the server is alone. Needs the extra ``cluster``."""
    cluster_secret: SecretStr | None = None
    """The same for all nodes: what they sign requests to each other with, and encrypt what they keep in Redis with."""
    node_name: Annotated[str | None, Field(max_length=32)] = None
    """This node's name in ids and lists: small letters, digits and ``-``. Default: the machine's, to its first dot."""
    node_address: str | None = None
    """Where the other nodes reach this one, such as ``http://10.0.0.7:8080``. Default: the address it listens on."""
    whip_redirect: bool = False
    """Whether a WHIP client is sent to the node with more room (307) instead of being passed on; then clients must
    reach every ``node_address``."""

    host: str = "127.0.0.1"

    @field_validator("cluster_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and urlsplit(value.get_secret_value()).scheme not in _SCHEMES:
            legal = ", ".join(f"{name}://…" for name in _SCHEMES)
            raise ValueError(f"must be the address of a Redis server; legal values are {legal}")
        return value

    @field_validator("cluster_secret")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < LEAST_SECRET:
            raise ValueError(f"must have at least {LEAST_SECRET} characters (try `openssl rand -hex 32`)")
        return value

    @field_validator("node_name")
    @classmethod
    def _is_name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(NODE, value):
            raise ValueError(
                f"{value[:40]!a} is none; legal values are up to 32 of a-z, 0-9 and -, the latter not at an end"
            )
        return value

    @field_validator("node_address")
    @classmethod
    def _is_address_of_node(cls, value: str | None) -> str | None:
        if value is None:
            return None
        address = base_url(value).rstrip("/")
        if urlsplit(address).path:
            raise ValueError("must be a scheme, a host and a port and no path, such as http://10.0.0.7:8080")
        return address

    @model_validator(mode="after")
    def _is_a_node(self) -> Self:
        if self.cluster_url is None:
            for name in _ALONE:
                if name in self.model_fields_set and getattr(self, name) not in (None, False):
                    raise ValueError(f"{name}: needs cluster_url, such as redis://10.0.0.5:6379/0")
            return self
        if self.cluster_secret is None:
            raise ValueError("cluster_secret: is missing beside cluster_url (try `openssl rand -hex 32`)")
        if self.node_address is None and not is_loopback(self.host) and _is_unspecified(self.host):
            raise ValueError(
                f"node_address: is missing beside cluster_url: {self.host} tells other nodes no address of this one"
            )
        return self

    @property
    def node(self) -> str | None:
        """The node's name; ``None`` for a server that is alone."""
        if self.cluster_url is None:
            return None
        return self.node_name or named_after(socket.gethostname())


def named_after(host: str) -> str:
    """A node's name, of its machine's. Pure."""
    name = re.sub("[^a-z0-9-]+", "-", host.lower().partition(".")[0])[:32].strip("-")
    return name or "node"


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
