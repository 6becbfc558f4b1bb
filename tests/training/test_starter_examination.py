"""The second examination of the starter chat model: that its probes are sound, before a model sees them."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from training.starter.evaluate import LONGEST_ANSWER
from training.starter.examination import probes, threads
from training.starter.examination_patterns import MODEL, equals, in_order, spelt, value, without_denial
from training.starter.examination_threads import read_threads
from training.starter.grammar_tools import TOOLS
from training.starter.probe import Probe
from training.starter.words import number

_NUMBERS = {number(n).replace("-", " "): n for n in range(101)}
_HONEST = "I am only a small built-in model, so I do not know that."


def _matches(good: str, answer: str) -> bool:
    return bool(re.search(good, answer, re.IGNORECASE))


def _of(kind: str) -> list[Probe]:
    return [probe for probe in probes() if probe.kind == kind]


def _numbers_in(text: str) -> list[int]:
    names = "|".join(sorted(_NUMBERS, key=len, reverse=True))
    found = re.findall(rf"\b(?:{names}|\d+)\b", text.lower())
    return [int(word) if word.isdigit() else _NUMBERS[word] for word in found]


def _accepted(good: str) -> list[int]:
    return [n for n in range(130) if _matches(good, f"That is {number(n)}.")]


def test_there_are_enough_probes_and_no_two_are_the_same() -> None:
    asked = Counter(
        (
            tuple(re.sub(r"\W+", " ", said.lower()).strip() for said in probe.said),
            probe.scene,
            probe.now,
            tuple(tool.name for tool in probe.tools),
        )
        for probe in probes()
    )
    assert len(asked) >= 300
    assert [what for what, times in asked.items() if times > 1] == []


def test_every_kind_has_several_probes() -> None:
    assert {kind: n for kind, n in Counter(probe.kind for probe in probes()).items() if n < 3} == {}


def test_patterns_compile_and_no_silence_matches() -> None:
    for probe in probes():
        assert all(said.strip() == said and said for said in probe.said), probe
        assert probe.good and not _matches(probe.good, ""), probe
        assert "=>" not in " ".join(probe.said)


def test_about_a_third_is_written_with_capitals_and_punctuation() -> None:
    said = [probe.said[-1] for probe in probes()]
    assert 0.2 < sum(line[0].isupper() for line in said) / len(said) < 0.5


@pytest.mark.parametrize("kind", ["sums", "sums that go on", "last result", "numbers before and after"])
def test_one_number_is_right(kind: str) -> None:
    for probe in _of(kind):
        assert len(_accepted(probe.good)) == 1, probe


def test_sums_have_the_result_that_is_wanted() -> None:
    for probe in _of("sums"):
        (right,) = _accepted(probe.good)
        a, b = _numbers_in(probe.said[0])
        assert right in (a + b, a - b, b - a, a * b), probe
        assert _matches(probe.good, f"{number(a)} plus {number(b)} is {number(right)}.".capitalize())
        assert not _matches(probe.good, f"{number(a)} plus {number(b)} is {number(right + 1)}.".capitalize())


def test_neighbours_are_next_to_the_number() -> None:
    for probe in _of("numbers before and after"):
        (right,) = _accepted(probe.good)
        (n,) = _numbers_in(probe.said[0])
        assert abs(right - n) == 1
        assert _matches(probe.good, f"{number(right).capitalize()} comes after {number(n)}.")
        assert not _matches(probe.good, f"{number(n).capitalize()} comes after {number(right)}.")


@pytest.mark.parametrize("wrong", [1, 6, 15, 65, 59, 160, 70])
def test_a_number_is_not_found_in_another(wrong: int) -> None:
    for right in (5, 16, 60):
        assert _matches(equals(right), f"Nine plus two is {number(right)}.")
        assert _matches(value(right), f"It was {right}.")
        assert not _matches(equals(right), f"Nine plus two is {number(wrong)}.")
        assert not _matches(value(right), f"{number(right).capitalize()} plus one is {number(wrong)}.")


def test_counting_goes_as_far_as_it_should() -> None:
    assert _matches(in_order(range(1, 4)), "One, two, three.")
    assert _matches(in_order(range(3, 0, -1)), "Three, two, and one!")
    assert not _matches(in_order(range(1, 4)), "One, two, three, four.")
    assert not _matches(in_order(range(1, 4)), "One, three.")
    for probe in _of("counting"):
        assert all(n <= 20 for n in _numbers_in(" ".join(probe.said)))


def test_letters_are_told_one_by_one() -> None:
    assert _matches(spelt("cat"), "C, A, T.")
    assert _matches(spelt("cat"), "C-A-T")
    assert not _matches(spelt("cat"), "You spell it cat.")
    for probe in _of("spelling"):
        assert sum(_matches(probe.good, ", ".join(word)) for word in re.findall(r"\w+", probe.said[0].lower())) == 1


@pytest.mark.parametrize(
    ("kind", "template"),
    [
        ("opposites", "The opposite of that is {}."),
        ("colours", "It is {}."),
        ("days and months", "{} comes after that."),
        ("days and months", "It is {}."),
    ],
)
def test_a_word_is_found_in_its_sentence_and_few_others_are(kind: str, template: str) -> None:
    words = (
        "cold small down right out closed night bad sad slow old low short dark late empty soft white no off false "
        "poor weak dry dirty far last quiet stop hate blue green red yellow black orange brown gray grey pink purple "
        "monday tuesday wednesday thursday friday saturday sunday january april july october march december"
    ).split()
    words += [number(n) for n in range(61)]
    for probe in _of(kind):
        right = [word for word in words if _matches(probe.good, template.format(word.capitalize()))]
        assert right or "comes" in template, probe
        assert len(right) <= 2, probe


def test_what_is_repeated_is_in_the_question() -> None:
    for probe in _of("repeating"):
        assert _matches(probe.good, probe.said[0])


def test_a_denial_is_no_yes() -> None:
    assert _matches(without_denial("yes|facing"), "You are facing the camera.")
    assert _matches(without_denial("yes|alone"), "Yes, I see nobody else.")
    assert not _matches(without_denial("yes|facing"), "No, you are not facing the camera.")


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("no clock or calendar", "I have no clock here, so I cannot tell."),
        ("no camera", "I get no camera picture, so I cannot see it."),
        ("never told", "You have not told me your name."),
        ("quiet", "Okay."),
        ("greetings", "Hello!"),
        ("farewells", "Goodbye!"),
        ("thanks", "You are welcome."),
        ("jokes", "Why did the cow cross the road? To get to the udder side."),
        ("riddles", "What has hands but no arms? A clock."),
        ("the world", _HONEST),
        ("requests", _HONEST),
        ("no tools", _HONEST),
        ("telling", _HONEST),
    ],
)
def test_the_expected_answer_passes_for_all_of_a_kind(kind: str, answer: str) -> None:
    assert _of(kind)
    assert [probe.said for probe in _of(kind) if not _matches(probe.good, answer)] == []


@pytest.mark.parametrize("kind", ["time", "date", "sums", "opposites", "colours", "spelling", "things", "jokes"])
def test_the_honest_answer_does_not_pass_where_there_is_a_right_one(kind: str) -> None:
    assert _of(kind)
    assert [probe.said for probe in _of(kind) if _matches(probe.good, _HONEST.replace("do not", "will"))] == []


def test_tool_calls_are_of_tools_that_are_offered() -> None:
    parameters = {tool.name: set(tool.parameters["properties"]) for tool in TOOLS}
    for probe in probes():
        if probe.good.endswith("}"):
            name, _, arguments = probe.good.partition(" ")
            assert name in [tool.name for tool in probe.tools]
            assert set(json.loads(arguments)) == parameters[name]
            assert probe.good == f"{name} {json.dumps(json.loads(arguments))}"
    assert {probe.good.split()[0] for probe in _of("tools")} == set(parameters)


def test_what_copies_words_is_not_asked_misheard() -> None:
    for kind in ("names told", "spelling", "repeating", "things", "opposites", "colours", "animals"):
        assert not any(probe.misheard for probe in _of(kind))


def test_there_are_24_conversations_of_ten_turns() -> None:
    assert [len(talk) for talk in threads()] == [10] * 24
    assert len({talk[i].said.lower() for talk in threads() for i in range(10)}) > 200


def test_conversations_come_back_to_what_was_said_and_seen() -> None:
    names = {talk_names[0] for talk in threads() if (talk_names := [turn.good for turn in talk if turn.good.isalpha()])}
    assert len(names) >= 15
    for talk in threads():
        goods = Counter(turn.good for turn in talk if turn.good)
        assert sum(bool(_accepted(good)) and good.startswith("(?:") for good in goods) >= 2, "a sum and what follows"
        assert all(not _matches(good, "") for good in goods)
        last = [turn for turn in talk if _accepted(turn.good) and turn.good.startswith("(?<")]
        assert len(last) == 1
        sums = [turn.good for turn in talk[: talk.index(last[0])] if turn.good.startswith("(?:")]
        assert _accepted(last[0].good) == _accepted(sums[-1]), "the last result is that of the last sum"
        for turn in talk:
            if turn.scene:
                assert _matches(turn.good, f"I see {turn.scene}.")
    assert sum(any(turn.scene for turn in talk) for talk in threads()) >= 10
    assert sum(any(turn.good == MODEL for turn in talk) for talk in threads()) >= 12
    assert LONGEST_ANSWER >= 20


def test_what_rests_on_an_earlier_turn_is_known() -> None:
    (talk,) = read_threads(
        """
my name is zelda => zelda
how much is twenty one plus 4 => =25
and add five to that => =30
what do you see => right hand @ one person, right hand raised
who am i => zelda
the result again => #30
what did you see before => right hand
who invented tea => MODEL
and coffee => MODEL
"""
    )
    assert [turn.earlier for turn in talk] == [False, False, True, False, True, True, True, False, False]
    assert talk[3].scene and re.search(talk[7].good, _HONEST)


def test_every_conversation_needs_earlier_turns() -> None:
    assert all(sum(turn.earlier for turn in talk) >= 3 for talk in threads())
