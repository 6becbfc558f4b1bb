"""``@openai/agents-realtime`` over WebSocket: in Node.js, and in a page, whose only headers are subprotocols."""

from __future__ import annotations

import asyncio
import json
import subprocess

from tests import packages
from tests.browser.waiting import in_browsers
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.interop.stock_page import HERE

pytestmark = in_browsers

COUNTING = " ".join(["one two three four five six seven eight nine ten"] * 4) + "."


async def test_speaking_and_interrupting_from_node(serve_page, node_modules):
    model = FakeModel("It is sunny today.", COUNTING)
    url, _ = await serve_page(fake_engines(stt=FakeRecognizer("what is the weather"), llm=model))
    address = url.replace("http", "ws", 1) + "/v1/realtime?model=any"
    command = [packages.node(), str(HERE / "node" / "agents_websocket.mjs"), str(node_modules), address]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=90.0)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["errors"] == []
    assert told["spoken"]["transcript"] == "It is sunny today."
    assert abs(told["spoken"]["seconds"] - 4 * 0.25) < 0.1  # what the fake voice takes for four words
    assert told["history"][:2] == [
        ["user", "input_audio", "what is the weather", "completed"],
        ["assistant", "output_audio", "It is sunny today.", "completed"],
    ]
    cut = told["truncated"]
    assert 0 < cut["audio_end_ms"] < len(COUNTING.split()) * 250
    assert cut["transcript"] and COUNTING.startswith(cut["transcript"])
    assert told["item"]["content"] == [{"type": "output_audio", "transcript": cut["transcript"]}]
    assert told["history"][3] == ["assistant", "output_audio", cut["transcript"], "incomplete"]


async def test_a_page_that_has_subprotocols_for_headers(stock):
    client = await stock(fake_engines(llm=FakeModel("Good day to you.")), api_key="a-long-secret")
    await client.connect(websocket=True, key="a-long-secret")
    await client.run("client.session.sendMessage('Hello?')")
    await client.event("response.done")
    await client.holds("client.history[1]", ["assistant", "output_audio", "Good day to you.", "completed"])
    assert await client.run("client.named('response.output_audio.delta').length > 0")
