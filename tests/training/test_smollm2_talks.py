"""What an adapter for SmolLM2 learns from."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import numpy
import pytest

from pipelines.engines.llm.messages import with_surroundings
from training.smollm2 import talks
from training.smollm2.adapter_file import permuted
from training.smollm2.questions import questions
from training.smollm2.replay import sensible
from training.starter.grammar_beyond import FALLBACKS

EXAMINATION = Path(__file__).parents[1] / "benchmarks" / "data" / "general_questions.txt"
KNOWN = [("what is a cat", "A small animal."), ("who was homer", "A poet."), ("where is peru", "In America.")]
_EMPTY = frozenset(
    "what is the a an of in does do are how many which who was tell me you to it for s on called name your".split()
)


class Letters:
    """A tokenizer whose tokens are letters."""

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [ord(letter) for letter in text]}


def content(question: str) -> frozenset[str]:
    """The words that say what is asked."""
    return frozenset(re.findall(r"[a-z]+", question.lower())) - _EMPTY


def test_no_question_of_the_examination_is_trained() -> None:
    lines = [line for line in EXAMINATION.read_text("utf-8").splitlines() if "|" in line and line[0] != "#"]
    examined = {content(line.partition(" | ")[0]) for line in lines}
    trained = questions()
    assert len(trained) == len(set(trained)) > 800
    assert [question for question in trained if content(question) in examined] == []


def made(count: int, seed: int = 3) -> list[talks.Dialogue]:
    """The first conversations of a seed."""
    rng = Random(seed)
    found = (talks.conversation(rng, KNOWN) for _ in range(4 * count))
    return [talk for talk in found if talk is not None][:count]


def test_conversations_pass_nothing_on_and_have_neither_tools_nor_instructions() -> None:
    for talk in made(300):
        assert not talk.request.tools
        assert talk.request.messages[0].role == "user"
        answers = [message for message in talk.request.messages if message.role == "assistant"]
        assert not any(answer.content.startswith(text[:20]) for answer in answers for text in FALLBACKS)
        assert all(talk.request.messages[n].role == "assistant" for n in talk.learned)


def test_a_seed_gives_the_same_conversations() -> None:
    assert made(50) == made(50)
    assert made(50) != made(50, seed=4)


@pytest.mark.long
def test_general_questions_and_errands_stand_where_the_starter_passes_on() -> None:
    answers = {message.content for talk in made(600) if "fallback" in talk.intents for message in talk.request.messages}
    assert answers & {answer for _, answer in KNOWN}
    assert any(answer.startswith("I cannot do that") for answer in answers)


def test_answers_and_their_ends_are_learned() -> None:
    for talk in made(40):
        ids, marks = talks.encode(Letters(), talk)
        learned = "".join(chr(token) for token, mark in zip(ids, marks, strict=True) if mark)
        wanted = [m.content for n, m in enumerate(with_surroundings(talk.request)) if n in talk.learned]
        assert learned == "".join(f"{answer}<|im_end|>" for answer in wanted)


def test_rows_have_room_for_what_they_hold() -> None:
    rows = talks.rows(1, KNOWN, Letters(), 400)
    for _ in range(20):
        assert 0 < sum(len(ids) for ids, _ in next(rows)) <= 400


def test_only_whole_speakable_sentences_are_kept() -> None:
    assert sensible("A kettle boils water. It is hot.") == "A kettle boils water."
    assert sensible("It is about 3.5 meters long.") == "It is about 3.5 meters long."
    assert not sensible("As an AI language model I have no kettle.")
    assert not sensible("It goes on and on and on and on and on and on and on and on and on and")
    assert not sensible("Use: water, tea.")


def test_rows_of_queries_are_in_the_order_of_the_rotation() -> None:
    rows = numpy.arange(8)[:, None]
    assert permuted(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
