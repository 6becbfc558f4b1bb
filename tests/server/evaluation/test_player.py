"""Scenarios that are played: to engines that do as told, and to a server of one's own with the embedded ones."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sys
from argparse import Namespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from media.clock import MonotonicClock
from pipelines.runtime.child_process import ChildProcess
from server.cli.evaluation import run_evaluation
from server.evaluation import own_server
from server.evaluation.needs import Abilities
from server.evaluation.playing.player import Player
from server.evaluation.playing.rtvi import RtviTranslator
from server.evaluation.playing.tools import ToolAnswers
from server.evaluation.results import result_of
from server.evaluation.scenario import SHIPPED, Scenario, Tool
from server.headless.call import Address
from server.http.signaling.offer import REGISTRY
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice
from tests.patience import PATIENCE


@pytest.mark.long
async def test_a_turn_is_said_understood_and_answered(serve):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("hello there"), llm=FakeModel("Hello to you.")))
    expected = [{"heard": {"wer_max": 0}}, {"reply": {"contains": ["hello"]}}, {"not": "early_reply"}]
    turns = [{"say": "Hello there", "expect": expected}]
    scenario = Scenario.model_validate({"version": 1, "name": "one", "turns": turns})
    observed = await Player(scenario, Address(url), MonotonicClock()).play()
    result = result_of(scenario, observed, 1)
    assert result.passed, result
    assert result.understood == ("hello there",) and result.latencies_ms[0] > 0


def a_scenario(*turns, **more):
    return Scenario.model_validate({"version": 1, "name": "one", "turns": list(turns), **more})


async def played(scenario, url):
    observed = await Player(scenario, Address(url), MonotonicClock()).play()
    return observed, result_of(scenario, observed, 1)


class SlowModel(FakeModel):
    """Thinks for a second before its first word."""

    async def stream(self, request):
        await asyncio.sleep(1.0)
        async for word in super().stream(request):
            yield word


async def test_a_slowed_server_fails_as_late(serve):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("hello"), llm=SlowModel("Yes.")))
    scenario = a_scenario({"say": "Hello", "expect": [{"reply": {"starts_within_ms": 900}}, {"not": "early_reply"}]})
    _, result = await played(scenario, url)
    assert [one.kind for one in result.verdicts] == ["late", ""]
    assert result.latencies_ms[0] > 1000


async def test_a_hasty_server_fails_as_too_early(serve):
    """Its end of a turn is 100 ms of silence: a pause of half a second is taken for it."""
    url, _ = await serve(fake_engines(stt=FakeRecognizer("one", "two"), llm=FakeModel("Yes.", "No.")))
    hasty = {"turn_detection": {"type": "server_vad", "silence_duration_ms": 100}}
    turns = {"inside": "One ... two", "pause_ms": 500, "expect": [{"not": "early_reply"}, {"reply": {}}]}
    _, result = await played(a_scenario(turns, session=hasty), url)
    assert result.verdicts[0].kind in ("early", "cut_off")
    assert result.verdicts[1].passed
    assert result.cutoffs == 1


async def test_a_server_is_judged_over_a_websocket_too(serve):
    """The client is the player there: what it drops when the user speaks has not been heard."""
    long = " ".join(["word"] * 30)
    url, _ = await serve(fake_engines(stt=FakeRecognizer("stop it now"), llm=FakeModel(long, "Good.")))
    expected = [{"stopped": {"within_ms": 5000}}, {"history": {"last_assistant": "heard_prefix"}}, {"reply": {}}]
    scenario = a_scenario(
        {"type": "count", "expect": [{"event": {"type": "output_audio_buffer.started"}}]},
        {"say": "Stop it now", "when": {"reply_started_ms": 600}, "expect": expected},
    )
    observed, result = await played(scenario, url.replace("http", "ws"))
    assert result.passed, result
    told, whole = observed.remembered(1)
    assert 0 < len(told.split()) < len(whole.split()) == 30


@pytest.mark.long
async def test_a_server_that_speaks_rtvi_is_judged_by_the_same_words(serve):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("hello there"), llm=FakeModel("Hello to you.")))
    expected = [{"heard": {"wer_max": 0}}, {"reply": {"contains": ["hello"]}}, {"not": "early_reply"}]
    _, result = await played(a_scenario({"say": "Hello there", "expect": expected}), f"{url}/api/offer")
    assert result.passed, result


@pytest.mark.long
async def test_the_next_turn_waits_until_the_answer_has_been_heard(serve):
    """Its words may be written long before the first of them sounds."""
    engines = fake_engines(stt=FakeRecognizer("one", "two"), llm=FakeModel("Yes.", "No."), tts=SlowVoice())
    url, _ = await serve(engines)
    turns = [{"say": word, "expect": [{"reply": {}}, {"not": "early_reply"}]} for word in ("One", "Two")]
    _, result = await played(a_scenario(*turns), url)
    assert result.passed, result
    assert len(result.latencies_ms) == 2


class SlowVoice(FakeVoice):
    """Needs a second for its first sound."""

    async def synthesize(self, text, voice=None, speed=1.0):
        await asyncio.sleep(1.2)
        async for piece in super().synthesize(text, voice, speed):
            yield piece


async def test_a_setting_that_is_refused_is_told_and_nothing_is_said(serve):
    url, _ = await serve(fake_engines())
    observed, result = await played(a_scenario({"say": "Hi"}, session={"turn_detection": "telepathy"}), url)
    assert result.verdicts[0].kind == "refused"
    assert "turn_detection" in result.verdicts[0].message
    assert observed.spoken == []


async def heard_by(answer, *turns):
    """What is judged of typed turns to a WebSocket that is answered by ``answer``, given each ``response.create``."""

    async def realtime(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if json.loads(message.data)["type"] == "response.create":
                await answer(socket, request)
        return socket

    app = web.Application()
    app.router.add_get("/v1/realtime", realtime)
    async with TestServer(app) as server:
        url = str(server.make_url("")).replace("http", "ws")
        async with asyncio.timeout(PATIENCE):
            return await played(a_scenario(*turns), url)


async def test_other_servers_tell_less_of_what_was_cut_off():
    async def answer(socket, request):
        for event in (
            {"type": "conversation.item.truncated", "item_id": "i", "content_index": 0, "audio_end_ms": 1500},
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.output_text.delta", "response_id": "r", "delta": "Hi."},
            {"type": "response.done", "response": {"id": "r", "status": "completed", "output": [{"type": "message"}]}},
        ):
            await socket.send_json(event)

    expected = [{"event": {"type": "response.done"}}]
    _, result = await heard_by(answer, {"type": "Hello", "expect": expected})
    assert result.passed, result


async def _dies(socket, request):
    request.transport.abort()


async def _closes(socket, request):
    await socket.close(code=1011)


async def _raves(socket, request):
    await socket.send_str("this is no JSON")


@pytest.mark.parametrize(("answer", "why"), [(_dies, "connection"), (_closes, "1011"), (_raves, "JSONDecodeError")])
async def test_a_server_that_is_lost_is_told_as_lost(answer, why):
    turn = {"type": "Hello", "expect": [{"reply": {}}]}
    observed, result = await heard_by(answer, turn, turn)
    assert [(one.turn, one.kind) for one in result.verdicts] == [(0, "lost")]
    assert why in result.verdicts[0].message
    assert not result.passed
    assert observed.spoken == []


async def test_a_call_that_is_lost_is_told_as_lost(serve):
    class Ends(FakeModel):
        async def stream(self, request):
            (peer,) = app[REGISTRY].all
            peer.close("a test")
            async for word in super().stream(request):
                yield word

    url, app = await serve(fake_engines(llm=Ends("Hello.")))
    turn = {"type": "Hello", "expect": [{"reply": {}}]}
    async with asyncio.timeout(PATIENCE):
        _, result = await played(a_scenario(turn, turn), url)
    assert [one.kind for one in result.verdicts] == ["lost"]


def test_functions_are_answered_and_the_response_to_them_is_asked_for():
    sent = []
    answers = ToolAnswers([Tool(name="weather", description="d", result={"sky": "blue"})], sent.append)
    answers.take({"type": "response.function_call_arguments.done", "name": "weather", "call_id": "c"})
    assert not answers.idle
    assert sent[0]["item"] == {"type": "function_call_output", "call_id": "c", "output": '{"sky": "blue"}'}
    answers.take({"type": "response.done"})
    assert sent[1] == {"type": "response.create"}
    answers.take({"type": "response.created"})
    assert answers.idle


def test_rtvi_is_told_in_the_words_of_realtime():
    told, sent = [], []
    rtvi = RtviTranslator(sent.append, lambda text: told.append(json.loads(text)))
    rtvi.begin()
    rtvi.send({"type": "conversation.item.create", "item": {"role": "user", "content": [{"text": "hi"}]}})
    rtvi.send({"type": "response.create"})
    assert [one["type"] for one in sent] == ["client-ready", "send-text"]
    rtvi.send({"type": "session.update"})
    assert told.pop()["type"] == "error"
    said = [
        ("user-started-speaking", {}), ("user-stopped-speaking", {}),
        ("user-transcription", {"text": "hello", "final": True}), ("bot-llm-started", {}),
        ("bot-llm-text", {"text": "hi"}), ("bot-started-speaking", {}), ("bot-llm-stopped", {}),
        ("user-started-speaking", {}), ("bot-stopped-speaking", {}),
    ]  # fmt: skip
    for kind, data in said:
        rtvi.take(json.dumps({"label": "rtvi-ai", "type": kind, "data": data}))
    rtvi.take("ping")
    assert [one["type"].rpartition(".")[2] for one in told] == [
        "speech_started", "speech_stopped", "committed", "completed", "created", "delta", "started", "done",
        "speech_started", "cleared",
    ]  # fmt: skip


def test_what_a_server_lacks_is_a_reason_to_skip():
    abilities = Abilities("x", {"vision": "it has no eyes"}, {})
    assert abilities.lacking(a_scenario({"video": "grey"})) == "vision: it has no eyes"
    assert abilities.lacking(a_scenario({"say": "x"}, needs=["voice"])) == ""


async def test_a_server_of_ones_own_is_asked_to_end_and_killed_only_where_it_does_not(monkeypatch):
    """One that obeys, and one that does not."""
    ends = "import signal, sys; signal.signal(signal.SIGTERM, lambda *about: sys.exit())"
    stays = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    for obeys, first in ((True, ends), (False, stays)):
        monkeypatch.setattr(own_server, "STOP_SECONDS", PATIENCE if obeys else 0.01)
        script = f"{first}\nprint('up', flush=True)\nwhile True: signal.pause()"
        process = await ChildProcess.start([sys.executable, "-c", script])
        assert await process.stdout.readline() == b"up\n"
        await own_server._ended(process)
        assert process.returncode == (0 if obeys else -signal.SIGKILL)


@pytest.mark.long
async def test_a_shipped_scenario_passes_on_a_server_of_its_own(tmp_path):
    said, lines = io.StringIO(), tmp_path / "results.jsonl"
    options = Namespace(
        action="run", file=[SHIPPED / "typed-sum.yaml"], url=None, api_key=None, config=None, repeat=1, json=lines,
        html=None,
        baseline=None, assets=None,
        junit=tmp_path / "results.xml",
    )  # fmt: skip
    assert await run_evaluation(options, Console(file=said)) == 0, said.getvalue()
    assert "1 of 1 passed" in said.getvalue()
    assert '"passed": true' in lines.read_text()
