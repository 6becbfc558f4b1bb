"""The library of pipelines: what ships, what a folder holds, and what happens when that changes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.errors import DefinitionError
from pipelines.routing.library import LOOK_SECONDS, Library, State
from tests.fakes.clock import FakeClock
from tests.patience import PATIENCE

USERS = """\
pipelines:
  - id: ultra-low-latency-voice
    name: Voice assistant, lowest latency
    description: Whole answer begins within 500 ms
    stages:
      - id: mic-to-text
        type: audio_to_text
        preferred_hardware: npu
        model: whisper-tiny
        forwarding_policy:
          enable_confidence_check: false        # speed first: no second attempt
          escalation_path: [ollama-npu]
      - id: process-query
        type: text_generation
        preferred_hardware: igpu
        model: "llama3:7b"
        forwarding_policy:
          enable_latency_check: true
          max_latency_ms: 300
          escalation_path: [ollama-intel, ollama-nvidia]
      - id: text-to-voice
        type: text_to_audio
        preferred_hardware: npu
        model: piper-tts-fast
        forwarding_policy:
          escalation_path: [ollama-npu, ollama-nvidia]
    options:
      enable_streaming: true
      preserve_context: true
      latency_critical: true
      collect_metrics: true

  - id: careful-transcription
    name: Cheap first, better when unsure, cool when hot
    stages:
      - id: listen
        type: audio_to_text
        model: whisper-base
        forwarding_policy:
          enable_confidence_check: true
          min_confidence: 0.8
          enable_thermal_check: true
          max_temperature: 85.0
          max_retries: 3
          escalation_path: [ollama-npu, ollama-intel, ollama-nvidia]
    options: {parallel_stages: true}

backends:
  - id: ollama-npu
    capabilities: {text_generation: true, embedding: true, audio_to_text: true, text_to_audio: true}
    models: [whisper-tiny, whisper-base, piper-tts-fast, "qwen2.5:0.5b"]
  - id: ollama-intel
    capabilities: {text_generation: true, embedding: true, audio_to_text: true}
    models: [whisper-base, "llama3:7b"]
  - id: ollama-nvidia
    capabilities: {text_generation: true, embedding: true, audio_to_text: true, text_to_audio: true,
                   image_to_text: true, text_to_image: true, video_to_text: true}
    models: [whisper-medium, bark-tts, "llava:13b", stable-diffusion-xl, "llama3:70b"]
"""
MAPS = """\
backend_map:
  ollama-npu: cpu
  ollama-intel: {kind: openai, base_url: "http://192.0.2.7:8000/v1"}
  ollama-nvidia: absent
model_map: {whisper-tiny: moonshine-tiny-en, "llama3:7b": smollm2-135m-instruct-gguf,
            piper-tts-fast: piper-en_US-joe-medium}
"""
ORDER = "transcribe translate-speech translate-speech-text interpret video-analysis video-notes".split()


def one(name: str, more: str = "", model: str = "auto") -> str:
    """A file with one pipeline."""
    return f"pipelines:\n  - id: {name}\n    stages:\n      - {{id: a, type: audio_enhance, model: {model}{more}}}\n"


Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``path = write(name, text)``; two versions of a file are never of the same time."""
    times = iter(range(1_000, 2_000))

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        now = next(times)
        os.utime(path, (now, now))
        return path

    return write


def messages(library: Library) -> list[str]:
    return [problem.message for problem in library.problems]


def test_what_ships_is_sound_and_has_names_and_descriptions() -> None:
    library = Library()
    assert library.problems == ()
    assert set(library.pipelines) >= {
        *ORDER,
        *("audio-enhance", "describe-camera", "dictation", "read-aloud", "voice-assistant", "voice-assistant-quality"),
    }
    for entry in library.state.entries.values():
        assert entry.shipped
        assert entry.pipeline.name
        assert entry.pipeline.description.endswith(".")
        assert any(entry.pipeline.graph.lacking([medium]) == "" for medium in entry.pipeline.takes)
    policy = library.get("voice-assistant").stages[0].forwarding_policy
    assert (policy.enable_confidence_check, policy.min_confidence) == (True, 0.84)


def test_the_users_file_loads_unchanged_and_its_backends_are_absent(tmp_path: Path, write: Write) -> None:
    write("user-pipelines.yaml", USERS)
    library = Library(tmp_path, here=lambda model: False)
    assert library.problems == ()
    assert (library.get("ultra-low-latency-voice").takes, library.get("careful-transcription").gives) == (
        ("audio", "video"),
        ("text",),
    )
    for name in ("ollama-npu", "ollama-intel", "ollama-nvidia"):
        assert library.backends.resolve(name).absent.startswith("no address and nothing of that name here")


def test_a_few_lines_map_the_users_names_to_what_is_here(tmp_path: Path, write: Write) -> None:
    write("user-pipelines.yaml", USERS)
    write("backends.yaml", MAPS)
    library = Library(tmp_path, here={"moonshine-tiny-en", "smollm2-135m-instruct-gguf"}.__contains__)
    assert library.problems == ()
    npu, intel, nvidia = (library.backends.resolve(f"ollama-{name}") for name in ("npu", "intel", "nvidia"))
    assert (npu.id, npu.absent) == ("cpu", "")
    assert intel.backend is not None
    assert (intel.backend.base_url, intel.backend.models) == ("http://192.0.2.7:8000/v1", ("whisper-base", "llama3:7b"))
    assert nvidia.absent == "backend_map says that ollama-nvidia is absent"
    assert library.backends.model("whisper-tiny", None) == "moonshine-tiny-en"
    assert library.backends.model("llama3:7b", intel.backend) == "llama3:7b"


def test_the_users_file_beside_the_checkout_loads() -> None:
    file = Path(__file__).parents[4] / "shared" / "user-pipelines.yaml"
    if not file.exists():
        pytest.skip("there is no ../shared/user-pipelines.yaml")
    library = Library(files=[file])
    assert library.problems == ()
    assert {"ultra-low-latency-voice", "careful-transcription"} <= set(library.pipelines)


def test_a_pipeline_with_the_id_of_one_that_ships_replaces_it(tmp_path: Path, write: Write) -> None:
    path = write("mine.yml", one("transcribe"))
    library = Library(tmp_path)
    assert library.state.notes == (f"transcribe of {path} replaces the one that ships",)
    entry = library.state.entries["transcribe"]
    assert (entry.file, entry.shipped, entry.replaces) == (path, False, True)
    path.unlink()
    assert library.reload()
    assert library.state.entries["transcribe"].shipped


def test_of_two_with_the_same_id_the_first_counts(tmp_path: Path, write: Write) -> None:
    first, second = write("a.yaml", one("mine")), write("b.yaml", one("mine", model="other") + one("x")[11:])
    library = Library(tmp_path)
    assert messages(library) == [f"{second}: line 2: pipelines.0.id: mine is in {first} already"]
    assert library.get("mine").stages[0].model == "auto"
    assert library.get("x")


def test_of_two_that_say_something_else_of_a_backend_the_first_counts(tmp_path: Path, write: Write) -> None:
    first = write("a.yaml", "backends: [{id: x, priority: 1}, {id: y}]\nmodel_map: {m: a}\nbackend_map: {x: cpu}\n")
    second = write("b.yaml", "backends:\n- {id: y}\n- {id: x}\nmodel_map: {m: b}\nbackend_map: {x: npu}\n")
    library = Library(tmp_path)
    said = f"{first} says something else of"
    assert messages(library) == [
        f"{second}: line 3: backends.1.id: {said} x, which counts; line 4: model_map.m: {said} m, which counts; "
        f"line 5: backend_map.x: {said} x, which counts"
    ]
    assert (library.backends.resolve("x").id, library.backends.model("m", None)) == ("cpu", "a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            one("p", ", forwarding_policy: {escalation_path: [moon]}"),
            "line 4: pipelines.0.stages.0.forwarding_policy.escalation_path.0: there is no backend 'moon'; legal "
            "values are cpu, cuda, gpu, igpu, npu, ollama",
        ),
        (
            one("p", ", forwarding_policy: {escalation_path: [b]}", "x") + "backends: [{id: b, models: [y]}]\n",
            "line 4: pipelines.0.stages.0.model: no backend of the escalation_path has the model 'x': b has y",
        ),
        (
            one("p") + "tools:\n  - {kind: function, function: 'a:b'}\n",
            "line 5: tools: are read from the file of the setting pipeline, and from that of the setting tools",
        ),
        (
            "backend_map: {a: moon}\n",
            "line 1: backend_map.a: there is no backend 'moon'; "
            "legal values are "
            "absent, cpu, cuda, gpu, igpu, npu, ollama",
        ),
        ("", "is empty; legal values are the fields backend_map, backends, model_map, pipelines, tools"),
    ],
)
def test_what_does_not_fit_together_is_told_and_left_out(text: str, said: str, tmp_path: Path, write: Write) -> None:
    path = write("mine.yaml", text)
    library = Library(tmp_path, here=lambda model: False)
    assert [(problem.file, problem.message) for problem in library.problems] == [(str(path), f"{path}: {said}")]
    assert "p" not in library.pipelines


def test_a_model_of_this_machine_serves_what_no_backend_has(tmp_path: Path, write: Write) -> None:
    path = ", forwarding_policy: {escalation_path: [b]}"
    write("mine.yaml", one("p", path, "x") + "backends: [{id: b, models: [y]}]\n")
    assert Library(tmp_path, here={"x"}.__contains__).problems == ()


def test_the_conversations_own_file_may_hold_tools_and_counts_once(tmp_path: Path, write: Write) -> None:
    path = write("mine.yaml", one("p") + "tools:\n  - {kind: function, function: 'a:b'}\n")
    library = Library(tmp_path, files=[tmp_path / "." / "mine.yaml"])
    assert library.problems == ()
    assert library.state.entries["p"].file == path


def test_a_broken_file_keeps_what_it_said_before(tmp_path: Path, write: Write) -> None:
    path = write("mine.yaml", one("p", model="first"))
    library = Library(tmp_path)
    held = library.get("p")
    write("mine.yaml", one("p", model="second") + "oops: 1\n")
    assert library.reload()
    (message,) = messages(library)
    assert message.startswith(f"{path}: line 5: oops: there is no field 'oops'")
    assert message.endswith("(what the file said before goes on)")
    assert library.get("p") is held
    write("mine.yaml", one("p", ", forwarding_policy: {escalation_path: [moon]}"))
    assert library.reload()
    assert "there is no backend 'moon'" in messages(library)[0]
    assert library.get("p") is held
    write("mine.yaml", one("p", model="third"))
    assert library.reload()
    assert (library.problems, library.get("p").stages[0].model, held.stages[0].model) == ((), "third", "first")


def test_pipelines_go_on_when_the_file_with_their_backends_is_gone(tmp_path: Path, write: Write) -> None:
    maps = write("backends.yaml", "backend_map: {mine: cpu}\n")
    write("mine.yaml", one("p", ", forwarding_policy: {escalation_path: [mine]}"))
    library = Library(tmp_path)
    assert library.problems == ()
    maps.unlink()
    assert library.reload()
    assert "there is no backend 'mine'" in messages(library)[0]
    assert library.get("p")
    assert library.backends.resolve("mine").absent == "no file declares a backend mine"
    write("backends.yaml", "backend_map: {mine: npu}\n")
    assert library.reload()
    assert (library.problems, library.backends.resolve("mine").id) == ((), "npu")


def test_nothing_is_read_twice_that_has_not_changed(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.yaml", one("a"))
    library = Library(tmp_path)
    state, read = library.state, []
    load = Library._looked.__globals__["load_part"]
    monkeypatch.setattr("pipelines.routing.library.load_part", lambda path: read.append(path.name) or load(path))
    assert not library.reload()
    assert library.state is not None
    assert (library.state, read) == (state, [])
    write("b.yaml", one("b"))
    assert library.reload()
    assert read == ["b.yaml"]


def test_a_folder_that_is_gone_keeps_its_pipelines(tmp_path: Path, write: Write) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write("mine/p.yaml", one("p"))
    library = Library(folder)
    folder.rename(tmp_path / "elsewhere")
    assert library.reload()
    assert [problem.message for problem in library.problems if problem.file == str(folder)] == [
        "No such file or directory"
    ]
    assert library.get("p")
    (tmp_path / "elsewhere").rename(folder)
    assert library.reload()
    assert library.problems == ()


def test_other_files_of_the_folder_are_left_alone(tmp_path: Path, write: Write) -> None:
    for name in ("notes.txt", ".hidden.yaml", "p.yaml~"):
        write(name, "oops")
    (tmp_path / "folder.yaml").mkdir()
    library = Library(tmp_path)
    assert messages(library) == [f"{tmp_path / 'folder.yaml'}: is no file"]


def test_an_unknown_pipeline_is_refused_with_those_there_are() -> None:
    with pytest.raises(DefinitionError, match="there is no pipeline 'transcibe'; did you mean transcribe") as raised:
        Library().get("transcibe")
    assert raised.value.code == "unknown_pipeline"


async def test_changes_are_seen_while_the_server_runs(
    tmp_path: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipelines.routing.library")
    library, clock = Library(tmp_path), FakeClock()
    told: asyncio.Queue[State] = asyncio.Queue()

    def fails(state: State) -> None:
        raise RuntimeError("a listener's defect")

    library.subscribe(fails)
    end = library.subscribe(told.put_nowait)
    watching = asyncio.create_task(library.keep_watching(clock))

    async def next_look() -> None:
        assert await asyncio.wait_for(clock.sleeper(), PATIENCE) == pytest.approx(LOOK_SECONDS)
        clock.advance(LOOK_SECONDS)

    try:
        write("mine.yaml", one("p"))
        await next_look()
        state = await asyncio.wait_for(told.get(), PATIENCE)
        assert "p" in state.entries
        write("mine.yaml", "oops")
        await next_look()
        (problem,) = (await asyncio.wait_for(told.get(), PATIENCE)).problems
        assert "must be a mapping" in problem.message
        (tmp_path / "mine.yaml").unlink()
        await next_look()
        assert "p" not in (await asyncio.wait_for(told.get(), PATIENCE)).entries
        end()
        write("mine.yaml", one("q"))
        await next_look()
        await asyncio.wait_for(clock.sleeper(), PATIENCE)
        assert (told.empty(), "q" in library.pipelines) == (True, True)
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    lines = [record.getMessage() for record in caplog.records if record.levelno < logging.ERROR]
    assert lines == [
        "pipelines read again: p",
        problem.message,
        "pipelines read again: p is gone",
        "pipelines read again: q",
    ]
