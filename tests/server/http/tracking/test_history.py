"""``GET /v1/history``: curves of a real conversation, refusals that say what is legal, and all workers as one."""

from __future__ import annotations

import json

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import make_mocked_request

from media.opus import RATE
from server.http.app import HISTORY as OF_APP
from server.http.errors import HttpError
from server.http.openapi.tracking import HistoryAnswer, HistoryList
from server.http.tracking.history import MOST_POINTS, asked
from server.observability.history.book import Question
from server.observability.history.history import History
from server.observability.history.series import SERIES
from server.workers.of_all.tracking import ALL, FRONT, TrackedWorkers, merged
from tests.conftest import fake_engines
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import Peer, loud

TURN = np.concatenate([loud(0.8), np.zeros(RATE, np.int16)])


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_conversation_leaves_curves_of_the_server_and_of_its_session(serve, http):
    url, app = await serve(fake_engines(stt=FakeRecognizer("hello there"), llm=FakeModel("Hello to you too.")))
    async with Peer(url) as peer:
        peer.say(TURN, RATE)
        await peer.event("turn.latency")
        await peer.event("output_audio_buffer.stopped")
        await app[OF_APP].sample()
        session = peer.answer["session_id"]
        response = await http.get(f"{url}/v1/history", params={"series": "all", "from": "-60", "step": "1"})
    assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")
    told = HistoryAnswer.model_validate(await response.json())
    found = {
        (row.name, *row.labels.values()): [value for value in row.values if value is not None] for row in told.series
    }
    assert all(len(row.values) == len(row.peaks) == 60 for row in told.series)
    assert max(found["process_resident_memory_bytes",]) > 1 << 20
    assert max(found["visavis_sessions",]) == 1
    assert max(found["visavis_session_latency_ms", session]) > 0
    assert found["visavis_session_latency_ms", session] == found["pipeline_total_latency_ms",]
    assert {"endpoint", "first_audio"} <= {name[1] for name in found if name[0] == "pipeline_stage_duration_ms"}
    assert max(found["visavis_turns_total", "completed"]) > 0
    own = await (await http.get(f"{url}/v1/history", params={"series": "all", "session": session})).json()
    assert {row["name"] for row in own["series"]} >= {"visavis_session_latency_ms", "visavis_session_errors_total"}
    assert all(row["labels"] == {"session": session} for row in own["series"])
    known = HistoryList.model_validate(await (await http.get(f"{url}/v1/history")).json())
    assert {row.name for row in known.data} <= SERIES.keys()
    assert known.gpu


async def test_it_needs_the_key_and_a_client_secret_is_not_enough(serve, http):
    key = {"Authorization": "Bearer a-key-for-this-test"}
    url, _ = await serve(api_key="a-key-for-this-test")
    assert (await http.get(f"{url}/v1/history")).status == 401
    assert (await http.get(f"{url}/v1/history", headers=key)).status == 200
    secret = (await (await http.post(f"{url}/v1/realtime/client_secrets", headers=key, json={})).json())["value"]
    response = await http.get(f"{url}/v1/history", headers={"Authorization": f"Bearer {secret}"})
    assert (response.status, (await response.json())["error"]["code"]) == (403, "client_secret_not_allowed")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"series": "cpu"}, "legal values are all, process_cpu_seconds_total"),
        ({"series": "all", "from": "1"}, "seconds before now"),
        ({"series": "all", "from": "soon"}, "numbers of seconds"),
        ({"series": "all", "from": "nan"}, "numbers of seconds"),
        ({"series": "all", "step": "0.1"}, "from 1 to 86400"),
        ({"series": "all", "from": "-10", "to": "999999900"}, "after `from`"),
    ],
)
def test_what_cannot_be_told_is_refused_with_what_can(query, words):
    with pytest.raises(HttpError, match=words.split("(")[0]):
        asked(query, 1e9)


def test_an_answer_has_so_many_points_at_most():
    question = asked({"series": "all", "from": "-86400"}, 1e9)
    assert question is not None
    assert (question.end - question.begin) / question.step <= MOST_POINTS
    assert asked({}, 1e9) is None


def row(name: str, *values: float | None, **labels: str) -> dict:
    return {"name": name, "labels": labels, "kind": "rate", "values": list(values), "peaks": list(values)}


def test_workers_are_told_one_by_one_and_in_sum():
    processes = {
        FRONT: [row("process_cpu_seconds_total", 0.1, 0.1)],
        "1": [row("process_cpu_seconds_total", 0.5, None), row("visavis_event_loop_delay_seconds", 0.02, 0.01)],
        "2": [row("process_cpu_seconds_total", 0.25, 0.75), row("visavis_session_errors_total", 1.0, session="2w")],
    }
    rows = merged(processes, Question((), 0.0, 2.0, 1.0))
    found = {(one["name"], one["labels"]["worker"]): one["values"] for one in rows}
    assert found["process_cpu_seconds_total", ALL] == [0.85, 0.85]
    assert found["process_cpu_seconds_total", "1"] == [0.5, None]
    assert ("visavis_event_loop_delay_seconds", ALL) not in found, "delays do not add up"
    assert ("visavis_session_errors_total", ALL) not in found
    assert json.dumps(rows)


async def test_what_is_the_machines_is_told_once_and_what_is_a_processs_own_by_each():
    """Of a GPU of Intel's a process knows its own part alone."""
    names = {"visavis_machine_cpu_share": {}, "visavis_gpu_busy_share": {"gpu": "0"}}
    own = {"name": "visavis_gpu_busy_share", "labels": {"gpu": "i915 0000:00:02.0"}}
    rows = [*({"name": name, "labels": labels} for name, labels in names.items()), own]

    async def fetch(path):
        return {1: json.dumps({"data": rows}).encode()}

    history = History(FakeClock())
    answer = await TrackedWorkers(history, fetch).get(make_mocked_request("GET", "/v1/history"))
    told = [row["labels"] for row in json.loads(answer.body)["data"] if row["labels"]["worker"] == "1"]
    assert told == [{"gpu": "i915 0000:00:02.0", "worker": "1"}]
    await history.close()
