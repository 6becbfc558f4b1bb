"""Training of the starter chat model in the small, and its examination, through the engine."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch

from pipelines.engines.llm.template import ChatTemplate, load_tokenizer
from pipelines.errors import ModelError
from pipelines.interfaces.llm import ChatRequest, Message
from training.starter import tokens
from training.starter.evaluate import evaluate, failures, passes, table
from training.starter.grammar import Dialogue, dialogue
from training.starter.probe import Probe
from training.starter.train import Trainer, Training, resume

_TINY = Training(steps=14, layers=1, width=32, inner=64, heads=2, batch=300, warmup=2, rate=1e-2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tokenizer alone."""
    made = tmp_path_factory.mktemp("starter")
    tokens.save_tokenizer(made)
    return made


@pytest.mark.long
def test_training_text_is_what_the_engine_sends(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    template = ChatTemplate(tokenizer, "starter")
    rng = Random(2)
    for _ in range(60):
        talk = dialogue(rng)
        ids, learned = tokens.encode(tokenizer, talk)
        request = replace(talk.request, messages=talk.request.messages[:-1], max_tokens=1)
        prompt = template.encode(request, 4_000).ids
        assert ids[: len(prompt)] == prompt
        answer = template.decode(ids[len(prompt) :]).strip()
        assert answer == talk.request.messages[-1].content
        assert learned[len(prompt) :] == [True] * (len(ids) - len(prompt))
    assert template.stops() == {tokenizer.eos_token_id}


@pytest.mark.long
def test_only_chosen_answers_are_learned(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    said = (Message("user", "hi"), Message("assistant", "No"), Message("user", "hi"), Message("assistant", "Yes"))
    ids, learned = tokens.encode(tokenizer, Dialogue(ChatRequest(said), frozenset({3}), ("a", "b")))
    assert tokenizer.decode([token for token, mark in zip(ids, learned, strict=True) if mark]) == " Yes<|end|>"


@pytest.mark.long
def test_training_lowers_the_loss_and_goes_on_from_a_checkpoint(folder: Path) -> None:
    trainer = Trainer(_TINY, folder)
    told = []
    trainer.run(told.append, every=2, save=100)
    assert told[-1].loss < told[0].loss * 0.95
    whole = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}

    half = Trainer(_TINY, folder)
    while half.done < 9:
        half.step()
    half.save()
    rest = resume(folder)
    assert rest.done == 9
    rest.run(told.append)
    assert all(torch.equal(weight, whole[name]) for name, weight in rest.model.state_dict().items())


def test_without_a_checkpoint_nothing_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no checkpoint"):
        resume(tmp_path)


@pytest.mark.long
def test_an_examination_tells_what_was_wrong(folder: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    trainer = Trainer(_TINY, tmp_path)
    trainer.step()
    trainer.save()
    report = evaluate(tmp_path, [Probe("bad", ("hello",), "^never said$")])
    assert [verdict.passed for verdict in report.clean] == [False]
    assert "| bad | 0 of 1 (0 %) |" in table(report)
    assert any(line.startswith("bad: 'hello' -> ") for line in failures(report))


@pytest.mark.parametrize(
    ("answer", "good"), [("Hi there.", True), ("Goodbye.", False), ("", False), ("Hi. " + "Well. " * 30, False)]
)
def test_right_is_told_from_wrong(answer: str, good: bool) -> None:
    assert passes(answer, "hello|hi") is good


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=re.escape(str(tmp_path))):
        evaluate(tmp_path)
