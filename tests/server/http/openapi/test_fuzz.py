"""More than a thousand requests made from ``/openapi.json`` by schemathesis, right and wrong ones, for every operation.

Each is answered as the document says: a status, a content type and a schema that it has; nothing of ours fails, and
nothing is left behind. The seed is fixed, so every run sends the same requests.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from aiortc import RTCPeerConnection
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from server.http.openapi.document import document
from server.http.openapi.rows import Operation
from server.http.openapi.table import OPERATIONS
from server.http.signaling.offer import REGISTRY
from tests.conftest import fake_engines, serving
from tests.fakes.engines import FakeRecognizer
from tests.patience import PATIENCE, until
from tests.server.http.rest.clients import bursts, sound_file
from tests.server.transports.test_offer_mutations import OFFERS as WHOLE
from tests.server.transports.test_offer_mutations import damaged

schemathesis = pytest.importorskip("schemathesis", reason="the test extra is not installed")
jsonschema_rs = pytest.importorskip("jsonschema_rs", reason="comes with schemathesis")
requests = pytest.importorskip("requests", reason="comes with schemathesis")


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def written(context: Any, value: Any) -> bytes:
    """Of a body that is no JSON and no form."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


DOCUMENT = document(keyed=False)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
CASES = {"body": 40, "task": 12, "parameters": 20, "nothing": 3}
"""Requests for an operation that has a body, one of the many that do a task, one with parameters alone, and one with
neither."""
LEAST = 900
"""Requests in all."""
SOUND = sound_file(bursts(0.4))
WORKS = {"model": ("gpt-4o-mini", "whisper-1", "tts-1"), "voice": ("alloy", "square"), "language": ("en",)}
"""Field → values that are served, for requests that get further than to the first field that means nothing here."""
UNAVAILABLE = {501, 502, 503}
"""Statuses of failures that are none: what is not here, or not now."""


class Ears(FakeRecognizer):
    """Hear the same words in every recording."""

    async def open(self):
        self.texts = ["Hello there."]
        return await super().open()


class Server:
    """The real application in a thread of its own, as schemathesis waits for its answers."""

    def __init__(self, cache: Any) -> None:
        self.url = ""
        self.left: dict[str, int] = {}
        """Tasks that the requests have left behind: name → how many."""
        self.sessions = self.peers = 0
        self._cache = cache
        self._app: Any = None
        self._begun, self._loop, self._stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="server")

    def __enter__(self) -> Server:
        self._thread.start()
        assert self._begun.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._loop.close()

    def hang_up(self) -> int:
        """End all sessions, and wait for that; how many there were."""
        return asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result(PATIENCE)

    async def _hang_up(self) -> int:
        registry = self._app[REGISTRY]
        sessions = [*registry._sessions]
        for session in sessions:
            registry.close(session, "the test has seen enough of it")
        await until(lambda: not len(registry))
        return len(sessions)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        more = {"cache": self._cache, "download": False, "ice_address": ("127.0.0.1",), "connect_timeout": 600.0}
        async with serving(**more) as start:
            self.url, self._app = await start(fake_engines(stt=Ears()))
            before = _names()
            self._begun.set()
            await self._stop.wait()
            self.sessions = len(self._app[REGISTRY])
            peers = [one for one in gc.get_objects() if type(one) is RTCPeerConnection]
            self.peers = sum(peer.connectionState != "closed" for peer in peers)
            try:
                await until(lambda: not _names() - before)
            except TimeoutError:
                self.left = dict(_names() - before)


def _names() -> Counter[str]:
    return Counter(task.get_name().rstrip("0123456789") for task in asyncio.all_tasks())


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("cache")) as running:
        yield running
    assert (running.sessions, running.peers) == (0, 0), "sessions or peers are left"
    assert not running.left, "tasks are left"


@pytest.fixture(scope="module")
def sent() -> Counter[int]:
    """Status → how many requests were answered with it."""
    return Counter()


@pytest.fixture(scope="module")
def done() -> set[str]:
    """Operations that have been asked."""
    return set()


OPERATION_NAMES = [f"{row.method} {row.path}" for row in OPERATIONS]


def cases(operation: Any) -> st.SearchStrategy[Any]:
    """Right and wrong requests, some of the right ones with values that mean something here."""
    right = operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
    found = [right]
    if operation.body:
        found = [right, *[st.builds(meaningful, right, st.randoms(use_true_random=False))] * 2]
    if operation.body or operation.query or operation.path_parameters:
        found.append(operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    return st.one_of(found)


def meaningful(case: Any, dice: Any) -> Any:
    if isinstance(case.body, dict):
        for name, values in WORKS.items():
            if name in case.body or name == "model":
                case.body[name] = dice.choice(values)
        if "file" in case.body:
            case.body["file"] = SOUND
            if dice.random() < 0.5:
                case.body = {
                    "file": SOUND,
                    "model": "whisper-1",
                    "response_format": dice.choice(("json", "srt", "vtt")),
                }
        if "messages" in case.body and dice.random() < 0.5:
            case.body = {
                "model": "gpt-4o",
                "messages": [{"role": "user", "content": "Hello?"}],
                "stream": dice.random() < 0.5,
            }
        if "input" in case.body and "response_format" in case.body:
            case.body["input"] = "Hello there."
    return case


def checked(operation: Any, response: Any) -> None:
    """Compare a response with the document."""
    told = DOCUMENT["paths"][operation.path][operation.method.lower()]["responses"]
    status = response.status_code
    assert status < 500 or status in UNAVAILABLE, response.content[:500]
    assert b"Traceback" not in response.content
    answer = told.get(str(status)) or pytest.fail(f"{status} is not documented: {response.content[:300]}")
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    if status in (429, 503) and operation.path != "/readyz":
        assert "retry-after" in response.headers
    kind = "".join(response.headers.get("content-type", ())).partition(";")[0]
    content = answer.get("content")
    if content is None or not response.content:
        assert not response.content or kind == "application/octet-stream", f"{status} has no content in the document"
        return
    assert kind in content, f"{status} has content of type {kind!r}, documented are {[*content]}"
    if kind == "application/json":
        conform(content[kind]["schema"], response.json())
    elif kind == "text/event-stream":
        events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
        for event in events:
            if event != "[DONE]":
                conform(content[kind]["x-events"], json.loads(event))


_VALIDATORS: dict[str, Any] = {}


def conform(schema: dict[str, Any], value: Any) -> None:
    key = json.dumps(schema)
    if key not in _VALIDATORS:
        whole = {"components": DOCUMENT["components"], "allOf": [schema]}
        _VALIDATORS[key] = jsonschema_rs.Draft202012Validator(whole)
    errors = [f"{[*error.instance_path]}: {error.message}" for error in _VALIDATORS[key].iter_errors(value)]
    assert not errors, errors[:3]


@pytest.mark.parametrize("name", OPERATION_NAMES)
def test_an_operation_answers_as_the_document_says(
    server: Server, sent: Counter[int], done: set[str], name: str
) -> None:
    done.add(name)
    method, _, path = name.partition(" ")
    operation = SCHEMA[path][method]
    size = "body" if operation.body else "parameters" if operation.path_parameters or operation.query else "nothing"
    size = "task" if size == "body" and "tasks" in DOCUMENT["paths"][path][method.lower()]["tags"] else size
    with requests.Session() as session:

        @seed(20)
        @settings(
            max_examples=CASES[size],
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(cases(operation))
        def run(case: Any) -> None:
            response = case.call(base_url=server.url, session=session, timeout=PATIENCE)
            sent[response.status_code] += 1
            checked(operation, response)

        run()


def offers(operation: Any, sdp: str) -> Iterator[dict[str, Any]]:
    """The bodies in which the operation takes an SDP offer; none where it takes none."""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content["schema"]
        if "$ref" in schema:
            schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if kind == "application/sdp":
            yield {"data": sdp.encode(errors="replace"), "headers": {"Content-Type": kind}}
        elif "transport" in schema.get("properties", ()):
            yield {"json": {"session": {"model": "gpt-live-1"}, "transport": {"type": "webrtc", "sdp": sdp}}}
        elif "sdp" in schema.get("properties", ()):
            yield (
                {"json": {"type": "offer", "sdp": sdp}}
                if kind == "application/json"
                else {"files": {"sdp": (None, sdp)}}
            )


SDP_ROUTES = [row for row in OPERATIONS if [*offers(DOCUMENT["paths"][row.path][row.method.lower()], "")]]
OFFERS = 40
"""Damaged offers for each of them; about half can be answered all the same."""


@pytest.mark.parametrize("row", SDP_ROUTES, ids=lambda row: row.path)
def test_damaged_offers_are_answered_or_refused(server: Server, sent: Counter[int], row: Operation) -> None:
    chance = random.Random(7)
    described = DOCUMENT["paths"][row.path][row.method.lower()]
    whole, *broken = [WHOLE[0], *(damaged(chance) for _ in range(OFFERS))]
    with requests.Session() as session:

        def ask(sdp: str) -> bool:
            for body in offers(described, sdp):
                response = session.request(row.method, server.url + row.path, timeout=PATIENCE, **body)
                sent[response.status_code] += 1
                checked(row, response)
            return bool(response.ok)

        begins = ask(whole)
        server.hang_up()
        begun = 0
        for number, sdp in enumerate(broken, 1):
            ask(sdp)
            if number % 20 == 0:
                begun += server.hang_up()
    assert begun > OFFERS // 10 or not begins, "the damage is deadly"


def test_that_was_enough(sent: Counter[int], done: set[str]) -> None:
    """Of all kinds of answers, too: a document that is never met would prove nothing."""
    if done != set(OPERATION_NAMES):
        pytest.skip("only some of the operations were asked in this run")
    assert sum(sent.values()) >= LEAST, sent
    assert sent.keys() >= {200, 201, 400, 404, 501}
    assert sent[200] >= LEAST // 10, sent
