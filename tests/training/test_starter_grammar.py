"""The generator of synthetic conversations, and that the examination holds what it never shows."""

from __future__ import annotations

from random import Random

import pytest

from pipelines.starter import model_files
from pipelines.vision.scene import describe
from training.starter import examination, grammar_scene, mishearing, words
from training.starter.drills import drill
from training.starter.evaluate import plain
from training.starter.grammar import Dialogue, dialogue
from training.starter.grammar_beyond import FALLBACKS
from training.starter.grammar_numbers import HELD_OUT_SUMS
from training.starter.tokens import VOCABULARY, build_tokenizer

_INTENTS = [
    *(
        "greeting farewell thanks about skills hear mood likes acknowledgement praise insult sorry stop joke riddle "
    "sounds fallback noise sum count time date calendar spell repeat opposite colour lost see people hand facing thing "
    "looks get_time set_timer mute_camera"
    ).split(),
    "how are you", "last sum", "next number", "tell name", "ask name", "tell fact", "ask fact", "say again",
    "what I said", "what you saw", "stop tool", "no tool",
]  # fmt: skip


@pytest.fixture(scope="module")
def talks() -> list[Dialogue]:
    rng = Random("test")
    return [dialogue(rng, mishearing.mishear, late=late) for _ in range(750) for late in (False, True)]


def test_a_seed_gives_the_same_conversations(talks: list[Dialogue]) -> None:
    rng = Random("test")
    assert [dialogue(rng, mishearing.mishear, late=late) for _ in range(25) for late in (False, True)] == talks[:50]
    assert drill(Random(3)) == drill(Random(3)) != drill(Random(4))


def test_every_intent_is_talked_about(talks: list[Dialogue]) -> None:
    assert {intent for talk in talks for intent in talk.intents} == set(_INTENTS)


def test_held_out_words_never_occur_in_training(talks: list[Dialogue]) -> None:
    text = " ".join(f"{message.content} {talk.request.scene}" for talk in talks for message in talk.request.messages)
    assert not words.HELD_OUT & set(plain(text).split())
    assert not words.HELD_OUT & set(words.pool())


def test_held_out_wordings_never_occur_in_training(talks: list[Dialogue]) -> None:
    said = {plain(message.content) for talk in talks for message in talk.request.messages if message.role == "user"}
    assert len(examination.probes()) >= 500
    judged = [probe for probe in examination.probes() if plain(probe.said[-1]) not in said]
    assert len(judged) >= 400  # the others are left out when a model is examined


def test_held_out_sums_never_occur_in_training(talks: list[Dialogue]) -> None:
    said = {message.content for talk in talks for message in talk.request.messages if message.role == "assistant"}
    for a, b in HELD_OUT_SUMS:
        start = f"{words.number(a)} plus {words.number(b)} is".capitalize()
        assert not any(text.startswith(start) for text in said)
    assert sum(" plus " in text for text in said) > 100


def test_answers_are_short_and_scenes_are_those_of_the_camera(talks: list[Dialogue]) -> None:
    answers = [m for talk in talks for m in talk.request.messages if m.role == "assistant" and not m.tool_calls]
    assert all(1 <= len(answer.content.rstrip("— ").split()) <= 25 for answer in answers)
    scenes = {grammar_scene.scene(Random(n)) for n in range(300)}
    assert describe([]) in scenes
    assert "one person, right hand raised, facing the camera" in scenes


def test_no_other_answer_begins_as_those_with_which_a_question_is_passed_on(talks: list[Dialogue]) -> None:
    answers = {m.content for talk in talks for m in talk.request.messages if m.role == "assistant"}
    passed = {answer.rstrip("— ") for answer in answers if answer.startswith(model_files.PASSES)}
    assert len(passed) >= len(FALLBACKS)
    assert all(any(fallback.startswith(answer) for fallback in FALLBACKS) for answer in passed)


def test_misheard_text_keeps_its_numbers() -> None:
    rng = Random(1)
    heard = [mishearing.mishear("what is twelve plus seven please", rng, 1.0) for _ in range(60)]
    assert all({"twelve", "seven"} <= set(text.split()) for text in heard)
    assert len(set(heard)) > 10
    assert mishearing.mishear("it is 12:30", rng, 1.0) == "it is 12:30"


def test_confusions_come_from_an_alignment() -> None:
    said, heard = "count to three please".split(), "count two trees".split()
    assert mishearing.aligned(said, heard) == [("count", "count"), ("to three please", "two trees")]
    assert not words.HELD_OUT & set(" ".join(mishearing.confusions()).split())


def test_numbers_in_words() -> None:
    assert [words.number(n) for n in (-3, 0, 13, 20, 47, 100, 305)] == [
        "minus three", "zero", "thirteen", "twenty", "forty-seven", "one hundred", "three hundred five",
    ]  # fmt: skip
    assert words.expand("tell me (the (good|good)|the good) joke", Random(1)) == "tell me the good joke"


@pytest.mark.long
def test_the_tokenizer_gives_back_any_text() -> None:
    tokenizer = build_tokenizer()
    assert tokenizer.get_vocab_size() <= VOCABULARY
    for text in (
        " My name is Zoltan.",
        " McDonald said:\n“Über-NASA” ☃ 3.14",
        " <tool_call>{}</tool_call>",
        "A",
        "a B",
    ):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    small, capital = (tokenizer.encode(text).ids for text in (" zelda", " Zelda"))
    assert capital[1:] == small
