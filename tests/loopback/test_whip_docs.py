"""The exchange of ``docs/how-to/clients/whip.md``, typed as it stands there."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from server.http.signaling.offer import REGISTRY
from tests.fakes.whip import Publisher
from tests.loopback.test_whip import asks_no_ice_server
from tests.patience import PATIENCE

__all__ = ["asks_no_ice_server"]

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "clients" / "whip.md"
ADDRESS = "http://127.0.0.1:8080"
SESSION = "sess_4f1c0a7be2d39586"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
async def test_the_exchange_by_hand(serve, tmp_path, asks_no_ice_server):
    url, app = await serve(ice_servers=[{"urls": "turn:turn.example.org:3478", "username": "u", "credential": "c"}])
    blocks = [block.split("\n", 1) for block in GUIDE.read_text("utf-8").split("```")[1::2]]
    commands = [block for language, block in blocks if language == "sh" and block.startswith("curl")]
    head, fragment = (block for language, block in blocks if not language)

    peer = Publisher(url)
    for kind in peer.order:
        peer._add(kind)
    await peer.pc.setLocalDescription(await peer.pc.createOffer())
    sdp = peer.rewrite(peer.pc.localDescription.sdp)
    await peer.close()
    (tmp_path / "offer.sdp").write_text(sdp, "utf-8", newline="")
    ufrag = re.search(r"a=ice-ufrag:(\S+)", sdp)
    assert ufrag is not None
    (tmp_path / "candidates.sdpfrag").write_text(fragment.replace("EsAw", ufrag[1]), "utf-8")

    async def typed(command: str, session: str = "") -> list[str]:
        command = command.replace(ADDRESS, url).replace(SESSION, session)
        run = ["bash", "-e", "-c", command]
        done = await asyncio.to_thread(
            subprocess.run, run, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    created = await typed(commands[0])
    assert created[0] == "HTTP/1.1 201 Created"
    (session,) = app[REGISTRY].all
    for line in head.splitlines():
        name = line.partition(":")[0].lower()
        got = next(one for one in created if one.lower().startswith(name))
        assert got[len(name) :].startswith(line[len(name) :].replace(SESSION, session.id)), got
    answers = [line for line in await typed(commands[1], session.id) if line.startswith("HTTP/")]
    assert answers == ["HTTP/1.1 204 No Content", "HTTP/1.1 200 OK"]
    assert session.ended_because == "it was ended over HTTP"
