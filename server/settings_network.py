"""Settings of the ways that media takes: a part of :mod:`server.settings`."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import field_validator
from pydantic_settings import BaseSettings, NoDecode

from server.settings_grpc import is_loopback
from server.transports.webrtc.candidates import DEFAULT_RANGES, AddressRange
from server.transports.webrtc.ice_servers import IceServer
from server.transports.webrtc.ports import PortRange, parse_ports


class NetworkSettings(BaseSettings):
    """Which addresses and ports peers are offered, which of theirs are tried, and who relays."""

    ice_port_range: Annotated[PortRange | None, NoDecode] = None
    """UDP ports of this machine that media goes through, such as ``50000-50100``, for a firewall or a container that
    opens no others. Default: any. A call takes one port for each address that is offered."""
    ice_address: Annotated[tuple[str, ...], NoDecode] = ()
    """Local addresses offered to peers. Default: all interfaces', or on loopback 127.0.0.1 and one more."""
    external_address: str | None = None
    """The address peers reach this machine under when it is behind a 1:1 NAT (a cloud machine, a container)."""
    ice_peer_ranges: Annotated[tuple[AddressRange, ...] | None, NoDecode] = None
    """Ranges in which addresses that offers name are tried: ``public``, ``private``, ``link-local``, ``loopback``.
    Default: ``public,private``, and ``loopback`` when listening on it; empty tries none."""
    ice_servers: tuple[IceServer, ...] = ()
    """STUN and TURN servers; none are asked unless given."""

    host: str = "127.0.0.1"

    @field_validator("ice_address", "ice_peer_ranges", mode="before")
    @classmethod
    def _split_addresses(cls, value: object) -> object:
        """In the environment a list is written with commas."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("ice_address")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            ipaddress.ip_address(address)
        return value

    @field_validator("ice_port_range", mode="before")
    @classmethod
    def _are_ports(cls, value: object) -> object:
        return parse_ports(value) if isinstance(value, str) else value

    @field_validator("external_address")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            ipaddress.ip_address(value)
        return value

    @property
    def peer_ranges(self) -> tuple[AddressRange, ...]:
        """Ranges in which candidates of peers are tried."""
        if self.ice_peer_ranges is not None:
            return self.ice_peer_ranges
        return (*DEFAULT_RANGES, "loopback") if is_loopback(self.host) else DEFAULT_RANGES
