"""What other servers speak: the stock openai client, and bodies as clients of the others send them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import aiohttp
import openai
import pytest
from pydantic import TypeAdapter

from server.http.openapi import task_shapes
from server.http.rest import json_text
from tests.server.http.rest.clients import client_of

TEXT = "the cat sat on the mat"
Ask = Callable[..., Any]


async def test_openai_completions_whole_streamed_and_filled_in(door: str) -> None:
    async with client_of(door) as client:
        whole = await client.completions.create(model="auto", prompt="hello", max_tokens=5, temperature=0, logprobs=2)
        assert whole.usage is not None and whole.usage.completion_tokens == 5 and whole.usage.prompt_tokens == 5
        assert whole.model == "coder" and whole.choices[0].finish_reason == "length"
        logprobs = whole.choices[0].logprobs
        assert logprobs is not None and logprobs.token_logprobs is not None and len(logprobs.token_logprobs) == 5
        echoed = await client.completions.create(model="writer", prompt="hi", max_tokens=2, temperature=0, echo=True)
        assert echoed.choices[0].text.startswith("hi")
        pieces = [
            piece
            async for piece in await client.completions.create(
                model="gpt-3.5-turbo-instruct",
                prompt="hello",
                max_tokens=5,
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
            )
        ]
        assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == whole.choices[0].text
        assert pieces[-1].usage is not None and pieces[-1].usage.completion_tokens == 5
        filled = await client.completions.create(
            model="coder", prompt="def f(", suffix=")", max_tokens=3, temperature=0
        )
        assert filled.usage is not None and filled.usage.prompt_tokens == 6 + 1 + 3
        several = await client.completions.create(model="coder", prompt=["a", "b"], n=2, max_tokens=2)
        assert [choice.index for choice in several.choices] == [0, 1, 2, 3]


async def test_the_offsets_of_tokens_are_those_in_the_text_of_the_choice(door: str) -> None:
    asked: dict[str, Any] = {"model": "coder", "prompt": "hello", "max_tokens": 5, "temperature": 0, "logprobs": 1}
    async with client_of(door) as client:
        whole = (await client.completions.create(**asked, echo=True)).choices[0]
        text, tokens, offsets = "", [], []
        async for piece in await client.completions.create(**asked, stream=True):
            choice = piece.choices[0]
            text += choice.text
            if choice.logprobs is not None:
                tokens += choice.logprobs.tokens
                offsets += choice.logprobs.text_offset
        echoed = (whole.text, whole.logprobs.tokens, whole.logprobs.text_offset)
        for said, words, places in (echoed, (text, tokens, offsets)):
            assert len(words) == 5
            assert [said[place : place + len(word)] for word, place in zip(words, places, strict=True)] == words


WRONG: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"model": "gpt-9"}, 404, "model"),
    ({"prompt": ""}, 400, "prompt"),
    ({"prompt": [99999]}, 400, "prompt"),
    ({"max_tokens": 500}, 400, "prompt"),
    ({"n": 2, "temperature": 0}, 400, "n"),
    ({"suffix": "b", "model": "writer"}, 422, "suffix"),
)


async def test_openai_completions_name_what_is_wrong(door: str) -> None:
    async with client_of(door) as client:
        for fields, status, param in WRONG:
            with pytest.raises(openai.APIStatusError) as caught:
                await client.completions.create(**{"model": "auto", "prompt": "hello", **fields})
            assert (caught.value.status_code, caught.value.param) == (status, param)  # type: ignore[attr-defined]


async def test_openai_embeddings(door: str) -> None:
    async with client_of(door) as client:
        found = await client.embeddings.create(model="text-embedding-3-small", input=[TEXT, "dog"], dimensions=8)
        assert found.model == "owner/vectors" and [len(row.embedding) for row in found.data] == [8, 8]
        plain = await client.embeddings.create(model="owner/vectors", input=TEXT, dimensions=8, encoding_format="float")
        assert plain.data[0].embedding == pytest.approx(found.data[0].embedding, abs=1e-6)
        with pytest.raises(openai.BadRequestError) as caught:
            await client.embeddings.create(model="owner/vectors", input=TEXT, dimensions=7)
        assert caught.value.param == "dimensions"
        with pytest.raises(openai.BadRequestError) as caught:
            await client.embeddings.create(model="owner/vectors", input=["a", ""])
        assert caught.value.param == "input.1"


async def test_text_embeddings_inference(ask: Ask) -> None:
    _, vectors, _ = await ask("/embed", {"inputs": TEXT, "normalize": True})
    assert len(vectors) == 1 and len(vectors[0]) == 16
    _, vectors, _ = await ask("/embed", {"inputs": [TEXT, "dog"], "truncate": True, "truncation_direction": "Right"})
    assert len(vectors) == 2
    status, rows, headers = await ask(
        "/rerank", {"query": "cat", "texts": ["dog", TEXT], "raw_scores": False, "return_text": True}
    )
    TypeAdapter(list[task_shapes.RankedText]).validate_python(rows)
    assert status == 200 and {row["text"] for row in rows} == {"dog", TEXT} and headers["X-Model"] == "ranker"
    _, rows, _ = await ask("/predict", {"inputs": TEXT})
    assert [set(row) for row in rows] == [{"label", "score"}] * 3
    _, pair, _ = await ask("/predict", {"inputs": [TEXT, "dog"]})
    _, batch, _ = await ask("/predict", {"inputs": [[TEXT], [TEXT, "dog"]], "raw_scores": False})
    for one, other in zip((*batch[0], *batch[1]), (*rows, *pair), strict=True):
        assert one["label"] == other["label"] and one["score"] == pytest.approx(other["score"], abs=1e-5)
    status, body, _ = await ask("/predict", {"inputs": ["a", "b", "c"]})
    assert (status, body["error"]["param"]) == (400, "inputs")


async def test_cohere_and_jina(ask: Ask) -> None:
    body = {"model": "rerank-v3.5", "query": "cat", "documents": ["dog", {"text": TEXT}, "blue"], "top_n": 2}
    status, first, _ = await ask("/v1/rerank", {**body, "return_documents": True})
    whole = task_shapes.Reranked.model_validate(first)
    assert status == 200 and whole.model == "ranker" and len(whole.results) == 2
    assert whole.results[0].document["text"] == ["dog", TEXT, "blue"][whole.results[0].index]
    _, second, _ = await ask("/v2/rerank", body)
    assert [row["index"] for row in second["results"]] == [row.index for row in whole.results]
    task_shapes.RerankedSecond.model_validate(second)
    status, refused, _ = await ask("/v1/rerank", {**body, "documents": []})
    assert (status, refused["error"]["param"]) == (400, "documents")
    status, refused, _ = await ask("/v1/rerank", {**body, "model": "mine"})
    assert (status, refused["error"]["code"]) == (404, "model_not_found")


async def test_tokens_of_vllm_and_of_text_embeddings_inference(ask: Ask) -> None:
    _, found, _ = await ask("/tokenize", {"model": "writer", "prompt": "hé", "return_token_strs": True})
    assert task_shapes.TextTokens.model_validate(found).count == 3
    _, text, _ = await ask("/detokenize", {"model": "writer", "tokens": found["tokens"]})
    assert text == {"prompt": "hé"}
    _, rows, _ = await ask("/tokenize", {"inputs": ["hi", "a"], "model": "writer"})
    TypeAdapter(list[list[task_shapes.OneToken]]).validate_python(rows)
    _, texts, _ = await ask("/detokenize", {"ids": [[row["id"] for row in rows[0]]], "model": "writer"})
    assert texts == ["hi"]
    status, _, _ = await ask("/tokenize", {"model": "writer"})
    assert status == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"model": "writer", "prompt": "a" * 5000, "return_token_strs": True}),
        ("/tokenize", {"model": "writer", "inputs": ["a" * 5000]}),
        ("/v1/tasks/tokenize", {"model": "writer", "inputs": "a" * 5000}),
        ("/embed", {"inputs": [f"{n}" for n in range(200)]}),
        ("/v1/tasks/feature-extraction", {"inputs": [f"{n}" for n in range(200)]}),
        ("/v1/embeddings", {"model": "auto", "input": [f"{n}" for n in range(200)]}),
    ],
)
async def test_a_large_answer_is_not_written_on_the_event_loop(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, path: str, body: Any
) -> None:
    """Its JSON would hold up the audio of everybody."""
    threads, original = list[int](), json_text.written

    def watched(value: Any) -> bytes:
        threads.append(threading.get_ident())
        return original(value)

    monkeypatch.setattr(json_text, "_SHORT_ANSWER", 1000)
    monkeypatch.setattr(json_text, "written", watched)
    status, _, headers = await ask(path, body)
    assert status == 200
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_llama_infill_whole_and_streamed(ask: Ask, door: str) -> None:
    body = {"input_prefix": "def f(", "input_suffix": ")", "n_predict": 4, "model": "coder", "prompt": "x"}
    _, whole, _ = await ask("/infill", {**body, "input_extra": [{"filename": "a.py", "text": "x = 1"}]})
    assert task_shapes.Infilled.model_validate(whole).tokens_predicted == 4
    _, whole, _ = await ask("/infill", body)
    async with aiohttp.ClientSession() as http, http.post(f"{door}/infill", json={**body, "stream": True}) as response:
        lines = [line.removeprefix(b"data:") async for line in response.content if line.startswith(b"data:")]
    events = [task_shapes.Infilled.model_validate_json(line) for line in lines]
    assert "".join(event.content for event in events) == whole["content"] and events[-1].stop


async def test_libretranslate(ask: Ask) -> None:
    _, rows, _ = await ask("/detect", {"q": "Guten Morgen, wie geht es dir heute?"})
    assert rows[0]["language"] == "de" and 80 < rows[0]["confidence"] <= 100
    _, languages, _ = await ask("/languages")
    known = {row["code"]: row for row in languages}
    assert known["de"]["name"] == "German" and "de" in known["en"]["targets"]
    status, one, headers = await ask("/translate", {"q": "hello", "source": "en", "target": "fr", "format": "text"})
    assert status == 200 and isinstance(one["translatedText"], str) and headers["X-Model"] == "t5"
    _, several, headers = await ask(
        "/translate", {"q": ["Where is the next railway station?", "please"], "source": "auto", "target": "de"}
    )
    assert len(several["translatedText"]) == 2 and several["detectedLanguage"][0]["language"] == "en"
    status, refused, _ = await ask("/translate", {"q": "hello", "source": "en", "target": "xx"})
    assert (status, refused["error"]["param"]) == (400, "target")
    status, short, _ = await ask("/translate", {"q": "hello", "source": "auto", "target": "de"})
    assert status == 200 and short["detectedLanguage"]["language"] in known, (
        "taken for Breton, which no model here knows"
    )
    status, form, _ = await ask("/translate", data={"q": "hello", "source": "en", "target": "fr", "alternatives": "0"})
    assert (status, form) == (200, one)
    status, rows, _ = await ask("/detect", data={"q": "Guten Morgen, wie geht es dir heute?"})
    assert (status, rows[0]["language"]) == (200, "de")
    status, refused, _ = await ask("/translate", data={"q": "hello", "source": "en"})
    assert (status, refused["error"]["param"]) == (400, "target")


async def test_what_has_no_model_here_says_so(ask: Ask) -> None:
    status, refused, _ = await ask("/v1/images/generations", {"prompt": "a cat"})
    assert (status, refused["error"]["code"]) == (501, "model_not_here")


async def test_of_several_kinds_the_error_is_that_of_the_given_one(ask: Ask) -> None:
    for path, given in (("/embed", {"inputs": []}), ("/predict", {"inputs": []})):
        status, refused, _ = await ask(path, given)
        assert (status, refused["error"]["param"]) == (400, "inputs"), refused
        assert "at least 1 item" in refused["error"]["message"]
    status, refused, _ = await ask("/embed", {"inputs": 5})
    assert (status, refused["error"]["param"]) == (400, "inputs")
