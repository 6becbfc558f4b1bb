"""The text tasks on tiny models: real files, real load and run, output as the Hugging Face API has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub.inference._generated import types as hub
from pydantic import TypeAdapter

from pipelines.errors import ModelError
from pipelines.interfaces.task import Done, TaskError
from pipelines.tasks.service import TaskService
from tests.fakes.tiny_models import sentences

TEXT = "the cat sat on the mat"
EXAMPLES: Mapping[str, tuple[dict[str, Any], dict[str, Any], str, Any]] = {
    "text-classification": ({"text": TEXT}, {}, "mood", hub.TextClassificationOutputElement),
    "zero-shot-classification": (
        {"text": TEXT},
        {"candidate_labels": ["sports", "politics"]},
        "entailing",
        hub.ZeroShotClassificationOutputElement,
    ),
    "feature-extraction": ({"text": TEXT}, {}, "owner/vectors", None),
    "sentence-similarity": (
        {"source_sentence": TEXT, "sentences": [TEXT, "good dog"]},
        {},
        "owner/vectors",
        None,
    ),
    "text-ranking": ({"query": "cat", "documents": ["a dog", TEXT]}, {}, "ranker", None),
    "text-generation": ({"text": "hello"}, {"max_new_tokens": 5, "details": True}, "coder", hub.TextGenerationOutput),
    "chat": (
        {"messages": [{"role": "user", "content": "hello"}]},
        {"max_new_tokens": 4},
        "talker",
        hub.TextGenerationOutput,
    ),
    "code-completion": (
        {"prefix": "def add(x, y):", "suffix": "return x"},
        {"max_new_tokens": 4},
        "coder",
        hub.TextGenerationOutput,
    ),
    "translation": ({"text": "hello"}, {"max_new_tokens": 4}, "en-de", hub.TranslationOutput),
    "summarization": ({"text": TEXT}, {"max_new_tokens": 4}, "t5", hub.SummarizationOutput),
    "text2text-generation": ({"text": TEXT}, {"max_new_tokens": 4}, "t5", hub.Text2TextGenerationOutput),
    "tokenize": ({"text": TEXT}, {}, "coder", None),
    "detokenize": ({"tokens": [5, 6]}, {}, "coder", None),
    "language-detection": ({"text": "Guten Morgen, wie geht es dir heute?"}, {}, "language-detection", None),
}


@pytest.mark.parametrize("task", EXAMPLES)
async def test_every_task_runs_and_answers_as_the_api_has_it(text_tasks: TaskService, task: str) -> None:
    inputs, parameters, model, kind = EXAMPLES[task]
    assert not text_tasks.why_not(task)
    done = await text_tasks.runner(task).run(inputs, parameters)
    assert done.model == model
    TypeAdapter(text_tasks.spec(task).output).validate_python(done.output)
    if kind is not None:
        for one in done.output if isinstance(done.output, list) else [done.output]:
            parsed = kind.parse_obj_as_instance(one)
            assert set(one) <= set(type(parsed).__dataclass_fields__)
    if "max_new_tokens" in parameters:
        assert 0 < done.answer_tokens <= parameters["max_new_tokens"]


def test_every_text_task_has_an_example(text_tasks: TaskService) -> None:
    ours = [task for task in text_tasks.tasks if ".text." in text_tasks.spec(task).run.__module__]
    assert set(ours) == set(EXAMPLES)


async def test_of_a_conversation_that_is_too_long_the_end_is_answered(text_tasks: TaskService) -> None:
    chat = text_tasks.runner("chat")
    said = [{"role": "user", "content": "a" * 500}, {"role": "assistant", "content": "b"}]
    whole, end = [
        await chat.run({"messages": [*before, {"role": "user", "content": "hello"}]}, {"max_new_tokens": 4})
        for before in (said, [])
    ]
    assert (whole.tokens, whole.output) == (end.tokens, end.output)
    with pytest.raises(TaskError, match=r"leave parameters\.max_new_tokens at"):
        await chat.run({"messages": [{"role": "user", "content": "hello"}]}, {"max_new_tokens": 200})


async def test_labels_come_in_order_and_add_up(text_tasks: TaskService) -> None:
    runner = text_tasks.runner("text-classification")
    rows = (await runner.run({"text": TEXT})).output
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert math.isclose(sum(row["score"] for row in rows), 1.0, rel_tol=1e-5)
    assert len((await runner.run({"text": TEXT}, {"top_k": 1})).output) == 1
    apart = (await runner.run({"text": TEXT}, {"function_to_apply": "sigmoid"})).output
    raw = (await runner.run({"text": TEXT}, {"function_to_apply": "none"})).output
    assert [1 / (1 + math.exp(-row["score"])) for row in raw] == pytest.approx([row["score"] for row in apart])


async def test_labels_of_ones_own_compete_or_stand_alone(text_tasks: TaskService) -> None:
    runner = text_tasks.runner("zero-shot-classification")
    given = {"candidate_labels": ["sports", "politics", "cat"]}
    rows = (await runner.run({"text": TEXT}, given)).output
    assert math.isclose(sum(row["score"] for row in rows), 1.0, rel_tol=1e-5)
    alone = (await runner.run({"text": TEXT}, {**given, "multi_label": True})).output
    single = (await runner.run({"text": TEXT}, {"candidate_labels": "cat"})).output
    assert single[0]["score"] == pytest.approx(next(row["score"] for row in alone if row["label"] == "cat"), rel=1e-4)


async def test_vectors_have_their_length_prompts_and_precision(text_tasks: TaskService) -> None:
    runner = text_tasks.runner("feature-extraction")

    async def vector(**parameters: Any) -> Any:
        return np.array((await runner.run({"text": TEXT}, parameters)).output)

    whole = await vector()
    assert whole.shape == (16,) and np.linalg.norm(whole) == pytest.approx(1.0, abs=1e-5)
    loose = await vector(normalize=False)
    assert np.allclose(loose / np.linalg.norm(loose), whole, atol=1e-5)
    short = await vector(dimensions=8)
    assert np.allclose(short, whole[:8] / np.linalg.norm(whole[:8]), atol=1e-5)
    assert np.abs(await vector(precision="int8") - whole * 127).max() <= 0.5
    assert (await vector(precision="uint8")).min() >= 0
    assert (await vector(precision="ubinary")).tolist() == np.packbits(whole > 0).tolist()
    asked = await vector(prompt_name="query")
    spelled = (await runner.run({"text": f"question : {TEXT}"})).output
    assert np.allclose(asked, spelled, atol=1e-6) and not np.allclose(asked, whole, atol=1e-3)


@pytest.mark.parametrize("mode", ["cls", "mean", "max", "lasttoken"])
async def test_pooling_is_done_as_the_folder_says(tmp_path: Path, mode: str) -> None:
    from pipelines.tasks.text.encoders import TorchSentences, load

    model = load(sentences(tmp_path / "m", mode=mode), "cpu", "float32")
    assert isinstance(model, TorchSentences)
    tokens = model.encode([TEXT, "cat"])
    states = model.model(**model.read([{"input_ids": tokens[0]}])).last_hidden_state[0].detach().numpy()
    expected = {"cls": states[0], "mean": states.mean(0), "max": states.max(0), "lasttoken": states[-1]}[mode]
    assert np.allclose(model.pooled(tokens)[0], expected, atol=1e-5)  # beside a shorter text, too


async def test_ranking_does_not_depend_on_the_order_of_documents(text_tasks: TaskService) -> None:
    runner = text_tasks.runner("text-ranking")
    documents = ["a dog", TEXT, "hello world is good", "blue"]
    there = (await runner.run({"query": "cat", "documents": documents})).output
    back = (await runner.run({"query": "cat", "documents": documents[::-1]})).output
    assert [documents[row["index"]] for row in there] == [documents[::-1][row["index"]] for row in back]
    assert all(0 <= row["score"] <= 1 for row in there)
    top = (await runner.run({"query": "cat", "documents": documents}, {"top_n": 2, "raw_scores": True})).output
    assert [row["index"] for row in top] == [row["index"] for row in there[:2]]


async def test_without_a_model_that_ranks_vectors_do_and_it_is_told(text_tasks: TaskService) -> None:
    done = await text_tasks.runner("text-ranking", "owner/vectors").run({"query": TEXT, "documents": ["dog", TEXT]})
    assert done.model == "owner/vectors (bi-encoder)"
    assert {row["index"] for row in done.output} == {0, 1}


async def test_text_comes_in_pieces_that_make_the_whole(text_tasks: TaskService) -> None:
    runner = text_tasks.runner("text-generation")
    pieces = [piece async for piece in runner.stream({"text": "hello"}, {"max_new_tokens": 12})]
    whole = (await runner.run({"text": "hello"}, {"max_new_tokens": 12})).output["generated_text"]
    assert isinstance(pieces[-1], Done) and len(pieces) == 13
    assert "".join(piece["token"]["text"] for piece in pieces[:-1]) == whole == pieces[-1].output["generated_text"]
    full = await runner.run({"text": "hello"}, {"max_new_tokens": 12, "return_full_text": True})
    assert full.output["generated_text"] == "hello" + whole


async def test_texts_side_by_side_are_continued_as_alone(text_tasks: TaskService) -> None:
    from pipelines.interfaces.task import Job
    from pipelines.tasks.text.generation import SPEC, GenerationInputs, GenerationParameters

    await text_tasks.runner("text-generation").run({"text": "a"}, {"max_new_tokens": 1})
    model = SPEC.load(Path(text_tasks.runner("text-generation").models[0].folder), "cpu", "float32")
    jobs = [
        Job(GenerationInputs(text=text), GenerationParameters(max_new_tokens=count, details=True))
        for text, count in (("hello world", 9), ("a", 4), ("this is", 6))
    ]
    together = SPEC.run(model, jobs)
    alone = [SPEC.run(model, [job])[0] for job in jobs]
    for one, other in zip(together, alone, strict=True):
        assert isinstance(one, Done) and isinstance(other, Done)
        assert one.output["generated_text"] == other.output["generated_text"]


async def test_seeds_repeat_and_stop_texts_end(text_tasks: TaskService) -> None:
    runner = text_tasks.runner("text-generation")

    async def text(**parameters: Any) -> str:
        done = await runner.run({"text": "hello"}, {"max_new_tokens": 30, **parameters})
        return str(done.output["generated_text"])

    drawn = await text(temperature=2.0, seed=7)
    assert drawn == await text(temperature=2.0, seed=7) != await text(temperature=2.0, seed=8)
    stop = drawn[3:5]
    cut = await text(temperature=2.0, seed=7, stop=[stop])
    assert cut == drawn[: drawn.index(stop)]
    streamed = [
        piece async for piece in runner.stream({"text": "hello"}, {"temperature": 2.0, "seed": 7, "stop": [stop]})
    ]
    assert "".join(piece["token"]["text"] for piece in streamed[:-1]) == cut


async def test_leaving_a_stream_frees_the_model(text_tasks: TaskService) -> None:
    runner = text_tasks.runner("text-generation")
    async with aclosing(runner.stream({"text": "hello"}, {"max_new_tokens": 100})) as pieces:
        await anext(pieces)
    assert (await runner.run({"text": "a"}, {"max_new_tokens": 1})).answer_tokens == 1


async def test_filling_in_puts_the_marks_where_the_model_has_learned_them(text_tasks: TaskService) -> None:
    from pipelines.tasks.text.causal import load
    from pipelines.tasks.text.code import CodeInputs

    folder = text_tasks.runner("code-completion", "coder").models[0].folder
    model = load(folder, "cpu", "float32")
    ids = CodeInputs(prefix="ab", suffix="c").ids(model)
    words = model.tokenizer.convert_ids_to_tokens(ids)
    assert words == ["<|fim_prefix|>", "a", "b", "<|fim_suffix|>", "c", "<|fim_middle|>"]
    assert model.token("<|fim_pad|>") in CodeInputs(prefix="a").stops(model)
    assert CodeInputs(prefix="ab").ids(model) == model.encode("ab")
    with pytest.raises(TaskError, match="suffix: the model has no tokens for filling in") as caught:
        await text_tasks.runner("code-completion", "writer").run({"prefix": "a", "suffix": "b"})
    assert caught.value.code == "model_cannot_infill"


async def test_a_t5_serves_several_tasks_with_one_model_in_memory(text_tasks: TaskService) -> None:
    few = {"max_new_tokens": 3}
    await text_tasks.runner("summarization", "t5").run({"text": TEXT}, few)
    await text_tasks.runner("translation", "t5").run({"text": TEXT}, {**few, "src_lang": "en", "tgt_lang": "de"})
    await text_tasks.runner("text2text-generation", "t5").run({"text": TEXT}, few)
    assert len(text_tasks.workers()) == 1
    assert text_tasks.workers()[0].counts().jobs == 3
    with pytest.raises(TaskError, match=r"parameters.tgt_lang: must be one of de, en, fr, ro, not 'tlh'"):
        await text_tasks.runner("translation", "t5").run({"text": TEXT}, {"src_lang": "en", "tgt_lang": "tlh"})
    with pytest.raises(TaskError, match=r"parameters.src_lang: is needed by this model"):
        await text_tasks.runner("translation", "t5").run({"text": TEXT}, {"tgt_lang": "de"})


async def test_tokens_there_and_back(text_tasks: TaskService) -> None:
    found = (await text_tasks.runner("tokenize", "writer").run({"text": "héllo"})).output
    assert found["count"] == len(found["tokens"]) == 6 and found["max_model_len"] == 128
    assert found["tokens"][0] == {"id": found["tokens"][0]["id"], "text": "h", "special": False, "start": 0, "stop": 1}
    tokens = [row["id"] for row in found["tokens"]]
    assert (await text_tasks.runner("detokenize", "writer").run({"tokens": tokens})).output == {"text": "héllo"}
    marked = (await text_tasks.runner("tokenize", "mood").run({"text": "cat"})).output
    assert [row["special"] for row in marked["tokens"]] == [True, False, True]


async def test_languages_are_told_apart(text_tasks: TaskService) -> None:
    runner = text_tasks.runner("language-detection")
    for text, language in (
        ("Guten Morgen, wie geht es dir heute?", "de"),
        ("Where is the next railway station, please?", "en"),
        ("Je voudrais une baguette et du fromage", "fr"),
        ("今日はとてもいい天気ですね", "ja"),
    ):
        rows = (await runner.run({"text": text})).output
        assert rows[0]["language"] == language and rows[0]["confidence"] > 0.8


LONG = " ".join(["cat"] * 80)


@pytest.mark.parametrize(
    ("task", "model", "inputs", "parameters", "code", "words"),
    [
        (
            "text-classification",
            "mood",
            {"text": LONG},
            {},
            "input_too_long",
            "text: has 82 tokens; the model reads 64",
        ),
        ("feature-extraction", "owner/vectors", {"text": LONG}, {}, "input_too_long", "text: has 82 tokens"),
        ("feature-extraction", "owner/vectors", {"text": [3, 9999]}, {}, "invalid_value", "text: 9999 is no token"),
        ("feature-extraction", "owner/vectors", {"text": "a"}, {"dimensions": 7}, "unsupported_value", "dimensions"),
        (
            "feature-extraction",
            "owner/vectors",
            {"text": "a"},
            {"prompt_name": "x"},
            "invalid_value",
            "query, document",
        ),
        ("text-ranking", "ranker", {"query": "a", "documents": ["b", LONG]}, {}, "input_too_long", "documents.1: has"),
        ("text-generation", "writer", {"text": "a" * 120}, {}, "input_too_long", "max_new_tokens at 8 or less"),
        (
            "chat",
            "writer",
            {"messages": [{"role": "user", "content": "a"}]},
            {},
            "unsupported_value",
            "no chat template",
        ),
        ("chat", "talker", {"messages": []}, {}, "invalid_value", "messages"),
        ("chat", "talker", {"messages": [{"role": "boss", "content": "a"}]}, {}, "invalid_value", "messages.0.role"),
        ("text-generation", "writer", {"text": [99999]}, {}, "invalid_value", "text: 99999 is no token"),
        ("translation", "en-de", {"text": "a" * 90}, {}, "input_too_long", "text: has 9"),
        ("zero-shot-classification", "entailing", {"text": "a"}, {}, "invalid_value", "parameters.candidate_labels"),
        ("detokenize", "writer", {"tokens": [1, 70000]}, {}, "invalid_value", "tokens.1: 70000 is no token"),
    ],
)
async def test_what_cannot_be_done_names_its_field(
    text_tasks: TaskService,
    task: str,
    model: str,
    inputs: dict[str, Any],
    parameters: dict[str, Any],
    code: str,
    words: str,
) -> None:
    with pytest.raises(TaskError, match=words) as caught:
        await text_tasks.runner(task, model).run(inputs, parameters)
    assert caught.value.code == code


async def test_a_long_text_is_cut_where_that_is_asked_for(text_tasks: TaskService) -> None:
    for task, model in (("text-classification", "mood"), ("feature-extraction", "owner/vectors")):
        done = await text_tasks.runner(task, model).run({"text": LONG}, {"truncate": True})
        assert done.tokens == 64


async def test_a_model_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    from pipelines.tasks.text.encoders import load

    (tmp_path / "config.json").write_text('{"model_type": "my-own", "auto_map": {"AutoModel": "model.Mine"}}')
    with pytest.raises(ModelError) as caught:
        load(tmp_path, "cpu", "float32")
    assert caught.value.code == "model_needs_remote_code"
