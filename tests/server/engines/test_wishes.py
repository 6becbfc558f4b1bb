"""What is asked for is known before anything is loaded, or refused by name with what is legal."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from faster_whisper.tokenizer import _LANGUAGE_CODES

from pipelines.engines.stt.whisper_settings import LANGUAGES
from pipelines.errors import DefinitionError
from pipelines.models.weights.adapters import Adapter, Adapters, Kind
from pipelines.routing.definition import SHIPPED, load
from pipelines.runtime.hardware import Devices, Library
from pipelines.runtime.processor import read_processor
from server.engines.wishes import Wishes
from server.settings import load_settings
from server.stores import model_store


def wishes(cache: Path, **flags: object) -> Wishes:
    settings = load_settings({"cache": cache, **flags})
    return Wishes(settings, load(settings.pipeline), model_store(settings))


def devices(*kinds: str) -> Devices:
    """A machine on which only CTranslate2 can use anything else than the processor."""
    libraries = {name: Library(name, "1", ("cpu",), reason="there is no NVIDIA driver") for name in ("torch",)}
    libraries["ctranslate2"] = Library("ctranslate2", "1", ("cpu", *kinds))
    return Devices(read_processor(), nvidia_driver=bool(kinds), npu=False, libraries=libraries)


def test_the_languages_are_those_of_faster_whisper() -> None:
    assert set(LANGUAGES) == set(_LANGUAGE_CODES)


def test_nothing_in_particular_is_always_possible(tmp_path: Path) -> None:
    for profile in ("auto", "embedded", "bench"):
        wishes(tmp_path, profile=profile, download=False).check()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            {"stt_model": "whisper-smal.en"},
            r"stt_model: there is no model 'whisper-smal.en'; did you mean whisper-small",
        ),
        (
            {"stt_model": "./nowhere"},
            r"stt_model: there is no model './nowhere'; legal values are auto, pocketsphinx, .*a folder",
        ),
        ({"chat_model": "gpt-99"}, "chat_model: there is no model 'gpt-99'; legal values are auto, openai, starter"),
        ({"tts_model": "espeak"}, r"tts_model: there is no model 'espeak'; did you mean espeak-ng\?"),
        ({"tts_model": "."}, "tts_model: there is no model '.'"),
        ({"language": "xx"}, "language: there is no language 'xx'; legal values are af, am, .*zh "),
        ({"language": "en-US"}, r"language: there is no language 'en-us'; did you mean en\?"),
        ({"language": "english"}, r"language: there is no language 'english'; did you mean en\?"),
        (
            {"language": "de", "stt_model": "pocketsphinx"},
            "stt_model pocketsphinx: it knows English alone; for language de",
        ),
        (
            {"language": "de", "stt_model": "whisper-small.en"},
            "whisper-small.en: it knows English alone; .* whisper-base, a",
        ),
        (
            {"stt_task": "translate", "stt_model": "whisper-base.en"},
            "for stt_task translate legal values are auto, whisper-base, ",
        ),
        (
            {"language": "de", "download": False},
            "language de: whisper-base is not here, .* visavis models pull whisper-base",
        ),
        ({"stt_task": "translate", "download": False}, "stt_task translate: whisper-base is not here"),
        (
            {"stt_model": "whisper-small.en", "download": False},
            "stt_model whisper-small.en: whisper-small.en is not here",
        ),
        ({"chat_model": "qwen3-0.6b", "download": False}, "chat_model qwen3-0.6b: qwen3-0.6b is not here"),
        (
            {"tts_model": "piper-en_GB-alba-medium", "download": False},
            "tts_model piper-en_GB-alba-medium: .* is not here",
        ),
        ({"voice": "nobody"}, "voice: there is no voice 'nobody'; legal values are .*en_US-lessac-medium, .*en-us"),
        ({"voice": "en_US-lesac-medium"}, r"voice: .* did you mean en_US-lessac-medium\?"),
        (
            {"voice": "en_US-lessac-medium", "tts_model": "espeak-ng"},
            "voice: there is no voice 'en_US-lessac-medium'; legal",
        ),
        (
            {"voice": "en_US-lessac-medium", "download": False},
            "voice en_US-lessac-medium: piper-en_US-lessac-medium is not",
        ),
        (
            {"chat_model": "starter", "chat_quantization": "8bit"},
            "chat_quantization: is for a chat model on transformers",
        ),
        (
            {"chat_model": "smollm2-135m-instruct-gguf", "chat_device_map": "auto"},
            "chat_device_map: is for a chat model on transformers, not for smollm2",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path: Path, flags: dict[str, object], said: str) -> None:
    with pytest.raises(DefinitionError, match=f"^definition: .*{said}"):
        wishes(tmp_path, **flags).check()


@pytest.mark.parametrize(
    ("model", "kind", "said"),
    [
        ("starter", "peft", "for a model on transformers or llama.cpp, not for starter"),
        ("smollm2-135m-instruct-gguf", "peft", "calm must be a GGUF file for smollm2"),
        ("qwen3-0.6b", "gguf", "calm must be a folder as PEFT writes it for qwen3"),
    ],
)
def test_adapters_are_of_the_kind_that_the_chat_model_takes(tmp_path: Path, model: str, kind: Kind, said: str) -> None:
    known = Adapters()
    known.add(Adapter("calm", tmp_path, kind))
    with pytest.raises(DefinitionError, match=said):
        wishes(tmp_path, chat_model=model).adapters(known)
    wishes(tmp_path, chat_model=model).adapters(Adapters())


def test_peft_is_there_for_adapters_on_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Adapters()
    known.add(Adapter("calm", tmp_path, "peft"))
    monkeypatch.setattr("server.engines.wishes.find_spec", lambda name: None)
    with pytest.raises(DefinitionError, match="pip install peft"):
        wishes(tmp_path, chat_model="qwen3-0.6b").adapters(known)


def test_a_language_asks_for_a_model_that_knows_it(tmp_path: Path) -> None:
    wish = wishes(tmp_path, language="de").stt()
    assert (wish.word, wish.models, wish.required) == ("auto", ("whisper-base",), True)
    wish = wishes(tmp_path, language="EN").stt()
    assert (wish.word, wish.required) == ("auto", False)
    assert {"whisper-base", "whisper-base.en"} <= set(wish.models)
    assert wishes(tmp_path, language="de", stt_model=str(tmp_path)).stt().folder == tmp_path


def test_a_voice_asks_for_the_model_that_has_it(tmp_path: Path) -> None:
    wish = wishes(tmp_path, voice="en_GB-alba-medium").tts()
    assert (wish.word, wish.required) == ("piper-en_GB-alba-medium", True)
    wish = wishes(tmp_path, voice="en-gb").tts()
    assert (wish.word, wish.required) == ("auto", False)


def test_names_in_a_pipeline_are_checked_too(tmp_path: Path) -> None:
    data = yaml.safe_load((SHIPPED / "voice-assistant.yaml").read_text())
    data["pipelines"][0]["stages"][0]["model"] = "whisper-bse"
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(
        DefinitionError, match="pipeline voice-assistant, stage listen, model: there is no model 'whisper-b"
    ):
        wishes(tmp_path, pipeline=file).check()
    data["pipelines"][0]["stages"][0]["model"] = "auto"
    data["pipelines"][0]["stages"][2]["options"]["voice"] = "nobody"
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(DefinitionError, match="voice: there is no voice 'nobody'"):
        wishes(tmp_path, pipeline=file).check()
    del data["pipelines"][0]["stages"][2]
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(DefinitionError, match="pipeline voice-assistant has no stage of type text_to_audio"):
        wishes(tmp_path, pipeline=file).check()


def test_a_device_that_is_not_here_is_refused(tmp_path: Path) -> None:
    cuda = wishes(tmp_path, device="cuda")
    with pytest.raises(
        DefinitionError,
        match=r"device: there is no cuda here \(.*there is no NVIDIA driver.*legal values are auto, cpu \(",
    ):
        cuda.check(devices)
    cuda.check(lambda: devices("cuda"))
    with pytest.raises(DefinitionError, match=r"device: there is no npu here .* legal values are auto, cpu, cuda \("):
        wishes(tmp_path, device="npu").check(lambda: devices("cuda"))
    wishes(tmp_path, device="cpu").check(lambda: pytest.fail("nothing has to be looked at"))
