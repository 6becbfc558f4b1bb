"""``GET /openapi.json``: it is valid, and tells of every route there is and of no other."""

from __future__ import annotations

import aiohttp
import pytest

from pipelines.errors import PipelineError
from server.http.auth import OPEN
from server.http.errors import error_body
from server.http.openapi.document import PATH, document
from server.http.openapi.shapes import Error
from server.http.openapi.table import OPERATIONS
from tests.conftest import fake_engines

KEY = "a-key-for-this-test"


def routes(app) -> set[tuple[str, str]]:
    """Method and path of every route; HEAD comes with GET."""
    return {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method not in ("HEAD", "OPTIONS")
    }


async def test_every_route_is_in_the_document_and_every_row_of_the_table_is_a_route(serve):
    _, app = await serve()
    told = {(row.method, row.path) for row in OPERATIONS}
    assert len(told) == len(OPERATIONS), "a route has two rows"
    assert routes(app) - told == set(), "add a row: server/http/openapi/table.py"
    assert told - routes(app) == set(), "no such route"


@pytest.mark.parametrize("keyed", [False, True])
def test_the_document_is_valid(keyed):
    validator = pytest.importorskip("openapi_spec_validator", reason="the test extra is not installed")
    validator.validate(document(keyed=keyed))


@pytest.mark.parametrize("keyed", [False, True])
async def test_the_document_is_served_and_tells_who_needs_the_key(serve, keyed):
    url, _ = await serve(api_key=KEY if keyed else None)
    headers = {"Authorization": f"Bearer {KEY}"} if keyed else {}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(url + PATH) as response:
        assert (response.status, response.content_type) == (200, "application/json")
        served = await response.json()
    assert served == document(keyed=keyed)
    assert served["openapi"].startswith("3.1")
    for path, methods in served["paths"].items():
        for operation in methods.values():
            assert bool(operation["security"]) == (keyed and path not in OPEN), path
            assert ("401" in operation["responses"]) == (path not in OPEN), path


async def test_the_document_itself_needs_the_key(serve):
    url, _ = await serve(api_key=KEY)
    async with aiohttp.ClientSession() as http, http.get(url + PATH) as response:
        assert response.status == 401
        Error.model_validate(await response.json())


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_every_error_has_the_documented_shape(status):
    Error.model_validate(error_body(status, "code", "message", "param"))
    Error.model_validate(error_body(status, "code", "message"))


def test_names_of_operations_are_unique():
    made = document(keyed=False)
    names = [operation["operationId"] for methods in made["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


async def test_an_engine_that_fails_is_answered_in_the_documented_shape(serve):
    class Broken:
        name = "broken"

        async def stream(self, request):
            raise PipelineError("llm_broken", "it is broken")
            yield ""

        async def close(self):
            pass

    url, _ = await serve(fake_engines(llm=Broken()))
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello?"}]}
    async with aiohttp.ClientSession() as http, http.post(f"{url}/v1/chat/completions", json=body) as response:
        assert response.status == 500
        Error.model_validate(await response.json())
