"""Who is served when, on a model that says what the test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pipelines.engines.llm.local import ChatLimits, LocalChat
from pipelines.engines.llm.model import Sampling
from pipelines.engines.llm.slots import Slots
from pipelines.engines.llm.template import Prompt
from pipelines.errors import EngineBusyError, LLMError, ModelError, PipelineError
from pipelines.interfaces.llm import ChatRequest, Cut, Message, Piece, Scaled, Tool, ToolCall, Usage
from pipelines.models.residency import Kept
from pipelines.runtime.worker import session

END = 0


@dataclass(eq=False)
class Answer:
    said: str
    cached: int = 0
    at: int = -1


class Letters:
    """Repeats the question letter by letter; reading it is a step of its own. Implements ``ChatModel``."""

    context = 100
    stops = frozenset({END})
    sampling = Sampling()

    def __init__(self, max_batch: int = 1) -> None:
        self.template: Any = self
        self.max_batch = max_batch
        self.steps: list[str] = []
        """Whose turn it was, by the first letter."""
        self.open = 0

    def encode(self, request: ChatRequest, context: int) -> Prompt:
        text = request.messages[-1].content
        if text == "too long":
            raise LLMError("llm_context_full", "too long")
        return Prompt([ord(letter) for letter in text], request)

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))

    def begin(self, prompt: Prompt, sampling: Sampling, limit: int, owner: str, adapters: Scaled = ()) -> Answer:
        self.open += 1
        return Answer(self.decode(prompt.ids))

    def step(self, batch: Sequence[Answer]) -> list[int | Exception | None]:
        assert len(batch) <= self.max_batch
        out: list[int | Exception | None] = []
        for answer in batch:
            self.steps.append(answer.said[0])
            letters = [None, *map(ord, answer.said), END]
            answer.at += 1
            letter = letters[answer.at]
            out.append(RuntimeError("first line\nsecond line") if letter == ord("!") else letter)
        return out

    def end(self, answer: Answer) -> None:
        self.open -= 1


def question(text: str, max_tokens: int = 99, tools: tuple[Tool, ...] = ()) -> ChatRequest:
    return ChatRequest((Message("user", text),), "", max_tokens, tools)


async def answer(chat: LocalChat, text: str, owner: str = "", **settings: Any) -> list[Piece]:
    token = session.set(owner)
    try:
        return [piece async for piece in chat.stream(question(text, **settings))]
    finally:
        session.reset(token)


async def failure(chat: LocalChat, text: str) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        await answer(chat, text)
    return caught.value


async def together(chat: LocalChat, *asked: tuple[str, str]) -> list[str]:
    """Ask for all at the same moment: none is begun before the last is asked."""
    with chat._changed:
        tasks = [asyncio.create_task(answer(chat, text, owner)) for text, owner in asked]
        for _ in range(2):
            await asyncio.sleep(0)
    return ["".join(map(str, said)) for said in await asyncio.gather(*tasks)]


async def test_an_answer_in_pieces_and_what_it_cost() -> None:
    usages: list[Usage] = []
    chat = LocalChat(Kept("letters", Letters()), on_usage=usages.append)
    assert chat.name == "letters"
    assert await answer(chat, "zebra") == ["z", "e", "b", "r", "a"]
    assert await answer(chat, "zebra", max_tokens=2) == ["z", "e", Cut()]
    assert usages == [Usage(5, 0, 6), Usage(5, 0, 2)]
    await chat.close()


async def test_a_request_may_have_its_own_sampling_and_is_told_its_own_cost() -> None:
    begun: list[Sampling] = []

    class Noting(Letters):
        sampling = Sampling(0.7, 0.8, 40)

        def begin(self, prompt: Prompt, sampling: Sampling, limit: int, owner: str, adapters: Scaled = ()) -> Answer:
            begun.append(sampling)
            return super().begin(prompt, sampling, limit, owner)

    chat, usages = LocalChat(Kept("letters", Noting())), list[Usage]()
    plain = question("ab")
    for request in (plain, replace(plain, temperature=0.0, top_p=0.5, seed=3, on_usage=usages.append)):
        assert "".join([str(piece) async for piece in chat.stream(request)]) == "ab"
    assert begun == [Sampling(0.7, 0.8, 40), Sampling(0.0, 0.5, 40, 3)]
    assert usages == [Usage(2, 0, 3)]
    await chat.close()


async def test_a_limit_within_a_character_leaves_nothing_of_it() -> None:
    class Bytes(Letters):
        def encode(self, request: ChatRequest, context: int) -> Prompt:
            return Prompt(list(request.messages[-1].content.encode()), request)

        def decode(self, ids: Sequence[int]) -> str:
            return bytes(ids).decode(errors="replace")

        def begin(self, prompt: Prompt, sampling: Sampling, limit: int, owner: str, adapters: Scaled = ()) -> Answer:
            self.open += 1
            return Answer("".join(map(chr, prompt.ids)))

    chat = LocalChat(Kept("bytes", Bytes()))
    for limit, said in ((1, ""), (4, "🙂"), (5, "🙂"), (6, "🙂"), (7, "🙂€"), (8, "🙂€?")):
        *words, end = await answer(chat, "🙂€?", max_tokens=limit)
        assert ("".join(map(str, words)), end) == (said, Cut())
    assert Cut() not in await answer(chat, "🙂€?", max_tokens=9)
    await chat.close()


async def test_a_prompt_that_opens_a_thought_leaves_its_end_to_the_answer() -> None:
    chat = LocalChat(Kept("letters", Letters()))
    said = await answer(chat, "my thought</think>Yes. <think>")
    assert "".join(map(str, said)).strip() == "Yes."
    await chat.close()


@pytest.mark.parametrize("batch", [1, 2, 4])
async def test_sessions_advance_in_turn(batch: int) -> None:
    model = Letters(batch)
    chat = LocalChat(Kept("letters", model))
    assert await together(chat, ("aaaa", "a"), ("bbbb", "b"), ("cccc", "c")) == ["aaaa", "bbbb", "cccc"]
    assert sorted(model.steps) == sorted("aaaabbbbcccc" + "abc" * 2)
    rounds = [set(model.steps[n : n + 3]) for n in range(0, 15, 3)]
    assert rounds == [set("abc")] * 5
    assert model.open == 0
    await chat.close()


async def test_a_session_that_asks_often_takes_no_turns_from_another() -> None:
    model = Letters()
    chat = LocalChat(Kept("letters", model))
    await together(chat, ("aaaa", "greedy"), ("bbbb", "greedy"), ("cccc", "greedy"), ("dddd", "modest"))
    until = len(model.steps) - model.steps[::-1].index("d")
    assert model.steps[:until].count("d") == 6
    assert until <= 2 * 6
    await chat.close()


async def test_those_who_wait_are_admitted_by_session() -> None:
    model = Letters()
    chat = LocalChat(Kept("letters", model), limits=ChatLimits(answers=2))
    await together(chat, ("a", "greedy"), ("b", "greedy"), ("c", "greedy"), ("d", "modest"))
    assert list(dict.fromkeys(model.steps)) == ["a", "d", "b", "c"]
    await chat.close()


async def test_one_more_than_may_wait_is_refused() -> None:
    chat = LocalChat(Kept("letters", Letters()), limits=ChatLimits(answers=1, waiting=2))
    with chat._changed:
        tasks = [asyncio.create_task(answer(chat, "xyz")) for _ in range(2)]
        await asyncio.sleep(0)
        error = await failure(chat, "d")
    assert isinstance(error, EngineBusyError)
    assert [len(said) for said in await asyncio.gather(*tasks)] == [3, 3]
    await chat.close()


async def test_who_gives_up_is_not_served_any_more() -> None:
    model = Letters()
    chat = LocalChat(Kept("letters", model), limits=ChatLimits(answers=1))
    async with aclosing(chat.stream(question("a" * 90))) as pieces:
        await anext(pieces)
    waiting = asyncio.create_task(answer(chat, "b"))
    await asyncio.sleep(0)
    waiting.cancel()
    model.steps.clear()
    assert await answer(chat, "c") == ["c"]
    assert model.steps.count("a") <= 1
    assert model.open == 0
    await chat.close()


async def test_a_failure_is_one_request_s_own() -> None:
    chat = LocalChat(Kept("letters", Letters(4)))
    good, bad = asyncio.create_task(answer(chat, "dddd", "d")), asyncio.create_task(failure(chat, "b!"))
    error = await bad
    assert (error.code, error.message) == ("llm_failed", "letters: first line")
    assert len(await good) == 4
    assert (await failure(chat, "too long")).code == "llm_context_full"
    assert await answer(chat, "c") == ["c"]
    await chat.close()


async def test_tools_are_called_only_when_there_are_any() -> None:
    call = '{"name": "light", "arguments": {"on": 1}}'
    chat = LocalChat(Kept("letters", Letters()))
    said = await answer(chat, call, tools=(Tool("light", "Switches a lamp."),))
    assert [(call.name, call.arguments) for call in said if isinstance(call, ToolCall)] == [("light", '{"on": 1}')]
    assert "".join(map(str, await answer(chat, call))) == call
    error = None
    try:
        await answer(chat, "<tool_call>on</tool_call>", tools=(Tool("light", "Switches a lamp."),))
    except LLMError as caught:
        error = caught
    assert error is not None and error.code == "tool_call_invalid"
    await chat.close()


class Absent:
    """A model that cannot be loaded, until it can."""

    name = "absent"
    broken = True

    def lease(self) -> Any:
        if self.broken:
            raise ModelError("model_broken", "half of it is missing")
        return Kept("absent", Letters()).lease()


async def test_a_model_that_cannot_be_loaded_fails_those_who_asked() -> None:
    resident = Absent()
    chat = LocalChat(resident)
    error = await failure(chat, "a")
    assert isinstance(error, LLMError)
    assert (error.code, error.message) == ("model_broken", "half of it is missing")
    resident.broken = False
    assert await answer(chat, "a") == ["a"]
    await chat.close()


async def test_closing_refuses_those_who_wait_and_those_who_come() -> None:
    chat = LocalChat(Kept("letters", Letters()), limits=ChatLimits(answers=1))
    with chat._changed:
        waiting = asyncio.create_task(failure(chat, "a"))
        await asyncio.sleep(0)
        await chat.close()
    await chat.close()
    assert (await waiting).code == "engine_closed"
    assert (await failure(chat, "b")).code == "engine_closed"


# ---------------------------------------------------------------------------------------------------- slots


@dataclass
class Lists:
    """Caches that are counts; remembers what was done."""

    able: bool = True
    copied: list[int] = field(default_factory=list)

    def new(self) -> list[int]:
        return []

    def crop(self, cache: list[int], length: int) -> bool:
        if self.able:
            del cache[length:]
        return self.able

    def copy(self, cache: list[int], length: int) -> list[int] | None:
        self.copied.append(length)
        return cache[:length] if self.able else None


def converse(slots: Slots[list[int]], prompt: list[int], owner: str = "", answer: int = 5) -> int:
    """One turn; returns how many tokens of the prompt were known."""
    slot = slots.take(prompt, owner)
    known = len(slot.tokens)
    assert slot.cache == slot.tokens == prompt[:known]
    slot.tokens += [*prompt[known:], *range(1000, 1000 + answer)]
    slot.cache[:] = slot.tokens
    slots.give_back(slot)
    return known


SYSTEM, ANNA, BERTA = list(range(40)), list(range(100, 150)), list(range(200, 250))


@pytest.mark.parametrize("owner", ["", "anna"])
def test_a_turn_finds_the_turn_before(owner: str) -> None:
    slots = Slots(Lists())
    first = [*SYSTEM, *ANNA]
    assert converse(slots, first, owner) == 0
    assert converse(slots, [*first, 1000, 1001, 7, 8], owner) == len(first) + 2  # cut in the middle of the answer
    assert converse(slots, [*first, 1000, 1001, 7, 8], owner) == len(first) + 3  # the last is always read
    assert len(slots) == 1


def test_conversations_with_the_same_instructions_do_not_take_each_other_s_slot() -> None:
    caches = Lists()
    slots = Slots(caches)
    converse(slots, [*SYSTEM, *ANNA], "anna")
    assert converse(slots, [*SYSTEM, *BERTA], "berta") == len(SYSTEM)
    assert caches.copied == [len(SYSTEM)]
    assert converse(slots, [*SYSTEM, *ANNA, 7], "anna") == len(SYSTEM) + len(ANNA)
    assert converse(slots, [*SYSTEM, *BERTA, 7], "berta") == len(SYSTEM) + len(BERTA)


def test_a_short_beginning_is_not_worth_a_copy() -> None:
    caches = Lists()
    slots = Slots(caches)
    converse(slots, [1, 2, *ANNA], "anna")
    assert converse(slots, [1, 2, *BERTA], "berta") == 0
    assert not caches.copied


def test_the_longest_unused_are_forgotten() -> None:
    slots = Slots(Lists(), most=2)
    for tokens in (ANNA, BERTA, SYSTEM):
        converse(slots, tokens)
    assert len(slots) == 2
    assert converse(slots, BERTA) == len(BERTA) - 1
    assert converse(slots, ANNA) == 0
    slots = Slots(Lists(), tokens=100)
    for tokens in (ANNA, BERTA):
        converse(slots, tokens)
    assert len(slots) == 1
    slots.drop_idle()
    assert len(slots) == 0


def test_busy_slots_are_not_forgotten() -> None:
    slots = Slots(Lists(), most=1)
    busy = [slots.take([*tokens, 1]) for tokens in (ANNA, BERTA)]
    assert len(slots) == 2
    slots.give_back(busy[0])
    assert len(slots) == 1
    slots.drop(busy[1])
    assert len(slots) == 0  # it was the busy one that had stayed


def test_caches_that_cannot_be_cut_are_used_only_to_go_on() -> None:
    slots = Slots(Lists(able=False))
    converse(slots, SYSTEM, "anna", answer=0)
    assert converse(slots, [*SYSTEM, 1, 2], "anna", answer=0) == len(SYSTEM)
    assert converse(slots, [*SYSTEM, 3, 4], "anna", answer=0) == 0
