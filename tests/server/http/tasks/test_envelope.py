"""``/v1/tasks`` as the stock Hugging Face client asks it, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.utils import close_session

from pipelines.errors import PipelineError
from pipelines.interfaces.media_fields import FileBytes
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.models.residency import Residency
from pipelines.routing.stage_types import Strict
from pipelines.tasks.service import TaskService
from server.http.openapi.task_shapes import TaskDetails, TaskEvent, TaskList
from tests.conftest import fake_engines

TEXT = "the cat sat on the mat"
Ask = Callable[..., Any]


@pytest.fixture
def stock(door: str) -> Iterator[Callable[[str], InferenceClient]]:
    """``stock(task)``: the client of the Hugging Face hub, with the address of the task as its model."""
    yield lambda task: InferenceClient(model=f"{door}/v1/tasks/{task}", token="not-needed")
    close_session()


async def test_the_stock_client_is_served(stock: Callable[[str], InferenceClient]) -> None:
    few: Any = {"generate_parameters": {"max_new_tokens": 3}}

    def use() -> None:
        labels = stock("text-classification").text_classification(TEXT, top_k=2)
        assert len(labels) == 2 and labels[0].score >= labels[1].score
        own = stock("zero-shot-classification").zero_shot_classification(TEXT, ["sports", "cat"], multi_label=True)
        assert {one.label for one in own} == {"sports", "cat"}
        vector = stock("feature-extraction").feature_extraction(TEXT, normalize=True, prompt_name="query")
        assert vector.shape == (16,) and np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
        alike = stock("sentence-similarity").sentence_similarity(TEXT, [TEXT, "good dog"])
        assert alike[0] == pytest.approx(1.0, abs=1e-5) and len(alike) == 2
        assert isinstance(stock("translation").translation("hello", **few).translation_text, str)
        assert isinstance(stock("summarization").summarization(TEXT, **few).summary_text, str)

    await asyncio.to_thread(use)


async def test_the_stock_client_reads_text_whole_and_as_it_comes(stock: Callable[[str], InferenceClient]) -> None:
    def use() -> None:
        client = stock("text-generation")
        whole = client.text_generation("hello", max_new_tokens=6, details=True)
        assert whole.details is not None and whole.details.generated_tokens == 6
        assert whole.details.finish_reason == "length" and len(whole.details.tokens) == 6
        pieces = list(client.text_generation("hello", max_new_tokens=6, details=True, stream=True))
        assert "".join(piece.token.text for piece in pieces) == whole.generated_text == pieces[-1].generated_text
        assert pieces[-1].details is not None and pieces[-1].details.generated_tokens == 6
        plain = client.text_generation("hello", max_new_tokens=6, stream=True)
        assert "".join(plain) == whole.generated_text

    await asyncio.to_thread(use)


async def test_what_there_is_is_told(ask: Ask) -> None:
    status, body, _ = await ask("/v1/tasks")
    rows = {row.id: row for row in TaskList.model_validate(body).data}
    assert status == 200 and rows["text-classification"].available
    assert rows["text-classification"].models[:1] == ["mood"]
    assert rows["text-ranking"].models == ["ranker", "owner/vectors"]
    assert rows["text-generation"].streams and not rows["translation"].streams
    _, body, _ = await ask("/v1/tasks/zero-shot-classification")
    assert "candidate_labels" in TaskDetails.model_validate(body).parameters["properties"]


async def test_who_did_it_is_in_the_headers_and_lists_come_back_as_lists(ask: Ask) -> None:
    body = {"inputs": [TEXT, "good dog"], "parameters": {"top_k": 1}, "model": "mood"}
    status, rows, headers = await ask("/v1/tasks/text-classification", body)
    assert status == 200 and [len(row) for row in rows] == [1, 1]
    assert headers["X-Model"] == "mood" and int(headers["X-Prompt-Tokens"]) == 8 + 4
    assert float(headers["X-Compute-Time"]) >= 0
    _, alone, _ = await ask("/v1/tasks/text-classification", {**body, "inputs": TEXT})
    assert alone == rows[:1]
    _, again, _ = await ask(
        "/v1/tasks/text-classification", {"inputs": {"text": TEXT}, "options": {"use_cache": False}}
    )
    assert again[0][:1] == alone[0]
    _, _, headers = await ask(
        "/v1/tasks/text-ranking", {"inputs": {"query": "a", "documents": ["b"]}, "model": "owner/vectors"}
    )
    assert headers["X-Model"] == "owner/vectors (bi-encoder)"


async def test_events_have_their_documented_shape(ask: Ask, door: str) -> None:
    body = {"inputs": "hello", "parameters": {"max_new_tokens": 3, "top_n_tokens": 2}, "stream": True}
    async with aiohttp.ClientSession() as http, http.post(f"{door}/v1/tasks/text-generation", json=body) as response:
        assert response.content_type == "text/event-stream"
        lines = [line async for line in response.content if line.startswith(b"data:")]
    events = [TaskEvent.model_validate_json(line.removeprefix(b"data:")) for line in lines]
    assert len(events) == 3 and events[-1].x_model == "coder" and len(events[0].top_tokens or ()) == 2


BETWEEN = {"prefix": "a", "suffix": "b"}
LONG = " ".join(["cat"] * 80)


WRONG: tuple[tuple[str, Any, int, str, str | None], ...] = (
    ("text-clasification", {"inputs": "a"}, 404, "unknown_task", None),
    ("text-classification", {}, 400, "missing_parameter", "inputs"),
    ("text-classification", {"inputs": ""}, 400, "invalid_value", "inputs"),
    ("text-classification", {"inputs": 7}, 400, "invalid_value", "inputs"),
    ("text-classification", {"inputs": ["a", 7]}, 400, "invalid_value", "inputs.1"),
    ("text-classification", {"inputs": []}, 400, "invalid_value", "inputs"),
    ("text-classification", {"inputs": {"txt": "a"}}, 400, "invalid_value", "inputs"),
    ("text-classification", {"inputs": LONG}, 400, "input_too_long", "inputs"),
    ("text-classification", {"inputs": "a", "parameters": {"top_k": 0}}, 400, "invalid_value", "parameters.top_k"),
    ("text-classification", {"inputs": "a", "top_k": 0}, 400, "invalid_value", "parameters.top_k"),
    ("text-classification", {"inputs": "a", "topk": 0}, 400, "unknown_parameter", "topk"),
    ("text-classification", {"inputs": "a", "model": "moody"}, 404, "model_not_found", "model"),
    ("text-classification", {"inputs": "a", "model": "https://x.org/m"}, 404, "model_not_found", "model"),
    ("text-classification", {"inputs": "a", "model": "../../etc"}, 404, "model_not_found", "model"),
    ("text-classification", {"inputs": "a", "stream": True}, 400, "unsupported_value", "stream"),
    ("code-completion", {"inputs": BETWEEN, "model": "writer"}, 422, "model_cannot_infill", "suffix"),
)


async def test_what_is_wrong_is_named(ask: Ask) -> None:
    for task, body, status, code, param in WRONG:
        got, answer, _ = await ask(f"/v1/tasks/{task}", body)
        assert (got, answer["error"]["code"], answer["error"]["param"]) == (status, code, param), answer


async def test_a_file_for_a_task_that_takes_text_is_refused(ask: Ask) -> None:
    status, body, _ = await ask("/v1/tasks/text-classification", data=b"\x89PNG", headers={"Content-Type": "image/png"})
    assert (status, body["error"]["param"]) == (415, "Content-Type")


async def test_the_deadline_must_be_a_number(ask: Ask) -> None:
    for wrong in ("soon", "0", "3600001", "000000000001" + "0" * 400, "9" * 5000):
        status, body, _ = await ask("/v1/tasks/tokenize", {"inputs": "a"}, headers={"X-Max-Latency-Ms": wrong})
        assert (status, body["error"]["param"]) == (400, "X-Max-Latency-Ms"), wrong
    status, _, _ = await ask("/v1/tasks/tokenize", {"inputs": "a"}, headers={"X-Max-Latency-Ms": "60000"})
    assert status == 200


async def test_without_models_it_says_how_to_get_them(serve: Callable[..., Any], tmp_path: Any) -> None:
    url, _ = await serve(cache=tmp_path)
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{url}/v1/tasks/feature-extraction", json={"inputs": "a"}) as response:
            assert response.status == 501
            assert "visavis models pull all-minilm" in (await response.json())["error"]["message"]
        async with http.get(f"{url}/v1/tasks") as response:
            rows = {row["id"]: row for row in (await response.json())["data"]}
    assert "visavis models pull" in rows["feature-extraction"]["why_not"]
    assert rows["language-detection"]["available"]


class Picture(Strict):
    image: FileBytes


class Nothing(Strict):
    pass


def _sizes(model: Any, jobs: Sequence[Job[Picture, Nothing]]) -> list[Done | PipelineError]:
    return [Done({"bytes": len(job.inputs.image)}) for job in jobs]


SIZE = TaskSpec(
    name="size",
    about="How large a file is",
    inputs=Picture,
    parameters=Nothing,
    output=dict[str, int],
    load=lambda folder, device, dtype: None,
    run=_sizes,
    packages=(),
    needs_model=False,
)


async def test_a_task_on_files_takes_them_as_they_are_or_in_base64(serve: Callable[..., Any], tmp_path: Path) -> None:
    tasks = TaskService(None, Residency(), registry={"size": f"{__name__}:SIZE"})
    url, _ = await serve(replace(fake_engines(), tasks=tasks), cache=tmp_path)
    address, large = f"{url}/v1/tasks/size", bytes(3 << 20)
    encoded = base64.b64encode(b"four").decode()
    async with aiohttp.ClientSession() as http:

        async def sent(**more: Any) -> tuple[int, Any]:
            async with http.post(address, **more) as response:
                return response.status, await response.json()

        for kind in ("image/png", "audio/wav", "application/octet-stream"):
            assert await sent(data=io.BytesIO(large), headers={"Content-Type": kind}) == (200, {"bytes": 3 << 20})
        for given in (encoded, f"data:image/png;base64,{encoded}", {"image": encoded}):
            assert await sent(json={"inputs": given}) == (200, {"bytes": 4})
        assert await sent(json={"inputs": [encoded, encoded]}) == (200, [{"bytes": 4}] * 2)
        status, body = await sent(json={"inputs": "https://example.org/cat.png"})
        assert (status, body["error"]["param"]) == (400, "inputs") and "not fetched" in body["error"]["message"]
        status, body = await sent(data=b"", headers={"Content-Type": "image/png"})
        assert status == 400
