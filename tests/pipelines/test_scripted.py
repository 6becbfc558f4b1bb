"""The scripted responder: what it answers, in a talk and to words that were misheard."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.scripted import ScriptedModel, respond
from pipelines.engines.scripted_intents import FALLBACKS, INTENTS
from pipelines.engines.scripted_talk import in_words, plain, read_number, sum_of
from pipelines.ports import ChatRequest, LanguageModel, Message

SYSTEM = Message("system", "You are a voice assistant.")
AFTERNOON = datetime(2026, 3, 3, 15, 5)


def answer(*said: str, scene: str = "", now: datetime | None = AFTERNOON) -> str:
    """The last answer in a talk in which the user says these things, one after the other."""
    messages = [SYSTEM]
    for text in said:
        messages.append(Message("user", text))
        request = ChatRequest(tuple(messages), scene)
        messages.append(Message("assistant", respond(request, (lambda: now) if now else None)))
    return messages[-1].content


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("what is two plus three", "Two plus three is five."),
        ("What's 2 + 3 * 4?", "Two plus three times four is fourteen."),
        ("what is to plus for", "Two plus four is six."),
        ("what is five minus nine", "Five minus nine is minus four."),
        ("twenty one times two hundred and five", "Twenty-one times 205 is 4305."),
        ("seven divided by two", "Seven divided by two is 3.5."),
        ("10 / 3", "Ten divided by three is about 3.333."),
        ("one divided by zero", "Nothing can be divided by zero."),
        ("add two and three please", "Two plus three is five."),
        ("count to five", "One, two, three, four, five."),
        ("count two five", "One, two, three, four, five."),
        ("can you count from three to six please", "Three, four, five, six."),
        ("count down from three", "Three, two, one."),
        ("how do you spell cat", "C, A, T."),
        ("what is the opposite of hot", "The opposite of hot is cold."),
        ("opposite of cold", "The opposite of cold is hot."),
        ("what is the opposite of blue", 'I do not know the opposite of "blue".'),
        ("what time is it", "It is 3:05 p.m."),
        ("what day is it", "Today is Tuesday, 3 March 2026."),
        ("stop", "Okay."),
        ("oh never mind", "Okay."),
        ("say hello world", "Hello world."),
        ("Repeat after me: Ask not, my friend!", "Ask not, my friend!"),
        ("can you hear me", "Yes, I hear you."),
        ("what did i say", "This is the first thing you said."),
        ("what did you say", "I have not said anything yet."),
        ("how many questions have i asked", "One question so far, this one included."),
        ("hello", "Hello! What is your name?"),
        ("thank you very much", "You are welcome."),
        ("goodbye", "Goodbye!"),
    ],
)
def test_first_words(said: str, expected: str) -> None:
    assert answer(said) == expected


@pytest.mark.parametrize("said", ["who are you", "What are you?", "are you a robot", "what is your name"])
def test_it_says_what_it_is(said: str) -> None:
    assert "script" in answer(said)


def test_it_remembers_the_name() -> None:
    assert answer("what is my name") == "You have not told me your name yet."
    talk = ("hello", "my name is anna", "tell me a joke", "call me back later")
    assert answer(*talk[:2]) == "Nice to meet you, Anna."
    assert answer(*talk, "do you know my name") == "Your name is Anna."
    assert answer(*talk, "spell my name") == "A, N, N, A."
    assert answer(*talk, "hello") == "Hello, Anna."
    assert answer(*talk, "call me bob", "who am i") == "Your name is Bob."


def test_it_remembers_what_was_said() -> None:
    talk = ("Ask not what your country can do", "why is the sky blue")
    assert answer(*talk, "what did i say") == 'You said: "why is the sky blue".'
    assert answer(*talk, "what did i say first") == 'You said: "Ask not what your country can do".'
    assert answer(*talk, "count to two", "say that again") == "One, two."
    assert answer(*talk, "how many questions did i ask") == "Two questions so far, this one included."


def test_lines_of_one_message_are_turns_that_got_no_answer() -> None:
    request = ChatRequest((Message("user", "the first\nthe second\nwhat did i say"),))
    assert respond(request) == 'You said: "the second".'


def test_jokes_do_not_repeat_at_once() -> None:
    jokes = [answer(*["tell me a joke"] * n) for n in range(1, 5)]
    assert len(set(jokes)) == 4


@pytest.mark.parametrize(
    ("said", "scene", "expected"),
    [
        ("what do you see", "one person, right hand raised", "I see one person, right hand raised."),
        ("what do you see", "nobody in view", "I see nobody in view."),
        ("can you see me", "one person", "Yes, I see one person."),
        ("can you see me", "nobody in view", "No, I see nobody in view."),
        ("how many people are there", "two people, left hand raised", "I see two people."),
        ("how many people do you see", "nobody in view", "I see nobody."),
        ("how many people are there", "a cat", "I see a cat."),
        ("is my hand raised", "one person, right hand raised", "Yes, I see the right hand raised."),
        ("is my left hand up", "one person, right hand raised", "No, I see the right hand raised."),
        ("is my left hand up", "one person, both hands raised", "Yes, I see both hands raised."),
        ("is my hand raised", "two people, one hand raised", "Yes, I see one hand raised."),
        ("are my hands up", "one person, two hands visible", "No, I see no raised hand."),
        ("did i raise my hand", "one person", "No, I see no raised hand."),
    ],
)
def test_what_the_camera_shows(said: str, scene: str, expected: str) -> None:
    assert answer(said, scene=scene) == expected


@pytest.mark.parametrize(
    "scene",
    [
        "one person, right hand raised, facing the camera, close to the camera, smiling, thumbs up, a cup, an apple",
        "one person, both hands visible, looking away",
        "one person, one hand raised, love sign",
        "three people, two hands raised, an apple",
        "many people",
        "two hands visible, a cup",
        "nobody in view",
    ],
)
@pytest.mark.parametrize("said", ["what do you see", "what can you see now", "describe what you see"])
def test_everything_the_scene_says_is_told(said: str, scene: str) -> None:
    assert answer(said, scene=scene) == f"I see {scene}."


@pytest.mark.parametrize(
    ("said", "scene", "expected"),
    [
        ("how many people are there", "many people, one hand raised", "I see many people."),
        ("how many people are there", "one person, looking away, a cup", "I see one person."),
        ("is my left hand raised", "one person, left hand raised, open palm", "Yes, I see the left hand raised."),
        ("is my hand up", "one person, one hand visible, facing the camera", "No, I see no raised hand."),
        ("can you see me", "nobody in view, a cup", "No, I see nobody in view, a cup."),
    ],
)
def test_questions_about_the_new_words_of_the_scene(said: str, scene: str, expected: str) -> None:
    assert answer(said, scene=scene) == expected


@pytest.mark.parametrize("said", ["what do you see", "is my hand raised", "how many people are here"])
def test_without_a_camera_it_sees_nothing(said: str) -> None:
    assert "no camera" in answer(said)


@pytest.mark.parametrize("said", ["what time is it", "what is the date"])
def test_without_a_clock_it_knows_no_time(said: str) -> None:
    assert answer(said, now=None).endswith("so I cannot say.")


@pytest.mark.parametrize(("hour", "told"), [(0, "12 a.m."), (11, "11 a.m."), (12, "12 p.m."), (23, "11 p.m.")])
def test_full_hours(hour: int, told: str) -> None:
    assert answer("what time is it", now=datetime(2026, 1, 1, hour)) == f"It is {told}"


@pytest.mark.parametrize(
    "said",
    [
        "why is the sky blue",
        "call me back later",
        "i count on you",
        "add salt and pepper",
        "the cat jumped over the moon",
        "hello i wonder whether you could explain the theory of relativity",
        "你好吗",
    ],
)
def test_what_it_does_not_know_it_quotes(said: str) -> None:
    assert answer(said) == FALLBACKS[0].format(said)


def test_the_excuse_varies_and_long_quotes_are_cut() -> None:
    long = " ".join(f"word{n}" for n in range(50))
    answers = [answer(*[long] * n) for n in range(1, 5)]
    assert len(set(answers)) == 4
    assert all("word11…" in text and "word12" not in text for text in answers)


@pytest.mark.parametrize("said", ["", " ", "?!", "…", "\n"])
def test_no_words(said: str) -> None:
    assert "catch" in answer(said)
    assert "again" in answer("count to three", said)


def test_nothing_at_all() -> None:
    assert respond(ChatRequest(()))
    assert respond(ChatRequest((SYSTEM, Message("assistant", "Hello"))))


EXAMPLES = ["hello", "how are you", "what can you do", "weather in paris", "yes", "sorry", "what is your name", "help"]


@pytest.mark.parametrize("said", EXAMPLES)
@pytest.mark.parametrize("before", [0, 1])
def test_answers_are_short(said: str, before: int) -> None:
    assert 1 <= len(answer(*["hm hm"] * before, said, scene="one person").split()) <= 25


WORDS = sorted({word for intent in INTENTS for word in plain(intent.pattern.pattern).split()})
SAYINGS = st.one_of(st.text(max_size=40), st.lists(st.sampled_from([*WORDS, "two", "10", "-", "{}"])).map(" ".join))


@given(st.lists(SAYINGS, max_size=4), st.text(max_size=30))
def test_it_answers_whatever_is_said(said: list[str], scene: str) -> None:
    messages = tuple(Message("user", text) for text in said)
    reply = respond(ChatRequest(messages, scene), lambda: AFTERNOON)
    assert reply.strip()
    assert len(reply) < 1000
    assert reply == respond(ChatRequest(messages, scene), lambda: AFTERNOON)


async def test_it_streams_words() -> None:
    model: LanguageModel = ScriptedModel()
    pieces = [piece async for piece in model.stream(ChatRequest((Message("user", "count to three"),)))]
    assert pieces == ["One,", " two,", " three."]
    await model.close()
    assert model.name == "scripted"


# ---------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("zero", 0),
        ("nineteen", 19),
        ("forty two", 42),
        ("two hundred and five", 205),
        ("one million two hundred thousand", 1_200_000),
        ("17", 17),
        ("2.5", 2.5),
    ],
)
def test_numbers_in_words(words: str, number: float) -> None:
    assert read_number(words.split()) == number


@pytest.mark.parametrize("words", ["", "and", "hundred", "two three", "one twenty", "five and", "cat", "1" * 5000])
def test_what_is_no_number(words: str) -> None:
    assert read_number(words.split()) is None


@given(st.integers(0, 99))
def test_numbers_there_and_back(number: int) -> None:
    assert read_number(plain(in_words(number)).split()) == number


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_sums_are_right(one: int, other: int) -> None:
    assert (sum_of(f"what is {one} plus {other}") or "").endswith(f"is {in_words(one + other)}.")


def test_a_product_beyond_reason_is_no_error() -> None:
    assert sum_of(" times ".join(["999999999999"] * 40)) == (
        " times ".join(["999999999999"] * 40) + " is too big for me."
    )
