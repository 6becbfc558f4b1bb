"""A small model first, a larger one for what it passes on."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from pipelines.errors import LLMError
from pipelines.interfaces.llm import ChatRequest, Cut, LanguageModel, Message, Piece, Tool, ToolCall
from pipelines.routing.known_first import KnownFirst, StandIn
from pipelines.routing.refusals import Passes
from pipelines.routing.routes.llm import FallbackModel
from pipelines.starter import model_files
from tests.fakes.backends import recorded
from tests.fakes.clock import FakeClock
from training.starter.grammar_beyond import FALLBACKS

PASSES = ("I do not know that", "That is beyond me")


class Says:
    def __init__(self, *pieces: Piece | LLMError) -> None:
        self.name = "says"
        self.pieces = pieces
        self.requests: list[ChatRequest] = []
        self.given = 0
        self.closed = False
        self.away: LLMError | None = None

    async def probe(self) -> None:
        if self.away is not None:
            raise self.away

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        self.requests.append(request)
        for piece in self.pieces:
            if isinstance(piece, LLMError):
                raise piece
            self.given += 1
            yield piece

    async def close(self) -> None:
        self.closed = True


def asked(*messages: Message, tools: tuple[Tool, ...] = ()) -> ChatRequest:
    return ChatRequest((Message("system", "long instructions"), *messages), tools=tools)


async def answer(model: LanguageModel, request: ChatRequest | None = None) -> list[Piece]:
    return [piece async for piece in model.stream(request or asked(Message("user", "hello")))]


async def test_what_the_small_one_knows_it_says_at_once() -> None:
    small, large = Says("Tha", "nks, I ", "am fine."), Says("never")
    assert await answer(KnownFirst(small, large, PASSES)) == ["Thanks, I ", "am fine."]
    assert large.requests == []


async def test_what_it_passes_on_the_large_one_answers_and_nothing_else_is_heard() -> None:
    small, large = Says("I do", " not know", " that. A larger", " one can"), Says("Paris", ".")
    model = KnownFirst(small, large, PASSES)
    assert await answer(model) == ["Paris", "."]
    assert small.given == 3
    assert model.forwarded == {("says", "says"): 1}


async def test_a_beginning_that_turns_out_otherwise_is_not_lost() -> None:
    assert await answer(KnownFirst(Says("I do", " not mind."), Says("never"), PASSES)) == ["I do not mind."]
    assert await answer(KnownFirst(Says("I do"), Says("never"), PASSES)) == ["I do"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Book a table for two.", True),
        ("Could you please turn off the lights?", True),
        ("What's the weather like in Paris?", True),
        ("I've been crying.", True),
        ("Nobody likes me.", True),
        ("Is Bitcoin a good investment?", True),
        ("What is the capital of France?", False),
        ("Who wrote the book of the jungle?", False),
        ("How do you call a young dog?", False),
        ("Which ocean is the largest?", False),
    ],
)
async def test_errands_feelings_and_the_news_stay_with_the_starter(said: str, kept: bool) -> None:
    small, large = Says("That is beyond me", ": I am small."), Says("It is booked.")
    request = asked(Message("user", said), tools=())
    spoken = await answer(KnownFirst(small, large, PASSES, model_files.KEEPS), request)
    assert spoken == (["That is beyond me", ": I am small."] if kept else ["It is booked."])


@pytest.mark.parametrize("sentence", FALLBACKS)
async def test_where_a_larger_model_is_none_is_said_to_be_missing(sentence: str) -> None:
    large = Says("It is booked.")
    model = KnownFirst(standing_in(*sentence), large, model_files.PASSES, model_files.KEEPS)
    assert await answer(model, asked(Message("user", "Book a table for two."))) == ["I cannot."]
    assert await answer(model, asked(Message("user", "Who wrote Faust?"))) == ["It is booked."]
    assert len(large.requests) == 1


async def test_what_is_longer_than_speech_the_large_one_answers_alone() -> None:
    small, large = Says("never"), Says("They bake bread.")
    long = Message("user", f"{'The town lies on a river. ' * 60}What do the people do? Please book a table.")
    assert await answer(KnownFirst(small, large, PASSES, model_files.KEEPS), asked(long)) == ["They bake bread."]
    assert small.requests == []


async def test_when_the_small_one_fails_the_large_one_answers() -> None:
    small, large = Says("I do", LLMError("llm_context_full", "too long")), Says("Rome.")
    assert await answer(KnownFirst(small, large, PASSES)) == ["Rome."]


async def test_a_failure_in_mid_answer_is_told() -> None:
    small, large = Says("Thanks, ", LLMError("llm_failed", "broken")), Says("never")
    with pytest.raises(LLMError, match="broken"):
        await answer(KnownFirst(small, large, PASSES))
    assert large.requests == []


async def test_a_call_is_passed_through_at_once() -> None:
    call = ToolCall("1", "set_timer", "{}")
    assert await answer(KnownFirst(Says(call, "Done."), Says("never"), PASSES)) == [call, "Done."]


async def test_an_answer_that_is_cut_before_it_can_be_told_from_one_that_passes_is_passed_on() -> None:
    assert await answer(KnownFirst(Says("I", Cut()), Says("It", Cut()), PASSES)) == ["It", Cut()]
    assert await answer(KnownFirst(Says(Cut()), Says("It", Cut()), PASSES)) == ["It", Cut()]
    assert await answer(KnownFirst(Says("Thanks", Cut()), Says("never"), PASSES)) == ["Thanks", Cut()]


async def test_the_large_one_does_not_see_what_was_passed_on_before() -> None:
    small, large = Says("That is beyond me."), Says("Rome.")
    request = asked(
        Message("user", "what is the capital of france"),
        Message("assistant", "That is beyond me: I am only small."),
        Message("user", "That is beyond me"),
        tools=(Tool("set_timer", "sets a timer"),),
    )
    await answer(KnownFirst(small, large, PASSES), request)
    (given,) = large.requests
    assert [message.content for message in given.messages] == [
        "long instructions",
        "what is the capital of france",
        "That is beyond me",
    ]
    assert given.tools == request.tools


async def test_it_works_again_when_the_large_one_does() -> None:
    small, large = Says(), Says()
    model = KnownFirst(small, large, PASSES)
    await model.probe()
    large.away = LLMError("llm_unavailable", "being started again")
    with pytest.raises(LLMError, match="being started again"):
        await model.probe()


def test_the_starter_passes_questions_on_with_the_words_that_are_known() -> None:
    assert all(any(sentence.startswith(start) for start in model_files.PASSES) for sentence in FALLBACKS)
    assert len(model_files.PASSES) == len(FALLBACKS)


async def test_errors_are_those_of_whoever_answers() -> None:
    with pytest.raises(LLMError, match="gone"):
        await answer(KnownFirst(Says("That is beyond me."), Says(LLMError("llm_unreachable", "gone")), PASSES))


async def test_both_are_closed() -> None:
    model = KnownFirst(Says(), Says(), PASSES)
    await model.close()
    assert model.small.closed
    assert model.large.closed


# ------------------------------------------------------------------------------------------------ behind better ones


def standing_in(*pieces: Piece | LLMError) -> StandIn:
    passes = Passes(model_files.PASSES, model_files.KEEPS)
    return StandIn(Says(*pieces), passes, away="It is away.", never="I cannot.")


def behind(better: list[Says], stand_in: StandIn) -> FallbackModel:
    for place, model in enumerate(better):
        model.name = f"better {place}"
    return FallbackModel([*better, stand_in], lambda name, error: None, FakeClock())


@pytest.mark.parametrize("sentence", FALLBACKS)
async def test_a_better_model_that_is_there_and_away_is_not_said_to_be_missing(sentence: str) -> None:
    away = LLMError("llm_unavailable", "being started again")
    assert await answer(behind([], standing_in(*sentence))) == [*sentence]
    ladder = behind([Says(away)], standing_in(*sentence))
    for _ in range(2):  # it fails, then it rests
        assert await answer(ladder) == ["It is away."]
    errand = asked(Message("user", "Book a table."))
    assert await answer(ladder, errand) == ["I cannot."]
    assert await answer(behind([Says("Rome.")], standing_in(*sentence))) == ["Rome."]


async def test_what_the_stand_in_knows_it_says_as_ever_and_its_failures_are_told() -> None:
    away, call = LLMError("llm_unavailable", "being started again"), ToolCall("1", "set_timer", "{}")
    assert await answer(behind([Says(away)], standing_in("I a", "m fine."))) == ["I am fine."]
    assert await answer(behind([Says(away)], standing_in(call, "Done."))) == [call, "Done."]
    with pytest.raises(LLMError, match="broken"):
        await answer(behind([Says(away)], standing_in("I ", LLMError("llm_failed", "broken"))))


async def test_the_large_one_does_not_see_that_it_was_away() -> None:
    small, large = Says("That is beyond me."), Says("Rome.")
    answers = (Message("assistant", model_files.AWAY), Message("assistant", model_files.NEVER))
    turns = (Message("user", "what is it"), answers[0], Message("user", "and that"), answers[1], Message("user", "so"))
    await answer(KnownFirst(small, large, model_files.PASSES), asked(*turns))
    assert [message.role for message in large.requests[0].messages] == ["system", "user", "user", "user"]


async def test_that_it_was_passed_on_is_written_down() -> None:
    small, large = Says("That is beyond me."), Says("Rome.")
    small.name, large.name = "small", "large"
    route = FallbackModel([KnownFirst(small, large, PASSES)], lambda name, error: None, FakeClock())
    with recorded() as record:
        assert await answer(route) == ["Rome."]
    assert [(one.model, one.outcome) for one in record.attempts] == [
        ("small", "unsure"),
        ("large, small first", "served"),
    ]
