"""LoRA adapters on a tiny Llama: each row its own, mixed, switched, merged, come and gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.transformers_chat import load_chat
from pipelines.errors import LLMError, ModelError
from pipelines.interfaces.llm import ChatRequest, Message, Scaled, Usage, adapters_of
from pipelines.models.residency import Kept
from pipelines.models.weights.adapters import WEIGHTS, Adapters, read_adapter
from pipelines.routing.routes.llm import FallbackModel
from tests.fakes.engines import FakeModel
from tests.fakes.tiny_llama import save_tiny_llama
from tests.fakes.tiny_lora import added, save_tiny_lora

pytest.importorskip("peft", reason="the extra `adapters` is not installed")

if TYPE_CHECKING:
    from pipelines.engines.llm.transformers_decode import LoadedChat

QUESTION = (Message("user", "What is the weather in Paris today?"),)
IDS = [5, 6, 7, 8, 9]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model ``base``, and ``A`` and ``B``, adapters of it on different layers, of different ranks."""
    place = tmp_path_factory.mktemp("lora")
    model = load_chat(save_tiny_llama(place / "base"), dtype="float32").model
    save_tiny_lora(place / "A", model)
    save_tiny_lora(place / "B", model, rank=2, targets=("q_proj", "down_proj"), seed=2)
    return place


def plain(place: Path) -> Any:
    return load_chat(place / "base", dtype="float32").model


def logits(model: Any, rows: int = 1) -> Any:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([IDS] * rows)).logits


@pytest.fixture
def known(place: Path) -> Adapters:
    known = Adapters()
    for name in "AB":
        known.add(read_adapter(name, place / name))
    known.mix("both", {"A": 0.5, "B": 0.25})
    return known


@pytest.fixture
def loaded(place: Path, known: Adapters) -> LoadedChat:
    return load_chat(place / "base", dtype="float32", adapters=known)


@pytest.fixture
def chat(loaded: LoadedChat, known: Adapters) -> Iterator[LocalChat]:
    yield (chat := LocalChat(Kept("tiny", loaded), adapters=known))
    chat._closed = True  # as close() does
    with chat._changed:
        chat._changed.notify()


def test_what_each_adapter_comes_to_and_the_base_is_bit_for_bit_what_it_was(place: Path, known: Adapters) -> None:
    import torch

    from pipelines.engines.llm.lora import LoraRows

    model = plain(place)
    before = logits(model)
    rows = LoraRows(model)
    names = [rows.name(known.parts(((name, 1.0),))) for name in ("A", "B", "both")]
    wanted = [
        logits(added(plain(place), place / "A")),
        logits(added(plain(place), place / "B")),
        logits(added(added(plain(place), place / "A", 0.5), place / "B", 0.25)),
    ]
    for name, reference in zip(names, wanted, strict=True):
        rows.choose([name])
        found = logits(model)
        torch.testing.assert_close(found, reference, atol=1e-4, rtol=1e-5)
        assert (found - before).abs().max() > 0.1
        rows.choose([""])
        assert torch.equal(logits(model), before)
    rows.choose([names[0], "", names[1], names[2]])  # one batch, each row its own
    together = logits(model, 4)
    for row, reference in zip(together, (wanted[0], before, wanted[1], wanted[2]), strict=True):
        torch.testing.assert_close(row, reference[0], atol=1e-4, rtol=1e-5)
    rows.forget(names)
    rows.choose([""])
    assert torch.equal(logits(model), before)
    rows.choose([rows.name(known.parts((("B", 1.0),)))])  # it comes back
    torch.testing.assert_close(logits(model), wanted[1], atol=1e-4, rtol=1e-5)


def test_merged_weights_say_the_same_and_are_a_plain_model(place: Path, known: Adapters) -> None:
    import torch

    from pipelines.engines.llm.lora import LoraRows, merged

    model = plain(place)
    rows = LoraRows(model)
    parts = known.parts((("A", 0.5), ("B", -0.5)))
    rows.choose([rows.name(parts)])
    found = merged(plain(place), parts)
    torch.testing.assert_close(logits(found), logits(model), atol=1e-4, rtol=1e-5)
    assert set(found.state_dict()) == set(plain(place).state_dict())


async def said(chat: Any, adapters: Scaled = (), told: list[Usage] | None = None) -> str:
    request = ChatRequest(
        QUESTION,
        max_tokens=12,
        adapters=adapters,
        on_usage=None if told is None else told.append,
    )
    async with aclosing(chat.stream(request)) as pieces:
        return "".join([str(piece) async for piece in pieces])


async def test_each_answer_is_that_of_its_adapter_and_no_cache_is_read_with_another(
    place: Path, chat: LocalChat
) -> None:
    words = {}
    for name in ("", "A", "B"):
        model = plain(place) if not name else added(plain(place), place / name)
        model.save_pretrained(folder := place / f"as-{name or 'base'}")
        for file in (place / "base").glob("*token*"):
            (folder / file.name).write_bytes(file.read_bytes())
        for file in (place / "base").glob("*.jinja"):
            (folder / file.name).write_bytes(file.read_bytes())
        other = LocalChat(Kept("by hand", load_chat(folder, dtype="float32")))
        words[name] = await said(other)
        await other.close()
    assert len(set(words.values())) == 3
    assert adapters_of(chat) == ("A", "B", "both")
    told: list[Usage] = []
    for name in ("A", "", "B", "A", ""):
        assert await said(chat, ((name, 1.0),) if name else (), told) == words[name]
    assert [usage.cached > 0 for usage in told] == [False, False, False, True, True]  # only what it has read itself
    assert told[3].cached == told[4].cached == told[0].prompt - 1


async def test_who_lacks_an_adapter_answers_as_it_is_where_it_is_only_wished_for(chat: LocalChat) -> None:
    ladder = FallbackModel([FakeModel("never"), chat], lambda name, error: None)
    plain, calm = await said(chat), await said(chat, (("A", 1.0),))
    assert await said(ladder, (("A", 1.0),)) == calm != plain, "who lacks it is passed over"
    wish = ChatRequest(QUESTION, max_tokens=12, adapters=(("A", 1.0), ("gone", 1.0)), adapters_needed=False)
    async with aclosing(chat.stream(wish)) as pieces:
        assert "".join([str(piece) async for piece in pieces]) == calm
    async with aclosing(ladder.stream(wish)) as pieces:
        assert "".join([str(piece) async for piece in pieces]).strip() == "never"


async def test_answers_with_different_adapters_advance_in_one_batch(place: Path, loaded: LoadedChat) -> None:
    from pipelines.engines.llm.model import Sampling
    from pipelines.engines.llm.template import Prompt

    def run(wanted: list[Scaled]) -> list[list[int]]:
        request = ChatRequest(())
        answers = [loaded.begin(Prompt(IDS, request), Sampling(), 8, f"{n}", some) for n, some in enumerate(wanted)]
        for _ in range(7):
            loaded.step(answers)
        for answer in answers:
            loaded.end(answer)
        return [answer.ids for answer in answers]

    mixes: list[Scaled] = [(("A", 1.0),), (), (("B", 1.0),), (("both", 1.0),), (("A", 0.5), ("B", 0.25))]
    alone = [run([one])[0] for one in mixes]
    assert run(mixes) == alone
    assert alone[3] == alone[4], "a mix is what it is made of"
    assert len({tuple(ids) for ids in alone}) == 4


async def test_an_adapter_that_is_unloaded_leaves_the_model_and_its_name_can_mean_another(
    place: Path, chat: LocalChat, loaded: LoadedChat, known: Adapters
) -> None:
    first = await said(chat, (("A", 1.0),))
    second = await said(chat, (("B", 1.0),))
    with pytest.raises(ModelError, match="part of the mix both"):
        known.remove("A")
    known.remove("both")
    known.remove("A")
    with pytest.raises(LLMError) as caught:
        await said(chat, (("A", 1.0),))
    assert caught.value.code == "adapters_unsupported"
    known.add(read_adapter("A", place / "B"))
    assert await said(chat, (("A", 1.0),)) == second != first
    assert loaded._lora is not None
    assert len(loaded._lora.loaded) == 2


async def test_mixes_that_nobody_asked_for_lately_are_taken_off(loaded: LoadedChat, chat: LocalChat) -> None:
    for n in range(11):
        await said(chat, (("A", 0.1 + n / 10), ("B", 0.5)))
    assert loaded._lora is not None
    assert len(loaded._lora.loaded) <= 2 + 9


def _no_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"nonsense")


def _of_another(folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps({**config, "r": 3}), "utf-8")


def _of_other_layers(folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps({**config, "target_modules": ["c_attn"]}), "utf-8")


def _of_more_layers(folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    more = {**config, "target_modules": ["q_proj", "v_proj", "up_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(more), "utf-8")


@pytest.mark.parametrize("spoil", [_no_weights, _of_another, _of_other_layers, _of_more_layers])
async def test_an_adapter_that_does_not_fit_fails_its_own_requests_and_no_model_rests_for_it(
    spoil: Any, place: Path, tmp_path: Path, chat: LocalChat, known: Adapters, loaded: LoadedChat
) -> None:
    spoil(save_tiny_lora(tmp_path / "bad", loaded.model))
    known.add(read_adapter("bad", tmp_path / "bad"))
    ladder = FallbackModel([chat, FakeModel("never")], lambda name, error: None)
    before = await said(ladder)
    with pytest.raises(LLMError) as caught:
        await said(ladder, (("bad", 1.0),))
    assert caught.value.code == "adapter_broken"
    assert "bad" in caught.value.message
    assert await said(ladder) == before
    assert await said(ladder, (("A", 1.0),)) not in ("never", before)
