"""Who thinks when a GGUF is here, comes later, is asked for or ends in the middle of an answer; on a stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from media.clock import Clock
from pipelines.engines.llm import llama_process
from pipelines.engines.llm.llama import LlamaChat, gguf_in
from pipelines.errors import DefinitionError, LLMError, ModelError
from pipelines.interfaces.llm import ChatRequest, LanguageModel, Message, adapters_of
from pipelines.models import catalogue as catalogues
from pipelines.models.catalogue import Catalogue, Model, hub_gguf
from pipelines.models.sources_http import Downloader
from pipelines.models.sources_hub import Hub
from pipelines.models.store import ModelFiles, ModelStore
from pipelines.routing.definition import load
from pipelines.routing.known_first import KnownFirst
from pipelines.routing.routes.llm import FallbackModel
from pipelines.starter import model_files
from server.engines.parts import Parts
from server.engines.stages import llm
from server.settings import load_settings
from tests.fakes import llama_process as stand_in
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeModel
from tests.fakes.file_server import FileServer

MODEL = "tiny-gguf"
KNOWN, UNKNOWN = "what is two plus three", "what is the capital of france"
RULES = str(load(load_settings({}).pipeline).pipelines[0].stage("text_generation").options["instructions"])  # type: ignore[union-attr]


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_process, "__file__", stand_in.__file__)
    monkeypatch.setattr("server.engines.model_servers._named", lambda parts, model: [])


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A user's folder with a model."""
    (tmp_path / "models" / MODEL).mkdir(parents=True)
    (tmp_path / "models" / MODEL / "tiny.gguf").write_bytes(b"weights")
    return tmp_path / "models"


CATALOGUE = Catalogue.model_validate(
    {
        "models": [
            {
                "id": MODEL,
                "task": "chat",
                "licence": "MIT",
                "description": "for tests",
                "requires": "xllamacpp",
                "folder": {"files": ["*.gguf"]},
                "sources": [{"dir": "."}],
                "chat": {"prompt": "Be brief.", "surroundings": False, "tools": False, "starter_first": True},
            }
        ]
    }
)


def parts(cache: Path, folder: Path | None = None, clock: Clock | None = None, **flags: object) -> Parts:
    settings = load_settings({"cache": cache / "cache", "models": folder, **flags})
    made = Parts(settings, load(settings.pipeline), lambda line: None)
    made.clock = clock or made.clock
    made.store = ModelStore(settings.model_cache, folder, catalogue=CATALOGUE)
    return made


@asynccontextmanager
async def thinking(made: Parts) -> AsyncIterator[FallbackModel]:
    engine = await llm(made)
    assert isinstance(engine, FallbackModel)
    try:
        yield engine
    finally:
        await engine.close()


async def answer(model: LanguageModel, *said: str, rules: str = RULES) -> str:
    messages = (Message("system", rules), *(Message("user", line) for line in said))
    return "".join([str(piece) async for piece in model.stream(ChatRequest(messages))]).strip()


def reason(made: Parts) -> str:
    (row,) = [row for row in made.choices.status() if row.stage == "llm"]
    return row.reason


# ------------------------------------------------------------------------------------------------ which model


async def test_the_starter_says_what_it_knows_and_the_model_that_is_here_the_rest(tmp_path: Path, models: Path) -> None:
    made = parts(tmp_path, models)
    async with thinking(made) as engine:
        assert engine.name == f"llama.cpp {MODEL}, starter first"
        assert await answer(engine, KNOWN) == "Two plus three is five."
        assert await answer(engine, UNKNOWN) == f"You said: {UNKNOWN}"
        assert not made.later
    assert "llama.cpp in a process of its own" in reason(made)
    assert "starter first" in reason(made)
    assert "then starter stands by" not in reason(made)


async def test_a_model_that_comes_later_takes_over(tmp_path: Path, models: Path) -> None:
    made = parts(tmp_path)
    async with thinking(made) as engine:
        assert engine.name == "starter"
        assert "small built-in model" in await answer(engine, UNKNOWN)
        (better,) = made.later

        async def fetch(model_id: str) -> ModelFiles:
            made.store.folder = models
            found = made.store.here(model_id)
            assert found is not None
            return found

        made.fetch = fetch  # type: ignore[method-assign]
        await better()
        assert engine.name == f"llama.cpp {MODEL}, starter first"
        assert await answer(engine, UNKNOWN) == f"You said: {UNKNOWN}"
        (row,) = made.choices.status()
        assert (row.engine, row.ok) == (engine.name, True)


async def test_a_server_that_was_found_meanwhile_stays_first(tmp_path: Path, models: Path) -> None:
    made = parts(tmp_path)
    async with thinking(made) as engine:
        served = FakeModel("Served.", LLMError("llm_unreachable", "gone"))
        served.name = "served"
        engine.prefer(served)
        made.choices.replace("llm", "served", "found")

        async def fetch(model_id: str) -> ModelFiles:
            return ModelFiles(MODEL, models / MODEL, {}, "here", "0" * 12)

        made.fetch = fetch  # type: ignore[method-assign]
        await made.later[0]()
        assert engine.name == "served"
        assert reason(made) == "found"
        assert await answer(engine, UNKNOWN) == "Served."
        assert await answer(engine, UNKNOWN) == f"You said: {UNKNOWN}"


async def test_nothing_is_fetched_where_that_is_not_wanted(tmp_path: Path) -> None:
    for flags in ({"download": False}, {"profile": "embedded"}, {"llm_url": "http://127.0.0.1:9/v1"}):
        made = parts(tmp_path, **flags)
        async with thinking(made):
            assert not made.later


@pytest.mark.parametrize("where", ["id", "folder", "file"])
async def test_a_model_that_is_asked_for_answers_alone(tmp_path: Path, models: Path, where: str) -> None:
    words = {"id": MODEL, "folder": str(models / MODEL), "file": str(models / MODEL / "tiny.gguf")}
    made = parts(tmp_path, models, chat_model=words[where])
    async with thinking(made) as engine:
        assert await answer(engine, KNOWN) == f"You said: {KNOWN}"
        assert engine.name == f"llama.cpp {'tiny' if where == 'file' else MODEL}"
        assert "starter stands by" in reason(made)


async def test_the_catalogues_prompt_is_for_the_catalogues_model_and_not_for_a_file(
    tmp_path: Path, models: Path
) -> None:
    prompts = []
    for word in (MODEL, str(models / MODEL / "tiny.gguf")):
        async with thinking(parts(tmp_path, models, chat_model=word)) as engine:
            llama = engine.engines[0]
            assert isinstance(llama, LlamaChat)
            given = llama.manner.of(ChatRequest((Message("system", RULES), Message("user", "hello"))))
            prompts.append(given.messages[0].content)
    assert prompts == ["Be brief.", RULES]


async def test_a_model_of_the_hub_is_fetched_by_its_name(tmp_path: Path) -> None:
    with FileServer() as server:
        server.put_repo("owner/Tiny-GGUF", {"Tiny-Q4_K_M.gguf": b"weights", "Tiny-Q8_0.gguf": b"other"})
        made = parts(tmp_path, chat_model="owner/Tiny-GGUF")
        made.store = ModelStore(
            made.settings.model_cache, catalogue=CATALOGUE, hub=Hub(Downloader(), endpoint=server.url, cache=tmp_path)
        )
        async with thinking(made) as engine:
            assert await answer(engine, KNOWN) == f"You said: {KNOWN}"
            assert "the hub (owner/Tiny-GGUF)" in reason(made)
        assert not any("Q8_0" in path for path in server.count)


def test_which_words_mean_a_model_of_the_hub() -> None:
    assert hub_gguf("o/n-GGUF").folder.files == ("*Q4_K_M.gguf",)  # type: ignore[union-attr]
    assert hub_gguf("o/n:Q8_0").folder.files == ("*Q8_0.gguf",)  # type: ignore[union-attr]
    assert hub_gguf("models/mine") is None
    assert hub_gguf("auto") is None
    assert hub_gguf("../n-GGUF") is None


def test_files_of_the_hub_are_found_in_small_letters_and_capitals() -> None:
    folder = hub_gguf("o/n-GGUF").folder  # type: ignore[union-attr]
    assert folder is not None
    names = ["README.md", "qwen2.5-0.5b-instruct-q4_k_m.gguf", "qwen2.5-0.5b-instruct-q8_0.gguf"]
    assert folder.pick(names) == ["qwen2.5-0.5b-instruct-q4_k_m.gguf"]
    assert folder.pick(["Tiny-Q4_K_M.gguf"]) == ["Tiny-Q4_K_M.gguf"]


def test_of_several_files_one_must_be_named(tmp_path: Path) -> None:
    for name in ("a.gguf", "mmproj-a.gguf"):
        (tmp_path / name).write_bytes(b"")
    assert gguf_in(tmp_path) == tmp_path / "a.gguf"
    (tmp_path / "b.gguf").write_bytes(b"")
    with pytest.raises(ModelError, match=r"name the file, one of a\.gguf, b\.gguf"):
        gguf_in(tmp_path)
    assert gguf_in(tmp_path / "b.gguf") == tmp_path / "b.gguf"


async def test_a_setting_for_another_library_is_refused(tmp_path: Path, models: Path, monkeypatch) -> None:
    monkeypatch.setattr("server.engines.wishes.find_spec", lambda name: object())
    for word in (MODEL, str(models / MODEL), str(models / MODEL / "tiny.gguf")):
        with pytest.raises(DefinitionError, match="chat_quantization: is for a chat model on transformers, not for"):
            await llm(parts(tmp_path, models, chat_model=word, chat_quantization="8bit"))


async def test_a_model_that_does_not_start_is_refused_or_passed_over(tmp_path: Path, models: Path) -> None:
    (models / MODEL / "tiny.gguf").rename(models / MODEL / "broken.gguf")
    with pytest.raises(ModelError, match=r"chat_model .*broken\.gguf: no such model"):
        await llm(parts(tmp_path, models, chat_model=MODEL))
    made = parts(tmp_path, models, download=False)
    async with thinking(made) as engine:
        (row,) = made.choices.status()
        assert (engine.name, row.ok, row.wanted) == ("starter", False, MODEL)


# ------------------------------------------------------------------------------------------------ what it is asked for


def test_every_adapter_of_the_catalogue_is_there() -> None:
    for model in catalogues.load().models:
        assert model.adapter is None or (Path(catalogues.__file__).parents[1] / model.adapter).is_file()


async def test_the_adapter_and_the_sampling_of_the_catalogue_reach_the_process(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = parts(tmp_path, models, chat_model=MODEL)
    model: Model = CATALOGUE.models[0].model_copy(update={"adapter": "models/catalogue.yaml"})
    chat = model.chat.model_copy(update={"sampling": {"temperature": 0.3}})
    made.store.catalogue = Catalogue(models=(model.model_copy(update={"chat": chat}),))
    async with thinking(made) as engine:
        llama = engine.engines[0]
        assert isinstance(llama, LlamaChat)
        assert llama._config.sampling == {"temperature": 0.3}
        assert [Path(path).name for path, _ in llama._config.lora] == ["catalogue.yaml"]


async def test_adapters_of_the_settings_come_after_that_of_the_catalogue(tmp_path: Path, models: Path) -> None:
    for name in ("calm", "loud"):
        (tmp_path / f"{name}.gguf").write_bytes(b"GGUF")
    given = {"calm": tmp_path / "calm.gguf", "loud": tmp_path / "loud.gguf", "both": {"calm": 0.5, "loud": 0.25}}
    made = parts(tmp_path, models, chat_model=MODEL, chat_adapters=given)
    model: Model = CATALOGUE.models[0].model_copy(update={"adapter": "models/catalogue.yaml"})
    made.store.catalogue = Catalogue(models=(model,))
    made.check()
    async with thinking(made) as engine:
        llama = engine.engines[0]
        assert isinstance(llama, LlamaChat)
        assert [(Path(path).stem, scale) for path, scale in llama._config.lora] == [
            ("catalogue", 1.0),
            ("calm", 0.0),
            ("loud", 0.0),
        ]
        assert llama._options.always == (0,)
        assert llama._options.adapters == {"calm": ((1, 1.0),), "loud": ((2, 1.0),), "both": ((1, 0.5), (2, 0.25))}
        assert adapters_of(engine) == ("calm", "loud", "both")


# ------------------------------------------------------------------------------------------------ when it ends


async def test_a_process_that_ends_in_mid_answer_costs_that_answer_and_the_starter_takes_the_next(
    tmp_path: Path, models: Path
) -> None:
    clock = FakeClock()
    made = parts(tmp_path, models, clock=clock)
    async with thinking(made) as engine:
        probing = asyncio.create_task(made.upkeep[0]())
        heard = ""
        with pytest.raises(LLMError, match="has ended and is being started again"):
            async for piece in engine.stream(ChatRequest((Message("user", "who must die now and why"),))):
                heard += str(piece)
        assert heard.startswith("You said: ")
        assert await answer(engine, UNKNOWN) == model_files.AWAY
        assert await answer(engine, UNKNOWN) == model_files.AWAY, "now it rests"
        assert await answer(engine, KNOWN) == "Two plus three is five."
        await asyncio.sleep(0)
        (row,) = made.choices.status()
        assert (row.engine, row.wanted) == ("starter", engine.name)
        both = engine.engines[0]
        assert isinstance(both, KnownFirst)
        assert isinstance(both.large, LlamaChat)
        await both.large.warm()
        while engine.current == "starter":
            clock.advance(1.0)
            await both.probe()
        probing.cancel()
        assert await answer(engine, UNKNOWN) == f"You said: {UNKNOWN}"
