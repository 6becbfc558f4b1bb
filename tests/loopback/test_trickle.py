"""A real peer whose candidates come after its offer, and which has none of the server's: only they can connect."""

from __future__ import annotations

import re
from typing import Any

import pytest

from server.http.signaling.offer import REGISTRY
from server.transports.webrtc.trickle import Trickled, TrickleError
from tests.fakes.peer import Peer

CANDIDATES = re.compile(r"(?m)^a=(?:candidate:(.*)|end-of-candidates)\r\n")


class Trickler(Peer):
    """Gives its candidates to the session itself."""

    def __init__(self, url: str, app: Any, mid: str) -> None:
        super().__init__(url, rewrite=lambda sdp: CANDIDATES.sub("", sdp))
        self.app = app
        self.mid = mid

    async def _signal(self, offer: dict[str, Any]) -> dict[str, Any]:
        answer = await super()._signal(offer)
        assert not CANDIDATES.search(offer["sdp"])
        session = self.app[REGISTRY].find(answer["session_id"])
        with pytest.raises(TrickleError):
            await session.add_candidates([Trickled("1 1 udp 1 127.0.0.1 9 typ host", "nowhere")])
        found = [match[1] for match in CANDIDATES.finditer(self.pc.localDescription.sdp) if match[1]]
        await session.add_candidates([Trickled("1 1 udp 5 8f0e.local 9 typ host", self.mid)])
        await session.add_candidates(
            [*(Trickled(f"candidate:{one}", self.mid) for one in found), Trickled("", self.mid)]
        )
        return {**answer, "sdp": CANDIDATES.sub("", answer["sdp"])}


@pytest.mark.parametrize("mid", ["0", "1"])
async def test_trickled_candidates_connect(serve, mid):
    url, app = await serve()
    async with Trickler(url, app, mid) as peer:
        assert (await peer.event("session.created"))["session"]["id"] == peer.answer["session_id"]
        session = app[REGISTRY].find(peer.answer["session_id"])
        session.close("the test is over")
        await session.add_candidates([Trickled("1 1 udp 1 127.0.0.1 9 typ host", mid)])  # too late, and no matter
    assert app[REGISTRY].find("nobody") is None
