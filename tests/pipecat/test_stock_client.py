"""``@pipecat-ai/client-js`` with its SmallWebRTC transport, unchanged, in Chromium, from another origin."""

from __future__ import annotations

from typing import Any

import pytest

from server.http.signaling.offer import REGISTRY
from tests.browser.speech import say, traffic
from tests.browser.waiting import in_browsers
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import loud
from tests.pipecat.knowing import Calling, Knowing

pytestmark = in_browsers

TURN = loud(1.0).astype("<i2").tobytes()
KEY = "a-key-of-mine"


def lose_sockets(peer: Any) -> None:
    for transceiver in peer._pc.getTransceivers():
        for protocol in transceiver.sender.transport.transport.iceGatherer._connection._protocols:
            protocol.transport.abort()


async def test_a_conversation(serve_pages, stock):
    model = Knowing(what_is_the_time="It is noon.", and_again="Once more: noon.")
    engines = fake_engines(stt=FakeRecognizer(*["what is the time"] * 9), llm=model)
    url, _ = await serve_pages(engines, api_key=KEY)
    client = await stock()
    ready = await client.run("stock.start(url, {}, key)", url=url, key=KEY)
    assert ready["about"]["library"] == "visavis"
    states = await client.run("stock.states")
    assert states[-3:] == ["connecting", "connected", "ready"]
    await say(client.page, TURN)
    await client.until("stock.named('botStoppedSpeaking').length")
    user = await client.run("stock.named('userTranscript')")
    assert [data["text"] for data in user if data["final"]] == ["what is the time"]
    assert any(not data["final"] for data in user)
    output = await client.run("stock.named('botOutput')")
    assert output[0]["spoken_status"] == "new" and output[-1]["spoken_status"] == "completed"
    assert output[-1]["text"] == "It is noon."
    assert (await client.run("stock.named('metrics')"))[0]["ttfb"]
    kinds = list(dict.fromkeys(await client.run("stock.events.map(([kind]) => kind)")))
    order = [
        "userStartedSpeaking",
        "userStoppedSpeaking",
        "userLlmText",
        "botLlmStarted",
        "botLlmText",
        "botLlmStopped",
    ]
    assert [kind for kind in kinds if kind in order] == order
    await client.run("stock.client.sendText('and again')")
    await client.until("stock.named('botStoppedSpeaking').length > 1")
    assert (await client.run("stock.named('botOutput')"))[-1]["text"] == "Once more: noon."
    await traffic(client.page, "audio sent", "audio received", "energy heard")
    assert await client.run("stock.named('error').length + stock.named('messageError').length") == 0


async def test_requests_are_answered(serve_pages, stock):
    url, _ = await serve_pages(fake_engines(llm=FakeModel("Aye.")))
    client = await stock()
    await client.run("stock.start(url, { session: { instructions: 'Be a sailor.' } })", url=url)
    answer = await client.run("stock.client.sendClientRequest('session.get', {})")
    assert answer["session"]["instructions"] == "Be a sailor."
    wish = {"session": {"instructions": "Sing.", "audio": {"output": {"voice": "other"}}}}
    answer = await client.run("stock.client.sendClientRequest('session.update', wish)", wish=wish)
    assert answer["session"]["audio"]["output"]["voice"] == "other"
    refused = await client.run("stock.client.sendClientRequest('fly', {}).catch((answer) => answer.data)")
    assert "session.get" in refused["error"]
    assert [data["data"]["error"] for data in await client.run("stock.named('messageError')")] == [refused["error"]]
    await client.run("stock.client.appendToContext({ role: 'user', content: 'Ahoy', run_immediately: true })")
    await client.until("stock.named('botStoppedSpeaking').length")


async def test_a_function_runs_in_the_page(serve_pages, stock):
    url, _ = await serve_pages(fake_engines(llm=Calling()))
    client = await stock()
    handler = "async ({ arguments: { city } }) => ({ city, sky: 'clear' })"
    await client.run(f"stock.client.registerFunctionCallHandler('weather', {handler})")
    tool = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
    await client.run("stock.start(url, { session: { tools: [tool] } })", url=url, tool=tool)
    await client.run("stock.client.sendText('What is the weather?')")
    await client.until("stock.named('botStoppedSpeaking').length")
    assert (await client.run("stock.named('botOutput')"))[-1]["text"] == "I hear: clear."
    (asked,) = await client.run("stock.named('llmFunctionCallInProgress')")
    (stopped,) = await client.run("stock.named('llmFunctionCallStopped')")
    assert asked["arguments"] == {"city": "Paris"}
    assert asked["tool_call_id"] == stopped["tool_call_id"] and not stopped["cancelled"]


async def test_a_barge_in(serve_pages, stock):
    many = " ".join(["one two three four five six seven eight nine ten eleven twelve"] * 6) + "."
    model = Knowing(count=many, stop_it_now="Yes?")
    url, _ = await serve_pages(fake_engines(stt=FakeRecognizer(*["stop it now"] * 9), llm=model))
    client = await stock()
    await client.run("stock.start(url)", url=url)
    await client.run("stock.client.sendText('count')")
    await client.until("stock.named('botTtsText').length > 1")
    await say(client.page, TURN)
    await client.until("stock.named('botStoppedSpeaking').length > 1")
    kinds = await client.run("stock.events.map(([kind]) => kind)")
    assert kinds.index("userStartedSpeaking") < kinds.index("botStoppedSpeaking")
    assert (await client.run("stock.named('botOutput')"))[-1]["text"] == "Yes?"


async def test_the_bot_may_be_sent_away(serve_pages, stock):
    url, _ = await serve_pages()
    client = await stock()
    await client.run("stock.start(url)", url=url)
    await client.run("stock.client.disconnectBot()")
    await client.until("stock.named('botDisconnected').length")
    assert await client.run("stock.named('error').length") == 0
    await client.run("stock.client.disconnect()")
    assert await client.run("stock.states.at(-1)") == "disconnected"


@pytest.mark.parametrize("key", [None, "wrong-key-wrong"])
async def test_a_client_without_the_key_is_told(serve_pages, stock, key):
    url, _ = await serve_pages(api_key=KEY)
    client = await stock(allow=(r"401", r"Error fetching|error", r"rejected"))
    status = await client.run("stock.start(url, {}, key).catch((error) => error.status)", url=url, key=key)
    assert status == 401


async def test_a_new_connection_keeps_the_session(serve_pages, stock):
    """The server's sockets are gone without a word, and the client does what it does when ICE has failed."""
    model = FakeModel("Nice to meet you.", "Anna.")
    url, app = await serve_pages(fake_engines(llm=model))
    client = await stock(allow=(r"404",))  # a candidate of the connection before may come when that has been replaced
    await client.run("stock.start(url, { session: { instructions: 'Remember.' } })", url=url)
    await client.run("stock.client.sendText('I am Anna.')")
    await client.until("stock.named('botStoppedSpeaking').length")
    before = await client.run("stock.transport.pc_id")
    lose_sockets(app[REGISTRY].find(before))
    await client.run("stock.transport.attemptReconnection(true)")
    await client.until("stock.transport.dc.readyState === 'open'")
    after = await client.run("stock.transport.pc_id")
    assert after != before and app[REGISTRY].find(after) is not None
    assert await client.run("stock.states.at(-1)") == "ready"
    await client.run("stock.client.sendText('Who am I?')")
    await client.until("stock.named('botStoppedSpeaking').length > 1")
    assert (await client.run("stock.named('botOutput')"))[-1]["text"] == "Anna."
    said = [message.content for message in model.requests[1].messages]
    assert said == ["Remember.", "I am Anna.", "Nice to meet you.", "Who am I?"]
    assert await client.run("stock.named('error').length + stock.named('botDisconnected').length") == 0
