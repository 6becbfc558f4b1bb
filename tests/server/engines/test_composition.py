"""Which engines are composed of what is here, and why; and what happens when a better one comes or one fails."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.engines.mediapipe.tasks import MediaPipeVision
from pipelines.errors import DefinitionError, LLMError, ModelError, STTError, VisionError
from pipelines.interfaces.llm import ChatRequest, Message
from pipelines.models import catalogue as catalogues
from pipelines.models.catalogue import Catalogue, Model
from pipelines.models.catalogue import load as load_catalogue
from pipelines.models.catalogue_sources import DirSource, WheelSource
from pipelines.models.store import ModelFiles, ModelStore
from pipelines.routing.definition import SHIPPED, load
from pipelines.routing.routes.llm import FallbackModel
from pipelines.routing.routes.speech import FallbackRecognizer, FallbackVoice
from pipelines.routing.second_opinion import SecondOpinion
from pipelines.vision.detectors import DETECTORS
from server.cli.doctor.diagnosis import diagnose
from server.cli.doctor.facts import ModelState
from server.engines.choices import Choices
from server.engines.on_demand import ModelsOnDemand
from server.engines.parts import Parts
from server.engines.stages import llm, stt, tts
from server.engines.vision import first_fetched, vision
from server.settings import load_settings
from tests.assets import asset
from tests.conftest import fake_engines
from tests.fakes import piper_voice, tiny_llama, tiny_whisper
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice
from tests.fakes.peer import Peer
from tests.loopback.test_session import TURN
from tests.real_models import real_folder
from tests.server.cli.test_doctor import FACTS

WHISPER, CHAT, VOICE = "whisper-test-en", "chat-test", "piper-test"
CLOSED = {"llm_url": "http://127.0.0.1:9/v1"}
"""A model server that is not there."""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with a model for each stage."""
    folder = tmp_path_factory.mktemp("models")
    tiny_whisper.build(folder / WHISPER, multilingual=False)
    tiny_llama.save_tiny_llama(folder / CHAT)
    (folder / VOICE).mkdir()
    piper_voice.write_voice(folder / VOICE, "en_US-test-medium")
    return folder


def catalogue() -> Catalogue:
    def model(name: str, task: str, *patterns: str) -> Model:
        return Model(
            id=name,
            task=task,
            licence="MIT",
            description="for tests",
            folder={"files": patterns, "optional": ("*",)},
            sources=(DirSource(dir="."),),
        )

    return Catalogue(
        models=(
            model(WHISPER, "speech-to-text", "model.bin", "config.json"),
            model(CHAT, "chat", "config.json"),
            model(VOICE, "text-to-speech", "*.onnx", "*.onnx.json"),
        )
    )


def parts(cache: Path, folder: Path | None = None, **flags) -> Parts:
    asks_servers = flags.get("chat_model", "auto") in ("auto", "openai") and flags.get("profile") != "bench"
    settings = load_settings({"cache": cache, "models": folder, **(CLOSED if asks_servers else {}), **flags})
    made = Parts(settings, load(settings.pipeline), lambda line: None)
    made.store = ModelStore(settings.model_cache, folder, catalogue=catalogue())
    return made


def row(made: Parts, stage: str):
    return next(choice for choice in made.choices.status() if choice.stage == stage)


# ------------------------------------------------------------------------------------------------ listening


async def test_the_embedded_recogniser_listens_and_the_better_one_is_named(tmp_path):
    made = parts(tmp_path)
    engine = await stt(made)
    try:
        assert engine.name == "pocketsphinx"
        assert f"visavis models pull {WHISPER}" in row(made, "stt").reason
        assert len(made.later) == 1
    finally:
        await engine.close()


@pytest.mark.long
async def test_a_whisper_in_the_users_folder_listens(tmp_path, models):
    made = parts(tmp_path, models)
    engine = await stt(made)
    try:
        assert isinstance(engine, FallbackRecognizer)
        assert [rung.name for rung in engine.engines] == [WHISPER, "pocketsphinx"]
        assert "the folder of models" in row(made, "stt").reason
        assert "pocketsphinx stands by" in row(made, "stt").reason
        assert not made.later
        assert [status.state for status in made.residency.status()] == ["ready"]
    finally:
        await engine.close()


BROAD = "whisper-test"


@pytest.fixture
def two(tmp_path, models) -> Path:
    """A user's folder with a recogniser of English, and one of many languages."""
    folder = tmp_path / "two"
    shutil.copytree(models / WHISPER, folder / WHISPER)
    tiny_whisper.build(folder / BROAD)
    return folder


def with_two(made: Parts) -> Parts:
    """The same with both in the catalogue, the English one first."""
    broad = made.store.catalogue.get(WHISPER).model_copy(update={"id": BROAD})
    made.store.catalogue = Catalogue(models=(*made.store.catalogue.models, broad))
    return made


async def test_english_has_a_recogniser_of_its_own_and_another_one_hears_what_that_doubts(tmp_path, two):
    made = with_two(parts(tmp_path, two))
    engine = await stt(made)
    await engine.close()
    assert isinstance(engine, FallbackRecognizer)
    assert isinstance(engine.engines[0], SecondOpinion)
    assert [rung.name for rung in engine.engines] == [f"{WHISPER} + {BROAD}", BROAD, "pocketsphinx"]
    assert f"{BROAD} hears what it doubts, and other languages; pocketsphinx stands by" in row(made, "stt").reason
    assert not made.later


@pytest.mark.parametrize(
    ("asked", "listens"),
    [
        pytest.param({"language": "en"}, f"{WHISPER} + {BROAD}", marks=pytest.mark.long),
        ({"language": "de"}, BROAD),
        pytest.param({"stt_task": "translate"}, BROAD, marks=pytest.mark.long),
        ({"stt_model": WHISPER}, WHISPER),
        pytest.param({"stt_model": BROAD}, BROAD, marks=pytest.mark.long),
        pytest.param({"stt_model": "pocketsphinx"}, "pocketsphinx", marks=pytest.mark.long),
    ],
    ids=str,
)
async def test_who_listens_depends_on_what_is_asked_for(tmp_path, two, asked, listens):
    made = with_two(parts(tmp_path, two, **asked))
    engine = await stt(made)
    await engine.close()
    assert (engine.name, row(made, "stt").engine, row(made, "stt").ok) == (listens, listens, True)


@pytest.mark.long
async def test_what_would_be_fetched_and_may_not_is_named(tmp_path, two):
    shutil.rmtree(two / BROAD)
    made = with_two(parts(tmp_path, two, download=False))
    engine = await stt(made)
    await engine.close()
    assert (engine.name, made.missing, made.later) == (WHISPER, [BROAD], [])


@pytest.mark.long
async def test_one_of_two_that_is_broken_is_told_and_the_other_listens_to_all(tmp_path, two):
    (two / WHISPER / "model.bin").write_bytes(b"no model")
    made = with_two(parts(tmp_path, two))
    engine = await stt(made)
    await engine.close()
    assert engine.name == BROAD
    assert f"{WHISPER} cannot be used: " in row(made, "stt").reason


async def test_each_recogniser_listens_as_soon_as_it_has_come(tmp_path, two):
    made = with_two(parts(tmp_path))
    engine = await stt(made)
    engines = fake_engines(stt=engine)
    engines.later, engines.choices, listening = made.later, made.choices, [engine.name]
    quick = asyncio.Event()

    def changed() -> None:
        listening.append(row(made, "stt").engine)
        if listening[-1] == WHISPER:
            quick.set()

    async def fetch(model_id: str) -> ModelFiles:
        if model_id == BROAD:  # it is the larger one
            await quick.wait()
        made.store.folder = two
        found = made.store.here(model_id)
        assert found is not None
        return found

    made.fetch = fetch  # type: ignore[method-assign]
    try:
        made.choices.on_change(changed)
        await engines.improve()
    finally:
        await engines.close()
    assert list(dict.fromkeys(listening)) == ["pocketsphinx", WHISPER, f"{WHISPER} + {BROAD}"]
    assert engine.name == listening[-1]


@pytest.mark.long
async def test_the_real_recognisers_listen_together(tmp_path):
    """Moonshine's is a model of single files, Whisper's a folder."""
    moonshine, whisper = real_folder("moonshine-tiny-en"), real_folder("whisper-base")
    made = parts(tmp_path, download=False)
    made.store = ModelStore(load_settings({}).model_cache)
    engine = await stt(made)
    await engine.close()
    assert engine.name == "moonshine-tiny-en + whisper-base", (moonshine, whisper)
    assert row(made, "stt").ok
    assert "cannot be used" not in row(made, "stt").reason


async def test_a_folder_with_a_moonshine_is_refused_for_another_language(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "encoder_model.ort").write_bytes(b"")
    made = parts(tmp_path, stt_model=str(folder), language="de")
    with pytest.raises(ModelError, match="mine is a Moonshine: it knows English alone"):
        await stt(made)


async def test_a_folder_can_be_named_directly(tmp_path, models):
    made = parts(tmp_path, stt_model=str(models / WHISPER))
    engine = await stt(made)
    await engine.close()
    assert engine.name == WHISPER
    assert row(made, "stt").ok


async def test_a_broken_model_that_is_asked_for_is_refused(tmp_path):
    (tmp_path / "broken").mkdir()
    made = parts(tmp_path, stt_model=str(tmp_path / "broken"))
    with pytest.raises(ModelError, match=r"stt_model .*broken: broken cannot be used: .*model\.bin") as caught:
        await stt(made)
    assert caught.value.code == "whisper_incomplete"


async def test_a_broken_model_that_nobody_asked_for_is_passed_over_and_told(tmp_path, models):
    folder = shutil.copytree(models, tmp_path / "models")
    (folder / WHISPER / "model.bin").write_bytes(b"no model")
    made = parts(tmp_path, folder)
    engine = await stt(made)
    await engine.close()
    chosen = row(made, "stt")
    assert (chosen.engine, chosen.ok, chosen.wanted) == ("pocketsphinx", False, WHISPER)
    assert f"{WHISPER} cannot be used: " in chosen.reason


@pytest.mark.long
async def test_a_model_that_was_repaired_listens_at_the_next_start(tmp_path, models):
    folder = shutil.copytree(models, tmp_path / "mine")
    weights = folder / WHISPER / "model.bin"
    sound = weights.read_bytes()
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    made = parts(tmp_path, folder)
    await (await stt(made)).close()
    chosen = row(made, "stt")
    assert (chosen.engine, chosen.ok, chosen.wanted) == ("pocketsphinx", False, WHISPER)
    assert f"{WHISPER} cannot be used: {weights} is a Git LFS pointer" in chosen.reason
    weights.write_bytes(sound[:-100])
    made = parts(tmp_path, folder)
    await (await stt(made)).close()
    assert f"(copied from {folder / WHISPER})" in row(made, "stt").reason
    weights.write_bytes(sound)
    made = parts(tmp_path, folder)
    await (await stt(made)).close()
    assert (row(made, "stt").engine, row(made, "stt").ok) == (WHISPER, True)


async def test_a_folder_that_is_named_with_a_pointer_in_it_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    pointer = tmp_path / "mine" / "model.bin"
    pointer.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ModelError, match=f"stt_model .*: {pointer} is a Git LFS pointer and not the file itself"):
        await stt(parts(tmp_path, stt_model=str(tmp_path / "mine")))


async def test_a_model_that_is_asked_for_is_fetched(tmp_path, models):
    made = parts(tmp_path, stt_model=WHISPER)
    asked = []

    def ensure(model_id: str, *told: object) -> ModelFiles:
        asked.append(model_id)
        made.store.folder = models
        found = made.store.here(model_id)
        assert found is not None
        return found

    made.store.ensure = ensure  # type: ignore[method-assign]
    engine = await stt(made)
    await engine.close()
    assert (engine.name, asked) == (WHISPER, [WHISPER])
    assert row(made, "stt").ok


@pytest.mark.parametrize(
    ("stage", "setting", "name"),
    [(stt, "stt_model", WHISPER), (llm, "chat_model", CHAT), (tts, "tts_model", VOICE)],
    ids=["stt", "llm", "tts"],
)
async def test_a_model_that_is_asked_for_and_cannot_be_had_is_refused_by_name(tmp_path, stage, setting, name):
    with pytest.raises(ModelError, match=f"^models: {setting} {name}: {name} could not be had"):
        await stage(parts(tmp_path, tmp_path, **{setting: name}))
    with pytest.raises(DefinitionError, match=f"{setting} {name}: {name} is not here, .* visavis models pull {name}"):
        await stage(parts(tmp_path, **{setting: name}, download=False))


@pytest.mark.parametrize(
    ("stage", "setting", "legal"),
    [
        (stt, "stt_model", f"auto, pocketsphinx, {WHISPER}, a folder"),
        (llm, "chat_model", f"auto, openai, starter, {CHAT}, a folder, a .gguf file,"),
        (tts, "tts_model", f"auto, espeak-ng, {VOICE}"),
    ],
    ids=["stt", "llm", "tts"],
)
async def test_an_unknown_model_names_the_known_ones(tmp_path, stage, setting, legal):
    made = parts(tmp_path, **{setting: "gpt-99"})
    with pytest.raises(DefinitionError, match=f"{setting}: there is no model 'gpt-99'; legal values are {legal} "):
        await stage(made)


# ------------------------------------------------------------------------------------------------ thinking


async def test_a_model_in_the_users_folder_thinks_before_the_starter(tmp_path, models):
    made = parts(tmp_path, models)
    engine = await llm(made)
    try:
        assert isinstance(engine, FallbackModel)
        assert engine.name == CHAT
        assert "starter stands by" in row(made, "llm").reason
        assert [status.state for status in made.residency.status()] == ["ready", "unloaded"]  # the starter waits
    finally:
        await engine.close()


async def test_a_model_that_is_asked_for_thinks_in_the_embedded_profile_too(tmp_path, models):
    for word, thinks in (("auto", "starter"), (CHAT, CHAT)):
        engine = await llm(parts(tmp_path, models, profile="embedded", chat_model=word))
        await engine.close()
        assert engine.name == thinks


async def test_without_any_model_the_starter_answers_and_every_reason_is_told(tmp_path):
    made = parts(tmp_path)
    engine = await llm(made)
    try:
        asked = ChatRequest((Message("user", "what is two plus three"),))
        assert "".join([piece async for piece in engine.stream(asked)]).strip() == "Two plus three is five."
    finally:
        await engine.close()
    reason = row(made, "llm").reason
    assert engine.name == "starter"
    assert not row(made, "llm").ok, "a server was named"
    assert "no openai at http://127.0.0.1:9/v1" in reason
    assert f"visavis models pull {CHAT}" in reason


async def test_without_any_language_model_the_command_that_brings_one_is_said_and_told(tmp_path, monkeypatch):
    made = parts(tmp_path)
    made.store.catalogue = catalogues.load()
    monkeypatch.setattr("pipelines.starter.model_files.FOLDER", tmp_path)
    engine = await llm(made)
    command = "visavis models pull smollm2-135m-instruct-gguf"
    said = [piece async for piece in engine.stream(ChatRequest((Message("user", "hello"),)))]
    assert said == [f"I cannot answer, for no language model is here: {command} brings one."]
    assert (engine.name, row(made, "llm").ok) == ("nobody", False)
    assert "the starter model cannot be used" in row(made, "llm").reason
    assert command in row(made, "llm").reason


async def test_a_model_for_ctranslate2_is_refused_with_what_thinks_in_its_place(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.bin").write_bytes(b"weights")
    with pytest.raises(ModelError, match=r"chat_model .*mine: .* CTranslate2 .*: give its GGUF file, or its folder"):
        await llm(parts(tmp_path, chat_model=str(tmp_path / "mine")))


# ------------------------------------------------------------------------------------------------ speaking


async def test_voices_in_the_users_folder_speak_beside_the_embedded_ones(tmp_path, models):
    made = parts(tmp_path, models, voice="en_US-test-medium")
    engine = await tts(made)
    try:
        assert engine.name == "piper"
        assert engine.voices[0] == "en_US-test-medium"
        assert "en-us" in engine.voices
        assert sum([len(piece.samples) async for piece in engine.synthesize("Good morning.")]) > 1000
        assert sum([len(piece.samples) async for piece in engine.synthesize("Good morning.", "en-us")]) > 1000
    finally:
        await engine.close()


async def test_a_voice_that_is_not_here_names_those_that_are(tmp_path):
    with pytest.raises(DefinitionError, match="voice: there is no voice 'nobody'; legal values are en-us, "):
        await tts(parts(tmp_path, voice="nobody"))


# ------------------------------------------------------------------------------------------------ watching


@pytest.fixture
def watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """Only the models of the test material are there, and nothing can be fetched."""
    if reason := MediaPipeVision.probe():
        pytest.skip(reason)
    folder = asset("mediapipe")
    made = Parts(
        load_settings({"cache": tmp_path, **CLOSED}), load(SHIPPED / "voice-assistant.yaml"), lambda line: None
    )
    made.store = ModelStore(tmp_path, folder)

    def ensure(model_id: str, *told: object) -> ModelFiles:
        raise ModelError("model_unavailable", f"{model_id} could not be had: the network is closed")

    monkeypatch.setattr(made.store, "ensure", ensure)
    return made


async def test_detectors_come_up_as_far_as_models_can_be_had_and_the_others_say_why(watching):
    seen = await vision(watching)
    assert seen is not None
    assert seen.detectors == ("face_landmarks", "hands", "gestures", "segmentation")
    assert seen.unavailable == dict.fromkeys(("faces", "pose", "objects", "holistic"), "its model is being fetched")
    chosen = row(watching, "vision")
    assert (chosen.engine, chosen.ok) == ("mediapipe", True)
    (better,) = watching.later
    with pytest.raises(ModelError):
        await better()
    assert seen.unavailable["faces"] == "mediapipe-face-detectors could not be had: the network is closed"
    chosen = row(watching, "vision")
    assert (chosen.engine, chosen.ok) == ("mediapipe", False)
    assert chosen.reason.startswith("finds face landmarks, hands, gestures, segmentation; no faces: mediapipe-face-")


async def test_models_that_come_later_are_put_to_work_whichever_of_them_fails(watching):
    seen = await vision(watching)
    faces = asset("mediapipe/blaze_face_short_range.tflite")

    async def fetch(model_id: str) -> ModelFiles:
        if model_id == "mediapipe-face-detectors":
            raise ModelError("model_unavailable", "the network is closed for a moment")
        return ModelFiles(model_id, faces, {faces.name: faces}, "here", "0" * 12)

    watching.fetch = fetch
    (better,) = watching.later
    with pytest.raises(ModelError):
        await better()
    assert seen.unavailable == {"faces": "the network is closed for a moment"}
    assert {"pose", "objects", "holistic"} <= set(seen.detectors)
    assert row(watching, "vision").reason.startswith("finds face landmarks, hands, gestures, pose, ")


async def test_without_any_model_nothing_is_seen_and_it_is_told_how_to_get_them(watching):
    watching.store.folder = None
    watching.settings = watching.settings.model_copy(update={"download": False})
    assert await vision(watching) is None
    chosen = row(watching, "vision")
    assert (chosen.engine, chosen.ok) == ("none", False)
    assert "no faces, face landmarks, hands, gestures, pose, " in chosen.reason
    assert (
        "visavis models pull mediapipe-face-detectors mediapipe-face-mesh mediapipe-hand-landmarker mediapipe-pose-"
        in chosen.reason
    )
    assert watching.missing[:2] == ["mediapipe-face-detectors", "mediapipe-face-mesh"]
    assert watching.missing.count("mediapipe-hand-landmarker") == 1  # of hands and of gestures
    assert not watching.later


@pytest.fixture
def packaged(tmp_path: Path, watching: Parts) -> dict[str, Path]:
    """Only what lies in the package is here: model → its file."""
    here = {
        model_id: tmp_path / f"{model_id}.task"
        for model_id in ("mediapipe-face-detector", "mediapipe-face-mesh", "mediapipe-hand-landmarker")
    }

    def find(model_id: str) -> ModelFiles | None:
        path = here.get(model_id)
        return path and ModelFiles(model_id, path, {path.name: path}, "here", "0" * 12)

    watching.store.here = find  # type: ignore[method-assign]
    return here


async def test_what_lies_in_the_package_serves_until_what_is_published_has_come(tmp_path, watching, packaged):
    seen = await vision(watching)
    assert seen is not None
    assert {"faces", "face_landmarks", "hands", "gestures"} <= set(seen.detectors)
    told = row(watching, "vision").reason
    assert "better faces, face landmarks, gestures with: visavis models pull mediapipe-face-detectors " in told
    published = tmp_path / "published.task"
    asked = []

    async def fetch(model_id: str) -> ModelFiles:
        asked.append(model_id)
        if model_id == "mediapipe-face-landmarker":
            raise ModelError("model_unavailable", "the network is closed")
        return ModelFiles(model_id, published, {published.name: published}, "here", "0" * 12)

    watching.fetch = fetch
    (better,) = watching.later
    await better()  # a model that is not needed is no problem
    assert asked[-3:] == ["mediapipe-face-detectors", "mediapipe-face-landmarker", "mediapipe-gesture-recognizer"]
    engine = seen._detector
    assert engine.model("gestures") == published
    assert engine.model("face_landmarks") == packaged["mediapipe-face-mesh"]
    assert row(watching, "vision").reason.endswith(
        "better face landmarks with: visavis models pull mediapipe-face-landmarker"
    )


async def test_nothing_better_is_fetched_where_nothing_may_be(watching, packaged):
    watching.settings = watching.settings.model_copy(update={"download": False})
    seen = await vision(watching)
    assert seen is not None
    assert "gestures" in seen.detectors
    assert not watching.later
    assert "mediapipe-gesture-recognizer" not in watching.missing


def test_what_is_fetched_first_lies_in_one_package():
    catalogue = load_catalogue()
    basic = (catalogue.get(first_fetched(catalogue, name)) for name, row in DETECTORS.items() if row.basic)
    sources = (source for model in basic for source in model.sources)
    wheels = {source.wheel for source in sources if isinstance(source, WheelSource)}
    assert wheels == {"mediapipe==0.10.21"}


async def test_a_gpu_that_is_asked_for_is_used_or_refused(watching, monkeypatch):
    watching.settings = watching.settings.model_copy(update={"vision_device": "gpu"})
    monkeypatch.setattr(MediaPipeVision, "_try_gpu", lambda engine: "there is no GPU")
    with pytest.raises(VisionError, match="vision_device: gpu cannot be used: there is no GPU; legal here is cpu"):
        await vision(watching)
    monkeypatch.setattr(MediaPipeVision, "_try_gpu", lambda engine: "")
    await vision(watching)
    assert row(watching, "vision").device == "gpu"


# ------------------------------------------------------------------------------------------------ later


async def test_better_engines_are_put_to_work_when_they_have_come(tmp_path, models):
    made = parts(tmp_path)
    engines = fake_engines(stt=await stt(made), tts=await tts(made))
    engines.later, engines.choices, changes = made.later, made.choices, []

    async def fetch(model_id: str) -> ModelFiles:
        made.store.folder = models
        found = made.store.here(model_id)
        assert found is not None
        return found

    made.fetch = fetch  # type: ignore[method-assign]
    try:
        engines.choices.on_change(lambda: changes.append(None))
        await engines.improve()
        assert (engines.voice.stt.name, engines.voice.tts.name) == (WHISPER, "piper")
        assert row(made, "stt").engine == WHISPER
        assert row(made, "tts").engine == "piper"
        assert len(changes) == 2
    finally:
        await engines.close()


async def test_when_the_preferred_model_cannot_be_had_the_next_one_is_fetched(tmp_path, models):
    made = parts(tmp_path)
    second = made.store.catalogue.get(WHISPER).model_copy(update={"id": "whisper-other"})
    made.store.catalogue = Catalogue(models=(*made.store.catalogue.models, second))
    shutil.copytree(models / WHISPER, tmp_path / "models" / "whisper-other")
    engines = fake_engines(stt=await stt(made))
    engines.later, engines.choices, changes = made.later, made.choices, []

    async def fetch(model_id: str) -> ModelFiles:
        if model_id == WHISPER:
            raise ModelError("model_unavailable", "the hub is closed")
        made.store.folder = tmp_path / "models"
        found = made.store.here(model_id)
        assert found is not None
        return found

    made.fetch = fetch  # type: ignore[method-assign]
    try:
        engines.choices.on_change(lambda: changes.append(None))
        await engines.improve()
        assert engines.voice.stt.name == "whisper-other"
        assert len(changes) == 1
    finally:
        await engines.close()


async def test_a_defect_in_one_improvement_does_not_keep_the_others_from_coming(caplog):
    engines, came = fake_engines(), []

    async def broken() -> None:
        raise AssertionError("a defect")

    async def sound() -> None:
        came.append(None)

    engines.later = [broken, sound]
    await engines.improve()
    assert came == [None]
    assert "a defect" in caplog.text


async def test_what_cannot_be_had_leaves_everything_as_it_is(tmp_path):
    made = parts(tmp_path)
    engines = fake_engines(stt=await stt(made))
    engines.later, engines.choices, before = made.later, made.choices, made.choices.status()
    said: list[str] = []
    engines.say = said.append

    async def fetch(model_id: str) -> ModelFiles:
        raise ModelError("model_unavailable", "the network is closed")

    made.fetch = fetch  # type: ignore[method-assign]
    try:
        engines.choices.on_change(lambda: pytest.fail("nothing has changed"))
        await engines.improve()
        assert made.choices.status() == before
        assert said == ["the network is closed"]
    finally:
        await engines.close()


# ------------------------------------------------------------------------------------------------ doctor


@pytest.mark.parametrize("here", [True, False], ids=["with models", "with none"])
@pytest.mark.parametrize(
    "flags",
    [
        pytest.param({}, id="auto"),
        pytest.param({"profile": "embedded"}, id="embedded", marks=pytest.mark.long),
        pytest.param(
            {"stt_model": "pocketsphinx", "chat_model": "starter", "tts_model": "espeak-ng"},
            id="by name",
            marks=pytest.mark.long,
        ),
    ],
)
async def test_the_doctor_names_what_a_start_takes(tmp_path, models, flags, here):
    made = parts(tmp_path, models if here else None, **flags)
    absent = None if here else "it is not in the store"
    states = [ModelState(model.id, model.task, "", absent, here) for model in catalogue().models]
    checks = diagnose(replace(FACTS, models=states), made.settings)
    told = {check.name: check.detail for check in checks if check.area == "engines"}
    for stage, compose in (("stt", stt), ("llm", llm), ("tts", tts)):
        await (await compose(made)).close()
        assert told[stage].startswith(row(made, stage).engine), stage


# ------------------------------------------------------------------------------------------------ failures


async def test_when_every_preferred_engine_dies_the_user_still_hears_an_answer(serve):
    """Each fails in the second turn of a running conversation; the next engine takes the turn over."""
    choices = Choices()
    for stage in ("stt", "llm", "tts"):
        choices.note(stage, f"better-{stage}", "the best there is")
    killed = STTError("stt_crashed", "the recogniser was killed")
    hearing = FakeRecognizer("first question", killed, killed)  # it gets a second try
    thinking = FakeModel("First answer.", LLMError("llm_unreachable", "the model server was killed"))
    speaking, standby = FakeVoice(), FakeVoice()
    hearing.name, thinking.name, speaking.name = "better-listen", "better-think", "better-speak"
    stt = FallbackRecognizer([hearing, FakeRecognizer("second question")], choices.failure_of("stt"))
    llm = FallbackModel([thinking, FakeModel("Second answer.")], choices.failure_of("llm"))
    tts = FallbackVoice([speaking, standby], choices.failure_of("tts"))
    for stage, ladder in (("stt", stt), ("llm", llm), ("tts", tts)):
        choices.watch(stage, ladder)
    engines = fake_engines(stt=stt, llm=llm, tts=tts)
    engines.choices = choices
    url, _ = await serve(engines)
    async with Peer(url) as peer:
        peer.say(TURN, 48_000)
        await peer.event("output_audio_buffer.stopped")
        assert all(choice.ok for choice in choices.status())
        speaking.fails = True
        peer.say(TURN, 48_000)
        await peer.until(lambda: len(peer.named("output_audio_buffer.stopped")) == 2)
        heard = [event["transcript"] for event in peer.named("conversation.item.input_audio_transcription.completed")]
        assert heard == ["first question", "second question"]
        assert [event["response"]["status"] for event in peer.named("response.done")] == ["completed", "completed"]
        told = {row["stage"]: row for row in peer.named("engine.status")[-1]["data"]}
        assert [(told[stage]["engine"], told[stage]["ok"]) for stage in ("stt", "llm", "tts")] == [
            ("fake-stt", False),
            ("fake-llm", False),
            ("fake-tts", False),
        ]
    assert speaking.said == ["First answer."]
    assert standby.said == ["Second answer."]
    rows = {choice.stage: choice for choice in choices.status()}
    assert [rows[stage].engine for stage in ("stt", "llm", "tts")] == ["fake-stt", "fake-llm", "fake-tts"]
    assert rows["stt"].reason == "better-listen failed: the recogniser was killed; stands in for better-listen"
    assert not any(choice.ok for choice in rows.values())
    assert json.dumps(engines.status())


async def test_the_status_and_the_log_repeat_nothing_that_a_server_has_answered(caplog):
    choices = Choices()
    choices.note("llm", "served", "found")
    error = LLMError("llm_http_error", "served: cannot tokenize 'Clara Miller'", "served answered with HTTP 500")
    served = FakeModel(error)
    served.name = "served"
    model = FallbackModel([served, FakeModel("Standing in.")], choices.failure_of("llm"))
    choices.watch("llm", model)
    request = ChatRequest((Message("user", "Hello?"),))
    assert [piece async for piece in model.stream(request)] == ["Standing ", "in. "]
    (row,) = choices.status()
    assert row.reason == "served failed: served answered with HTTP 500; stands in for served"
    assert "served answered with HTTP 500 (llm_http_error)" in caplog.text
    assert "Clara" not in caplog.text


# ------------------------------------------------------------------------------------------------ on demand


async def test_models_that_pipelines_name_are_built_when_they_are_first_asked(tmp_path, two):
    made = with_two(parts(tmp_path, two))
    models = ModelsOnDemand(made)
    assert models.find("stt", ["theirs", BROAD]).model == BROAD
    assert models.find("stt", [WHISPER]).engine is models.find("stt", [WHISPER]).engine
    missing = models.find("stt", ["huge"])
    assert (missing.engine, missing.why_not.partition(";")[0]) == (None, "there is no model 'huge'")
    away = models.find("tts", [VOICE])
    assert (away.engine, away.why_not) == (None, f"{VOICE} is not here: visavis models pull {VOICE}")
    assert not made.residency.status()
    engine = models.find("stt", [WHISPER]).engine
    try:
        one, other = await asyncio.gather(engine.open(), engine.open())
        await one.feed(np.zeros(8000, np.int16))
        assert isinstance((await one.transcript()).text, str)
        await one.close()
        await other.close()
        assert [status.state for status in made.residency.status()] == ["ready"], "it was built once"
    finally:
        await models.close()


async def test_engines_that_need_no_model_are_built_too(tmp_path):
    models = ModelsOnDemand(parts(tmp_path))
    voice = models.find("tts", ["espeak-ng"]).engine
    try:
        assert [piece async for piece in voice.synthesize("hello")]
        assert "en-gb" in voice.voices
    finally:
        await models.close()
