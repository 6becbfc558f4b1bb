"""The doctor on machines that are made up, and once on this one."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines.runtime.hardware import Accelerator, Devices, Library, survey
from pipelines.runtime.processor import Processor
from server.cli.doctor import facts as doctor_facts
from server.cli.doctor.diagnosis import Check, can_serve, diagnose
from server.cli.doctor.facts import PACKAGES, Facts, ModelState, gather
from server.cli.doctor.report import doctor, report, show
from server.cli.main import main
from server.http.tls.certificates import self_signed
from server.settings import load_settings

GIB = 1 << 30
ELSEWHERE = "VISAVIS_CACHE=/path/to/a/folder visavis serve"
PROCESSOR = Processor("Some Xeon", 4, 8, 16 * GIB, 12 * GIB, ("avx2",))
CPU_ONLY = Devices(
    PROCESSOR,
    nvidia_driver=False,
    npu=False,
    libraries={n: Library(n, "1.0", ("cpu",), reason="there is no NVIDIA driver") for n in ("torch", "onnxruntime")},
)
TURN = ModelState("smart-turn", "turn-detection", "judges", None, True)
FACE = ModelState("face", "face-detection", "faces", None, True, "Apache-2.0")
WHISPER = ModelState("whisper-base-en", "speech-to-text", "Whisper", "it is not in the store")
HUGE = ModelState("huge", "chat", "a model", "it is not in the store", requires="transformers")
SMALL = ModelState("small", "chat", "a model", "it is not in the store", requires="xllamacpp")
FACTS = Facts(
    python=(3, 12, 1),
    system="Linux",
    versions={name: "1.0" for name in PACKAGES if name not in ("onnxruntime-gpu", "torchvision", "openvino")},
    devices=CPU_ONLY,
    cache_free=50 * GIB,
    models=(TURN, FACE, WHISPER),
    not_served="nobody answers",
)
SETTINGS = load_settings({})


def without(*packages: str, **changes: Any) -> Facts:
    return replace(FACTS, versions={**FACTS.versions, **dict.fromkeys(packages)}, **changes)


def gpu(**libraries: Library) -> Facts:
    return replace(FACTS, devices=Devices(PROCESSOR, True, False, libraries))


def find(facts: Facts, area: str, name: str, settings: Any = SETTINGS) -> Check:
    (check,) = [c for c in diagnose(facts, settings) if (c.area, c.name) == (area, name)]
    return check


def test_a_machine_that_has_everything_needed_can_serve():
    checks = diagnose(FACTS, SETTINGS)
    assert can_serve(checks)
    assert "4 of 8 cores" in find(FACTS, "devices", "processor").detail
    assert find(FACTS, "devices", "memory").detail == "12.0 GiB free of 16.0 GiB"


def test_tools_are_listed_and_those_of_mcp_servers_need_their_package():
    named = (("light", "function house:light"), ("files", "mcp npx"))
    assert [find(replace(FACTS, tools=named), "tools", name).status for name, _ in named] == ["ok", "ok"]
    lacking = find(without("mcp", tools=named), "tools", "files")
    assert (lacking.status, lacking.remedy) == ("missing", "pip install '.[mcp]'")


def test_what_the_files_say_of_tools_is_found(tmp_path, monkeypatch):
    file = tmp_path / "tools.yaml"
    file.write_text("tools: [{kind: function, function: 'house:light', name: lamp}]")
    monkeypatch.setenv("VISAVIS_TOOL_SECRETS", '{"KEY": "sesame"}')
    settings = load_settings({"tools": file})
    assert doctor_facts._tools(settings) == [("lamp", "function house:light")]
    assert "sesame" not in repr(settings)
    assert settings.tool_secrets["KEY"].get_secret_value() == "sesame"
    file.write_text("tools: [{kind: magic}]")
    assert doctor_facts._tools(settings) == []
    assert "kind" in (doctor_facts._asked(settings) or "")


def test_the_licence_of_each_models_weights_is_told():
    faces = next(check for check in diagnose(FACTS, SETTINGS) if (check.area, check.name) == ("models", "face"))
    assert faces.detail == "faces; licence Apache-2.0"


@pytest.mark.parametrize(
    ("facts", "area", "name", "remedy"),
    [
        (without("aiortc"), "packages", "aiortc", "pip install aiortc"),
        (without("onnxruntime"), "packages", "onnxruntime", "pip install onnxruntime"),
        (replace(FACTS, python=(3, 10, 2)), "packages", "python", "make setup PYTHON=python3.11"),
        (without("pocketsphinx"), "engines", "stt", "pip install pocketsphinx"),
        (without("espeakng-loader"), "engines", "tts", "pip install espeakng-loader"),
        (replace(FACTS, tcp_problem="Address already in use"), "network", "port", "visavis serve --port 0"),
        (replace(FACTS, udp_problem="Permission denied"), "network", "media", ""),
        (replace(FACTS, asked_problem="stt_model: there is no model 'x'"), "engines", "asked for", ""),
        (
            replace(FACTS, catalogue_problem="catalogue.yaml: models.0: bad"),
            "models",
            "catalogue",
            "pip install --force-reinstall .",
        ),
    ],
)
def test_what_is_essential_is_missing(facts, area, name, remedy):
    check = find(facts, area, name)
    assert (check.status, check.remedy) == ("missing", remedy)
    assert not can_serve(diagnose(facts, SETTINGS))


@pytest.mark.parametrize(
    ("facts", "area", "name", "remedy"),
    [
        (FACTS, "engines", "stt", "visavis models pull whisper-base-en"),
        (FACTS, "engines", "llm", "ollama serve & ollama pull qwen2.5:3b"),
        (replace(FACTS, models=(HUGE, SMALL)), "engines", "llm", "visavis models pull small"),
        (replace(FACTS, models=()), "engines", "turn", ""),
        (replace(FACTS, models=(replace(TURN, problem="gone"),)), "engines", "turn", "visavis models pull smart-turn"),
        (
            replace(FACTS, models=(replace(FACE, problem="face.tflite has the checksum 12…"),)),
            "models",
            "face",
            "visavis models pull face",
        ),
        (
            replace(FACTS, vision="libEGL.so.1 is missing: apt-get install libegl1 libgles2"),
            "system",
            "vision libraries",
            "apt-get install libegl1 libgles2",
        ),
        (replace(FACTS, vision_reports=True), "system", "vision reports", "VISAVIS_VISION=false visavis serve"),
        (
            without("faster-whisper", models=(replace(WHISPER, problem=None),)),
            "engines",
            "stt",
            "pip install faster-whisper",
        ),
        (
            replace(FACTS, cache_problem="/x: Read-only"),
            "folders",
            "cache",
            "VISAVIS_CACHE=/path/to/a/folder visavis serve",
        ),
        (replace(FACTS, cache_free=GIB), "folders", "cache", "VISAVIS_CACHE=/path/to/a/folder visavis serve"),
    ],
)
def test_what_could_be_better_has_its_command_and_does_not_keep_it_from_serving(facts, area, name, remedy):
    check = find(facts, area, name)
    assert (check.status, check.remedy) == ("better", remedy)
    assert can_serve(diagnose(facts, SETTINGS))


def test_a_gpu_that_the_libraries_cannot_use():
    facts = gpu(
        torch=Library("torch", "2.13.0+cpu", ("cpu",), reason="this torch is built without CUDA"),
        ctranslate2=Library("ctranslate2", "4.8", ("cpu",), reason="CTranslate2 finds no CUDA device"),
        onnxruntime=Library("onnxruntime", "1.31", ("cpu",), reason="this onnxruntime is built without CUDA"),
    )
    assert find(facts, "devices", "torch").remedy == "pip install --force-reinstall torch"
    assert find(facts, "devices", "ctranslate2").remedy == "pip install nvidia-cublas-cu12"
    assert "onnxruntime-gpu" in find(facts, "devices", "onnxruntime").remedy
    too_old = Library("torch", "2.13.0", ("cpu",), reason="torch cannot start CUDA 13.0 (driver missing or too old)")
    assert find(gpu(torch=too_old), "devices", "torch").remedy == "nvidia-smi"


def test_a_gpu_that_works_is_told_with_its_memory():
    card = Accelerator("cuda", "GeForce", 8 * GIB, 6 * GIB)
    facts = gpu(torch=Library("torch", "2.13.0", ("cpu", "cuda"), (card,), ("CUDA 13.0",)))
    check = find(facts, "devices", "torch")
    assert check.status == "ok"
    assert check.detail == "2.13.0 on cpu, cuda; GeForce, 6.0 GiB free of 8.0 GiB; CUDA 13.0"


def test_an_npu_without_its_library():
    facts = replace(FACTS, devices=replace(CPU_ONLY, npu=True))
    check = find(facts, "devices", "npu")
    assert (check.status, check.remedy) == ("better", "pip install openvino openvino-genai")
    assert "openvino is not installed" in check.detail


def test_packages_that_do_not_fit_each_other():
    facts = without(torchvision_wants="2.12.0")
    facts = replace(
        facts, versions={**facts.versions, "torch": "2.13.0+cpu", "torchvision": "0.27.0", "onnxruntime-gpu": "1.31"}
    )
    checks = [c for c in diagnose(facts, SETTINGS) if c.status == "better" and c.area == "packages"]
    assert [c.remedy.split(" &&")[0] for c in checks] == [
        "pip uninstall -y torchvision",
        "pip uninstall -y onnxruntime onnxruntime-gpu",
    ]
    fitting = replace(facts, torchvision_wants="2.13.0")
    assert "built for" not in " ".join(c.detail for c in diagnose(fitting, SETTINGS))


def test_the_better_engines_are_named_with_their_device():
    tasks = {"w": "speech-to-text", "q": "chat", "p": "text-to-speech"}
    models = [ModelState(name, task, "", None, True) for name, task in tasks.items()]
    card = Accelerator("cuda", "GeForce", 8 * GIB, 6 * GIB)
    libraries = {n: Library(n, "1", ("cpu", "cuda"), (card,)) for n in ("torch", "ctranslate2", "onnxruntime")}
    facts = replace(FACTS, models=models, devices=Devices(PROCESSOR, True, False, libraries))
    assert find(facts, "engines", "stt").detail == "w on cuda: ctranslate2 finds GeForce"
    assert find(facts, "engines", "llm").detail == "q on cuda: torch finds GeForce"
    assert find(facts, "engines", "tts").detail == "p on cuda: onnxruntime finds GeForce"
    assert find(replace(facts, served="llama at http://x"), "engines", "llm").detail == "llama at http://x"
    two = ModelState("m-en", "speech-to-text", "", None, True, requires="onnxruntime"), models[0]
    both = find(replace(facts, models=two), "engines", "stt").detail
    assert both == "m-en on cpu; w hears what it doubts, and other languages"
    embedded = load_settings({"profile": "embedded"})
    assert "starter" in find(facts, "engines", "llm", embedded).detail
    assert find(facts, "engines", "stt", embedded).detail.startswith("pocketsphinx on cpu")


def test_what_is_asked_for_is_examined():
    here, other = (ModelState(name, "speech-to-text", "", None, True) for name in ("w", "v"))
    facts = replace(FACTS, models=(here, other), served="llama at http://x")
    for asked, told in (("v", "v "), ("pocketsphinx", "pocketsphinx on cpu"), ("/my/folder", "asked for: /my/f")):
        assert find(facts, "engines", "stt", load_settings({"stt_model": asked})).detail.startswith(told)
    assert find(facts, "engines", "llm", load_settings({"chat_model": "starter"})).detail.startswith("starter on cpu")
    facts = replace(facts, served=None)
    asked = find(facts, "engines", "llm", load_settings({"chat_model": "openai"}))
    assert (asked.status, asked.detail) == ("better", "starter on cpu, a very small model: nobody answers")


def test_the_report_for_people_tells_each_command_once():
    console = Console(file=io.StringIO(), width=100)
    show(diagnose(without("aiortc"), SETTINGS), console)
    text = console.file.getvalue()
    assert text.count("pip install aiortc") == 1
    assert "visavis cannot serve: aiortc: not installed" in text


def test_brackets_in_a_command_survive():
    facts = gpu(onnxruntime=Library("onnxruntime", "1.31", ("cpu",), reason="built without CUDA"))
    console = Console(file=io.StringIO(), width=200)
    show(diagnose(facts, SETTINGS), console)
    assert "'onnxruntime-gpu[cuda,cudnn]'" in console.file.getvalue()


def test_the_report_for_programs_is_json():
    checks = diagnose(FACTS, SETTINGS)
    data = json.loads(json.dumps(report(FACTS, checks)))
    assert data["can_serve"] is True
    assert data["devices"]["processor"]["cores"] == 4
    assert {"area", "name", "status", "detail", "remedy"} == set(data["checks"][0])


# ------------------------------------------------------------------------------------------------- this machine


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Settings for an examination of this machine that starts no library and asks nobody."""
    monkeypatch.setattr(doctor_facts, "survey", lambda *, deep: survey(root=tmp_path))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    return {"cache": tmp_path / "cache", "port": 0, "llm_url": f"http://127.0.0.1:{port}/v1"}


async def test_this_machine_can_serve(quick):
    out = Console(file=io.StringIO(), width=200)
    assert await doctor(load_settings(quick), out, as_json=True) == 0
    data = json.loads(out.file.getvalue())
    assert data["can_serve"] is True
    assert data["versions"]["aiortc"]
    rows = {(row["area"], row["name"]): row for row in data["checks"]}
    assert rows["engines", "turn"]["remedy"] == "visavis models pull smart-turn"
    assert not (quick["cache"] / "models" / "smart-turn").exists()


async def test_a_port_in_use_is_found(quick):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        quick["port"] = taken.getsockname()[1]
        facts = await doctor_facts.gather(load_settings(quick))
    assert facts.tcp_problem == "Address already in use"


async def test_folders_that_cannot_be_used_are_found(quick, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    quick |= {"cache": tmp_path / "file", "models": tmp_path / "nowhere"}
    facts = await doctor_facts.gather(load_settings(quick))
    assert "file" in (facts.cache_problem or "")
    assert any("nowhere" in problem for problem in facts.folder_problems)


def test_the_command_exits_1_when_it_cannot_serve(quick, monkeypatch, capsys):
    async def nothing(settings: Any) -> Facts:
        return without("aiortc")

    monkeypatch.setattr("server.cli.doctor.report.gather", nothing)
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json"])
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out)["can_serve"] is False


def test_what_is_asked_for_and_cannot_be_had_is_told(tmp_path: Path) -> None:
    assert doctor_facts._asked(load_settings({"cache": tmp_path})) is None
    asked = load_settings({"cache": tmp_path, "stt_model": "whisper-small.en", "download": False})
    assert "stt_model whisper-small.en: whisper-small.en is not here" in str(doctor_facts._asked(asked))


OPEN = {"host": "0.0.0.0", "api_key": "secret-key"}
OWN = {"tls_cert": "c.pem", "tls_key": "k.pem"}


@pytest.mark.parametrize(
    ("flags", "facts", "status", "said"),
    [
        (OPEN, {}, "better", "browsers on other machines have no microphone here"),
        ({**OPEN, "tls_self_signed": True}, {"tls_days": 3.0}, "ok", "made here"),
        (OWN, {"tls_problem": "tls_cert: c.pem: No such file"}, "missing", "tls_cert: c.pem: No such file"),
        (OWN, {"tls_days": 90.0}, "ok", "with c.pem, for 90 days"),
        (OWN, {"tls_days": 13.0}, "better", "the certificate c.pem expires in 13 days"),
        (OWN, {"tls_days": -1.0}, "better", "the certificate c.pem has expired"),
    ],
)
def test_https_is_looked_at(flags, facts, status, said):
    check = find(replace(FACTS, **facts), "network", "https", load_settings(flags))
    assert check.status == status
    assert said in check.detail
    assert check.remedy == ("visavis serve --tls self-signed" if flags is OPEN else "")


@pytest.mark.parametrize("flags", [{}, {**OPEN, "public_origins": "https://assistant.example.org"}])
def test_https_is_not_missed_on_loopback_and_behind_a_proxy(flags):
    assert not [check for check in diagnose(FACTS, load_settings(flags)) if check.name == "https"]


def test_the_certificate_is_looked_at_and_none_is_made(tmp_path):
    made_here = load_settings({"tls_self_signed": True, "cache": tmp_path})
    assert doctor_facts._certificate(made_here) == (None, None)
    assert not list(tmp_path.iterdir())
    made = self_signed(tmp_path / "tls", [])
    problem, days = doctor_facts._certificate(made_here)
    assert problem is None
    assert 364 < (days or 0) <= 365
    own = load_settings({"tls_cert": made.public, "tls_key": made.path})
    assert doctor_facts._certificate(own)[1] == pytest.approx(days, abs=0.01)
    gone = load_settings({"tls_cert": made.public, "tls_key": tmp_path / "gone"})
    assert doctor_facts._certificate(gone) == (f"tls_key: {tmp_path / 'gone'}: No such file or directory", None)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("flags", "name", "said"),
    [
        ({"pipelines": "/nonexistent"}, "pipelines", "/nonexistent: No such file or directory; it must be"),
        ({"models": "/nonexistent"}, "models", "/nonexistent: No such file or directory; it must be"),
        ({"recordings": "/etc/passwd"}, "recordings", "/etc/passwd: /etc/passwd is no folder"),
        ({"cache": "/etc/passwd"}, "cache", "/etc/passwd: /etc/passwd is no folder"),
        ({"idle_prompt": "hey"}, "asked for", "idle_prompt: needs idle_prompt_seconds above 0"),
        ({"host": "0.0.0.0"}, "key", "host 0.0.0.0 can be reached by others: set an API key"),
        (
            {"vision": False, "vision_device": "gpu"},
            "settings",
            "vision_device: has no effect, as nothing is looked at",
        ),
        ({"grpc_port": "TAKEN"}, "gRPC port", "cannot listen on 127.0.0.1:"),
    ],
)
async def test_what_a_start_refuses_is_found(quick, taken, flags, name, said):
    """None of it costs less than the start: exit status 1."""
    flags = {key: taken if value == "TAKEN" else value for key, value in flags.items()}
    settings = load_settings({**quick, **flags}, serves=False)
    checks = diagnose(await gather(settings), settings)
    (found,) = [check for check in checks if check.status == "missing"]
    assert found.name == name
    assert said in found.detail
