"""A tiny Llama on transformers: what is read, what is said, what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.model import Sampling, recommended
from pipelines.engines.llm.template import ChatTemplate
from pipelines.engines.llm.transformers_chat import choose_dtype, load_chat
from pipelines.errors import LLMError, ModelError
from pipelines.interfaces.llm import ChatRequest, Cut, Message, Tool, ToolCall, Usage
from pipelines.models.residency import Kept
from pipelines.models.weights import quantization
from pipelines.runtime.worker import session
from tests.fakes.tiny_llama import TEMPLATE, CountedModel, save_tiny_llama, tiny_tokenizer

if TYPE_CHECKING:
    from pipelines.engines.llm.transformers_decode import LoadedChat

SYSTEM = Message("system", "You are a friendly assistant who answers in one short sentence.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def loaded(folder: Path) -> LoadedChat:
    return load_chat(folder, dtype="float32")


@asynccontextmanager
async def serving(model: Any, **settings: Any) -> AsyncIterator[LocalChat]:
    chat = LocalChat(Kept("tiny", model), **settings)
    try:
        yield chat
    finally:
        await chat.close()


def talk(*said: str, max_tokens: int = 12, scene: str = "") -> ChatRequest:
    """User and assistant in turn."""
    roles = ("user", "assistant")
    return ChatRequest((SYSTEM, *(Message(roles[n % 2], text) for n, text in enumerate(said))), scene, max_tokens)


async def answer(chat: LocalChat, request: ChatRequest, owner: str = "") -> str:
    token = session.set(owner)
    try:
        return "".join([str(piece) async for piece in chat.stream(request)])
    finally:
        session.reset(token)


def generated(loaded: LoadedChat, request: ChatRequest) -> str:
    """The answer by transformers' own ``generate``."""
    import torch

    prompt = loaded.template.encode(request, loaded.context).ids
    ids = torch.tensor([prompt])
    out = loaded.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=request.max_tokens, do_sample=False, pad_token_id=0
    )
    said = out[0, len(prompt) :].tolist()
    text = loaded.template.decode(said).lstrip()
    return text.rstrip("\N{REPLACEMENT CHARACTER}") if len(said) == request.max_tokens else text  # half a character


# ---------------------------------------------------------------------------------------------------- the same words


CONVERSATION = [
    ("What is the weather in Paris today?",),
    ("What is the weather in Paris today?", "It is fine", "What should I wear, a coat perhaps?"),
    # the answer was cut to what was heard, and the user went on
    ("What is the weather in Paris today?", "It is —", "No, in Rome, and what should I wear there?"),
    ("Good morning!",),  # another conversation with the same instructions
    ("What is the weather in Paris today?", "It is —", "No, in Rome, and what should I wear there?", "A hat", "Why?"),
]


async def test_the_kept_cache_changes_no_word(loaded: LoadedChat, folder: Path) -> None:
    async with serving(loaded) as chat:
        kept = [await answer(chat, talk(*said)) for said in CONVERSATION]
        goes_on = (CONVERSATION[0][0], kept[0], "And tomorrow?")
        kept.append(await answer(chat, talk(*goes_on)))
    fresh = []
    for said in [*CONVERSATION, goes_on]:
        async with serving(load_chat(folder, dtype="float32")) as chat:
            fresh.append(await answer(chat, talk(*said)))
    assert kept == fresh
    assert kept == [generated(loaded, talk(*said)) for said in [*CONVERSATION, goes_on]]
    assert len(set(kept)) > 1


async def test_only_what_is_new_is_read(loaded: LoadedChat) -> None:
    counted = CountedModel(loaded.model)
    usages: list[Usage] = []
    first, second = talk(*CONVERSATION[0]), talk(*CONVERSATION[1])
    async with serving(loaded, on_usage=usages.append) as chat:
        await answer(chat, first, "anna")
        await answer(chat, second, "anna")
    prompts = [loaded.template.encode(request, loaded.context).ids for request in (first, second)]
    assert [usage.prompt for usage in usages] == [len(prompt) for prompt in prompts]
    assert usages[0].cached == 0
    assert usages[1].cached >= len(prompts[0])
    reads = sum(usage.prompt - usage.cached + usage.answer - 1 for usage in usages)
    assert sum(counted.take()) == reads


async def test_a_long_prompt_is_read_in_chunks(loaded: LoadedChat) -> None:
    from pipelines.engines.llm.transformers_decode import CPU_CHUNK

    counted = CountedModel(loaded.model)
    request = talk("word " * CPU_CHUNK, max_tokens=1)
    async with serving(loaded) as chat:
        await answer(chat, request)
    prompt = len(loaded.template.encode(request, loaded.context).ids)
    calls = counted.take()
    assert sum(calls) == prompt
    assert max(calls) == CPU_CHUNK


async def test_the_scene_does_not_spoil_the_cache(loaded: LoadedChat) -> None:
    usages: list[Usage] = []
    async with serving(loaded, on_usage=usages.append) as chat:
        await answer(chat, talk("Hello there, how are you?", scene="one person"), "anna")
        await answer(chat, talk("Hello there, how are you?", scene="two people, a hand raised"), "anna")
    assert usages[1].cached > usages[0].prompt * 0.7


async def test_sessions_side_by_side_say_what_they_say_alone(folder: Path) -> None:
    requests = [talk(*said, max_tokens=8 + 4 * n) for n, said in enumerate(CONVERSATION[:4])]
    alone = []
    async with serving(load_chat(folder, dtype="float32")) as chat:
        for n, request in enumerate(requests):
            alone.append(await answer(chat, request, f"session {n}"))
    together = load_chat(folder, dtype="float32")
    together.max_batch = 8
    counted = CountedModel(together.model)
    async with serving(together) as chat:
        asked = (answer(chat, request, f"session {n}") for n, request in enumerate(requests))
        assert await asyncio.gather(*asked) == alone
        assert {2, 3, 4} <= set(counted.take())  # one token of each in one call
        again = [talk(request.messages[1].content, alone[n], "Really?") for n, request in enumerate(requests)]
        after = await asyncio.gather(*(answer(chat, request, f"session {n}") for n, request in enumerate(again)))
    async with serving(load_chat(folder, dtype="float32")) as chat:
        assert after == [await answer(chat, request, f"session {n}") for n, request in enumerate(again)]


@pytest.mark.parametrize("batch", [1, 4])
async def test_a_failing_step_is_tried_once_more(loaded: LoadedChat, batch: int) -> None:
    loaded.max_batch = batch
    counted = CountedModel(loaded.model)
    requests = [talk(f"{name}, what is the weather?") for name in ("Anna", "Berta")]
    async with serving(loaded) as chat:
        expected = await asyncio.gather(*(answer(chat, request) for request in requests))
        answers = [chat.stream(request) for request in requests]
        said = [[await anext(pieces)] for pieces in answers]
        counted.broken = 1
        for pieces, heard in zip(answers, said, strict=True):
            heard += [piece async for piece in pieces]
        assert ["".join(map(str, heard)) for heard in said] == expected
        counted.broken = 2 * len(requests) * (1 + batch)
        with pytest.raises(LLMError) as caught:
            await answer(chat, requests[0])
        assert caught.value.code == "llm_failed"
        assert "a part is missing" in caught.value.message
        counted.broken = 0
        assert await answer(chat, requests[1]) == expected[1]


@pytest.mark.parametrize("batch", [1, 4])
async def test_an_answer_that_no_token_can_be_drawn_for_fails_alone(
    loaded: LoadedChat, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.engines.llm import transformers_decode

    loaded.max_batch = batch
    drawn = transformers_decode.choose

    def choose(logits: Any, sampling: Any, random: Any) -> int:
        if sampling.temperature == 0.125:
            raise RuntimeError("probability tensor contains nan")
        return drawn(logits, sampling, random)

    monkeypatch.setattr(transformers_decode, "choose", choose)
    good = talk("Anna, what is the weather?")
    bad = replace(talk("Berta, what is the weather?"), temperature=0.125)
    async with serving(loaded) as chat:
        expected = await answer(chat, good)
        told = await asyncio.gather(answer(chat, good), answer(chat, bad), answer(chat, good), return_exceptions=True)
    assert [told[0], told[2]] == [expected, expected]
    assert isinstance(told[1], LLMError)
    assert told[1].code == "llm_failed"


def test_temperatures_near_0_draw_the_likeliest() -> None:
    import torch

    from pipelines.engines.llm import transformers_decode

    logits, random = torch.tensor([-3.0, 5.0, 4.999, float("-inf")]), torch.Generator().manual_seed(1)
    for temperature in (1e-40, 1e-320, 1e-5):
        assert transformers_decode.choose(logits, Sampling(temperature=temperature), random) == 1
        assert transformers_decode.choose(logits, Sampling(temperature=temperature, top_p=0.5), random) == 1


# ---------------------------------------------------------------------------------------------------- step by step


class Steps:
    """Counts the steps of a model."""

    def __init__(self, model: Any) -> None:
        self.count = 0
        step = model.step

        def counted(batch: Any) -> Any:
            self.count += 1
            return step(batch)

        model.step = counted


async def test_an_answer_that_reaches_its_limit_says_so(loaded: LoadedChat) -> None:
    loaded.stops = frozenset()
    async with serving(loaded) as chat:
        assert [piece async for piece in chat.stream(talk("Hello?", max_tokens=3))][-1] == Cut()


LONG = talk("Tell me a long story", max_tokens=300)
SHORT = talk("Hello?", max_tokens=5)


async def test_closing_the_generator_frees_the_model(loaded: LoadedChat) -> None:
    steps = Steps(loaded)
    async with serving(loaded) as chat:
        expected = await answer(chat, SHORT)
        needed, steps.count = steps.count, 0
        async with aclosing(chat.stream(LONG)) as pieces:
            assert await anext(pieces)
        before = steps.count
        assert await answer(chat, SHORT) == expected
    assert steps.count - before <= needed + 1  # the step in hand when the story was given up


async def test_a_newcomer_does_not_wait_for_the_end_of_another_answer(loaded: LoadedChat) -> None:
    steps = Steps(loaded)
    async with serving(loaded) as chat:
        expected = await answer(chat, SHORT)
        needed = steps.count
        async with aclosing(chat.stream(LONG)) as pieces:
            assert await anext(pieces)
            before = steps.count
            assert await answer(chat, SHORT) == expected
            assert steps.count - before <= 2 * needed + 40  # the event loop may be told late
            assert await anext(pieces)


async def test_an_answer_ends_where_the_model_says(loaded: LoadedChat) -> None:
    tokens: list[int] = []
    step = loaded.step

    def noted(batch: Any) -> Any:
        out = step(batch)
        tokens.extend(token for token in out if token is not None)
        return out

    loaded.step = noted
    async with serving(loaded) as chat:
        await answer(chat, talk("Hello?", max_tokens=12))
        whole, at = list(tokens), tokens.index(tokens[4])
        loaded.stops |= {whole[4]}
        said = await answer(chat, talk("Hello?", max_tokens=12))
    assert said == loaded.template.decode(whole[:at]).lstrip()


async def test_a_prompt_that_is_too_long_loses_its_oldest_turns(loaded: LoadedChat) -> None:
    loaded.context = 512
    turns = [text for n in range(30) for text in (f"My number is {n}, remember it", "Yes")]
    request = talk(*turns, "What now?", max_tokens=20)
    prompt = loaded.template.decode(loaded.template.encode(request, loaded.context).ids)
    assert SYSTEM.content in prompt
    assert "Earlier, the user said: " in prompt
    assert prompt.rindex("What now?") > prompt.index("My number is 29")
    async with serving(loaded) as chat:
        assert await answer(chat, request)
        assert await answer(chat, talk(f"{'word ' * 600}What now?", max_tokens=4))
        with pytest.raises(LLMError) as caught:
            await answer(chat, ChatRequest((Message("system", "word " * 600), Message("user", "What now?"))))
    assert caught.value.code == "llm_context_full"


async def test_drawing_among_the_likeliest(loaded: LoadedChat) -> None:
    async with serving(loaded) as chat:
        greedy = await answer(chat, SHORT)
    async with serving(loaded, sampling=Sampling(temperature=1.0, top_k=1)) as chat:
        assert await answer(chat, SHORT) == greedy
    async with serving(loaded, sampling=Sampling(temperature=30.0, seed=3)) as chat:
        assert await answer(chat, SHORT) != greedy


async def test_a_seed_repeats_an_answer(loaded: LoadedChat) -> None:
    async with serving(loaded, sampling=Sampling(temperature=2.0, top_p=0.9, seed=3)) as chat:
        assert await answer(chat, SHORT) == await answer(chat, SHORT)


# ---------------------------------------------------------------------------------------------------- templates


def template(text: str) -> ChatTemplate:
    return ChatTemplate(tiny_tokenizer(template=text), "tiny")


PLAIN = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + PLAIN
TOOLS = (Tool("light", "Switches a lamp."),)


def prompt(text: str, *messages: Message, tools: tuple[Tool, ...] = ()) -> str:
    chosen = template(text)
    return chosen.decode(chosen.encode(ChatRequest(messages, "", 10, tools), 4096).ids)


def test_a_template_without_a_system_message() -> None:
    assert prompt(NO_SYSTEM, SYSTEM, Message("user", "Hi")) == f"[user] {SYSTEM.content}\n\nHi\n"


def test_a_template_that_refuses_the_messages() -> None:
    with pytest.raises(LLMError) as caught:
        prompt(
            "{% if messages|length > 3 %}{{ raise_exception('enough') }}{% endif %}" + PLAIN,
            SYSTEM,
            Message("user", "a"),
            Message("assistant", "b"),
            Message("user", "c"),
        )
    assert caught.value.code == "llm_template"
    assert "enough" in caught.value.message


TURNS = (
    "{% for m in messages if m.role != 'system' %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + PLAIN
)


@pytest.mark.parametrize("system", [(), (SYSTEM,)])
def test_a_template_that_wants_the_user_first_learns_what_the_assistant_said_before(
    system: tuple[Message, ...],
) -> None:
    talk = (*system, Message("assistant", "Tea or coffee?"), Message("user", "Tea"))
    rules = f"[system] {SYSTEM.content}\n" if system else ""
    assert prompt(TURNS, *talk) == f"{rules}[user] Hello.\n[assistant] Tea or coffee?\n[user] Tea\n"
    assert prompt(PLAIN, *talk) == f"{rules}[assistant] Tea or coffee?\n[user] Tea\n"


def test_a_template_without_tools_gets_them_in_words() -> None:
    call = ToolCall("1", "light", '{"on": true}')
    said = (SYSTEM, Message("user", "Light!"), Message("assistant", "", (call,)), Message("tool", "done", (), "1"))
    text = prompt(PLAIN, *said, tools=TOOLS)
    assert "Switches a lamp." in text
    assert '[assistant] <tool_call>\n{"name": "light", "arguments": {"on": true}}\n</tool_call>' in text
    assert "[user] <tool_response>\ndone\n</tool_response>" in text


def test_a_template_with_tools() -> None:
    call = ToolCall("1", "light", '{"on": true}')
    said = (SYSTEM, Message("user", "Light!"), Message("assistant", "", (call,)), Message("tool", "done", (), "1"))
    text = prompt(TEMPLATE, *said, tools=TOOLS)
    assert text.count("Switches a lamp.") == 1
    assert '<tool_call>{"name": "light", "arguments": {"on": true}}</tool_call>' in text
    assert "<tool_response>" not in text


def test_what_ends_an_answer_is_read_off_the_template(loaded: LoadedChat) -> None:
    assert loaded.stops == {0, 2}


# ---------------------------------------------------------------------------------------------------- loading


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_chat(tmp_path)
    assert caught.value.code == "model_broken"
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError) as caught:
        load_chat(tmp_path)
    assert caught.value.code == "model_broken"


def test_a_model_that_does_not_chat(tmp_path: Path) -> None:
    tiny_tokenizer(template=None).save_pretrained(tmp_path)
    with pytest.raises(ModelError) as caught:
        load_chat(tmp_path)
    assert caught.value.code == "model_not_chat"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"dtype": "int3"}, "dtype_unknown", "float32"),
        ({"quantization": "2bit"}, "quantization_unavailable", "4bit"),
        ({"quantization": "4bit"}, "quantization_unavailable", "pip install bitsandbytes"),
        ({"quantization": "8bit"}, "quantization_unavailable", "pip install torchao"),
        ({"device": "cuda"}, "device_unavailable", "cpu"),
    ],
)
def test_settings_that_cannot_be(
    options: dict[str, str], code: str, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(LLMError) as caught:
        load_chat(folder, **options)
    assert caught.value.code == code
    assert words in caught.value.message


def test_bfloat16_only_where_the_processor_computes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for has, chosen in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda has=has: {"avx512_bf16": has})
        assert choose_dtype("cpu", "auto") == chosen
    assert choose_dtype("cuda", "float16") == torch.float16


def test_what_the_makers_recommend() -> None:
    assert recommended(SimpleNamespace(do_sample=False, temperature=0.7)) == Sampling()
    config = SimpleNamespace(do_sample=True, temperature=0.7, top_p=0.8, top_k=20)
    assert recommended(config) == Sampling(0.7, 0.8, 20)
    assert recommended(SimpleNamespace(do_sample=True, temperature=None)) == Sampling(1.0)
