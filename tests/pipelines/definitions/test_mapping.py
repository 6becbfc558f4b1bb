"""Backends that files name, and what does their work here."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.definitions.mapping import OLLAMA, Backend, Backends, Place
from pipelines.routing.definition import Definition

AWAY = "no address and nothing of that name here (backend_map can say what stands for it)"


def backends(**words: Any) -> Backends:
    """What one file says."""
    return Definition.model_validate(words).placed


def declared(name: str, **words: Any) -> dict[str, Any]:
    return {"id": name, **words}


def test_what_is_found_here_needs_no_declaration() -> None:
    found = backends()
    for name in ("cpu", "cuda", "igpu", "npu", "gpu"):
        assert (found.resolve(name).id, found.resolve(name).absent) == (name, "")
    assert found.resolve("ollama").backend == OLLAMA
    assert found.resolve("nobody").absent == "no file declares a backend nobody"


def test_a_backend_that_does_not_say_where_it_is_is_absent_until_something_stands_for_it() -> None:
    mine = declared("mine", models=["whisper-tiny"], priority=3)
    assert backends(backends=[mine]).resolve("mine").absent == AWAY
    standing = backends(backends=[mine], backend_map={"mine": "cpu"}).resolve("mine")
    assert (standing.id, standing.backend, standing.absent) == ("cpu", None, "")
    gone = backends(backends=[mine], backend_map={"mine": "absent"}).resolve("mine")
    assert gone.absent == "backend_map says that mine is absent"
    described = {"kind": "openai", "base_url": "http://192.0.2.1/v1"}
    there = backends(backends=[mine], backend_map={"mine": described}).resolve("mine").backend
    assert there == Backend(
        id="mine", kind="openai", base_url="http://192.0.2.1/v1", models=("whisper-tiny",), priority=3
    )


def test_one_that_says_what_it_is_is_there() -> None:
    for words in ({"hardware": "npu"}, {"kind": "visavis", "base_url": "http://192.0.2.1"}):
        assert backends(backends=[declared("mine", **words)]).resolve("mine").absent == ""


def test_a_file_may_map_what_it_does_not_declare_and_map_twice() -> None:
    found = backends(backend_map={"a": "b", "b": "gpu", "c": {"kind": "openai", "base_url": "http://192.0.2.1/v1"}})
    assert found.resolve("a").id == "gpu"
    assert found.resolve("c").backend == Backend(id="c", kind="openai", base_url="http://192.0.2.1/v1")
    assert {"a", "b", "c"} <= found.known
    assert list(found.resolved()) == ["ollama", "a", "b", "c"]


def test_another_ollama_takes_the_place_of_the_usual_one() -> None:
    other = declared("ollama", kind="openai", base_url="http://192.0.2.1:11434/v1")
    backend = backends(backends=[other]).resolve("ollama").backend
    assert backend is not None
    assert backend.base_url == "http://192.0.2.1:11434/v1"


def test_models_are_mapped_on_this_machine_and_on_servers_that_have_only_the_other() -> None:
    found = backends(model_map={"llama3:7b": "smollm2-135m-instruct"})
    server = Backend(id="s", kind="openai", base_url="http://192.0.2.1/v1")
    assert found.model("llama3:7b", None) == "smollm2-135m-instruct"
    assert found.model("llama3:7b", Backend(id="cpu")) == "smollm2-135m-instruct"
    assert found.model("llama3:7b", server) == "llama3:7b"
    assert found.model("llama3:7b", server.model_copy(update={"models": ("llama3:7b",)})) == "llama3:7b"
    only = server.model_copy(update={"models": ("smollm2-135m-instruct",)})
    assert found.model("llama3:7b", only) == "smollm2-135m-instruct"
    assert found.model("qwen", None) == "qwen"


def test_a_model_that_nobody_of_the_path_can_have_is_named() -> None:
    found = backends(backends=[declared("a", models=["x", "y"]), declared("b", models=["z"]), declared("c")])
    assert found.lacking("x", ["a", "b"]) == ""
    assert found.lacking("q", ["a", "c"]) == ""
    assert found.lacking("q", []) == ""
    assert found.lacking("q", ["a", "b"]) == (
        "no backend of the escalation_path has the model 'q': a has x, y; b has z"
    )


def test_what_stands_for_a_backend_must_be_able_to() -> None:
    able = declared("able", kind="openai", base_url="http://192.0.2.1/v1", capabilities={"embedding": True})
    found = backends(backends=[able], backend_map={"mine": "able"})
    assert found.misfit("mine", "embedding") == ""
    assert found.misfit("mine", "text_to_audio") == (
        "mine, for which able stands, cannot do text_to_audio: its capabilities are embedding"
    )


@pytest.mark.parametrize("value", [Place(), {"hardware": "cpu"}])
def test_a_description_may_come_as_one(value: object) -> None:
    assert isinstance(Definition.model_validate({"backend_map": {"a": value}}).backend_map["a"], Place)
