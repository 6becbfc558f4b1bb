"""What tests of aiortc's insides begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiortc import RTCPeerConnection

from server.transports.webrtc import ice


@pytest.fixture
async def pc(loopback: None) -> AsyncIterator[RTCPeerConnection]:
    """A connection that is closed afterwards."""
    pc = RTCPeerConnection(ice.configuration(()))
    yield pc
    await pc.close()
