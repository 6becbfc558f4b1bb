"""What the facts of ``visavis doctor`` mean: can it serve, what would make it better, and by which command. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipelines.engines.mediapipe.library import REPORTS
from pipelines.engines.registry import TASKS, EngineSpec, Stage, called, engines, named, runner, stage_of, standby
from pipelines.engines.remote.library import REMEDY
from pipelines.engines.stt.whisper_settings import ENGLISH_ONLY
from pipelines.errors import ModelError
from pipelines.runtime.hardware import Library, choose_device
from pipelines.runtime.processor import Processor
from pipelines.tools.definition import MCP_REMEDY
from pipelines.vision.detectors import DETECTORS
from server.cli.doctor.facts import Facts, ModelState
from server.settings import Settings

Status = Literal["ok", "better", "missing"]
"""``better``: it works, and the remedy would make it work better. ``missing``: it cannot serve without."""

_ESSENTIAL = ("aiohttp", "aiortc", "av", "numpy", *(name for spec in engines("vad") for name in spec.packages))
_LITTLE_DISK = 2 << 30
_LITTLE_MEMORY = 1 << 30
RAY_START = "ray start --address=HEAD:6379 --num-cpus=0 --num-gpus=0"
KEY_REMEDY = "VISAVIS_API_KEY=$(openssl rand -hex 16) visavis serve"
_FEW_DAYS = 14
"""In which a certificate should be renewed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding."""

    area: str
    name: str
    status: Status
    detail: str
    remedy: str = ""
    """The exact command that would make it better; empty when there is none."""


def diagnose(facts: Facts, settings: Settings) -> list[Check]:
    """All findings, area by area."""
    return [
        *_packages(facts),
        *_processor(facts.devices.processor),
        *_accelerators(facts),
        *_system(facts, settings),
        *_models(facts),
        *_engines(facts, settings),
        *_tools(facts),
    ]


def can_serve(checks: list[Check]) -> bool:
    """Whether nothing essential is missing."""
    return all(check.status != "missing" for check in checks)


# ------------------------------------------------------------------------------------------------- packages


def _packages(facts: Facts) -> Iterator[Check]:
    running = ".".join(map(str, facts.python))
    if facts.python < (3, 11, 0):
        yield Check("packages", "python", "missing", f"{running} is older than 3.11", "make setup PYTHON=python3.11")
    else:
        yield Check("packages", "python", "ok", f"{running} on {facts.system}")
    needed = {*_ESSENTIAL}
    if facts.versions.get("onnxruntime-gpu"):
        needed.discard("onnxruntime")
    for name, installed in facts.versions.items():
        if installed is not None:
            yield Check("packages", name, "ok", installed)
        elif name in needed:
            yield Check("packages", name, "missing", "not installed", f"pip install {name}")
    yield from _conflicts(facts)


def _conflicts(facts: Facts) -> Iterator[Check]:
    torch, wanted = facts.versions.get("torch"), facts.torchvision_wants
    if torch and wanted and torch.split("+")[0] != wanted.split("+")[0]:
        detail = f"is built for torch {wanted}, and {torch} is installed: importing it breaks transformers"
        yield Check("packages", "torchvision", "better", detail, "pip uninstall -y torchvision")
    if facts.versions.get("onnxruntime") and facts.versions.get("onnxruntime-gpu"):
        detail = "onnxruntime and onnxruntime-gpu overwrite each other's files"
        remedy = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'onnxruntime-gpu[cuda,cudnn]'"
        yield Check("packages", "onnxruntime", "better", detail, remedy)


# ------------------------------------------------------------------------------------------------- devices


def _processor(found: Processor) -> Iterator[Check]:
    cores = (
        f"{found.cores} of {found.cores_present} cores" if found.cores < found.cores_present else f"{found.cores} cores"
    )
    flags = f"; {', '.join(found.flags)}" if found.flags else ""
    yield Check("devices", "processor", "ok" if found.cores > 1 else "better", f"{found.model}, {cores}{flags}")
    if found.memory_total is None or found.memory_free is None:
        yield Check("devices", "memory", "ok", "unknown")
        return
    status: Status = "ok" if found.memory_free >= _LITTLE_MEMORY else "better"
    yield Check("devices", "memory", status, f"{size(found.memory_free)} free of {size(found.memory_total)}")


def _accelerators(facts: Facts) -> Iterator[Check]:
    devices = facts.devices
    if not devices.nvidia_driver:
        yield Check("devices", "cuda", "ok", "no NVIDIA driver: everything runs on the processor")
    for library in devices.libraries.values():
        if library.version is None:
            continue
        lacking = devices.nvidia_driver and "cuda" not in library.devices and library.name != "openvino"
        detail = f"{library.version} on {', '.join(library.devices) or 'nothing'}"
        for accelerator in library.accelerators:
            detail += f"; {accelerator.name}"
            if accelerator.memory_total is not None and accelerator.memory_free is not None:
                detail += f", {size(accelerator.memory_free)} free of {size(accelerator.memory_total)}"
        detail = "; ".join((detail, *library.facts))
        if lacking:
            yield Check("devices", library.name, "better", f"{detail}; {library.reason}", _cuda_remedy(library))
        else:
            yield Check("devices", library.name, "ok", detail)
    if devices.npu and "npu" not in devices.library("openvino").devices:
        remedy = "pip install openvino openvino-genai"
        yield Check("devices", "npu", "better", f"there is one, but {devices.library('openvino').reason}", remedy)


def _cuda_remedy(library: Library) -> str:
    if library.name == "torch":
        return "pip install --force-reinstall torch" if "without CUDA" in library.reason else "nvidia-smi"
    if library.name == "onnxruntime":
        return "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"
    if library.name == "litert":
        return "apt-get install libvulkan1"
    return "pip install nvidia-cublas-cu12"


# ------------------------------------------------------------------------------------------------- system


def _system(facts: Facts, settings: Settings) -> Iterator[Check]:
    if facts.vision is None:
        yield Check("system", "vision libraries", "ok", "mediapipe can be loaded")
    else:
        detail, _, remedy = facts.vision.rpartition(": ")
        yield Check("system", "vision libraries", "better", detail or remedy, remedy if detail else "")
    if facts.vision_reports:
        yield Check("system", "vision reports", "better", REPORTS, "VISAVIS_VISION=false visavis serve")
    address = f"{settings.host}:{settings.port}"
    if facts.tcp_problem is None:
        yield Check("network", "port", "ok", f"{address} is free")
    else:
        detail = f"cannot listen on {address}: {facts.tcp_problem} (another visavis, perhaps)"
        yield Check("network", "port", "missing", detail, "visavis serve --port 0")
    if settings.grpc_port is not None:
        place = f"{settings.host_of_grpc}:{settings.grpc_port}"
        detail = f"cannot listen on {place}: {facts.grpc_problem}" if facts.grpc_problem else f"{place} is free"
        yield Check("network", "gRPC port", "missing" if facts.grpc_problem else "ok", detail)
    if settings.unsafe is not None:
        yield Check("network", "key", "missing", settings.unsafe, KEY_REMEDY)
    for clash in settings.clashes():
        yield Check("system", "settings", "missing", str(clash))
    if facts.udp_problem is not None:
        yield Check("network", "media", "missing", f"no UDP socket can be opened: {facts.udp_problem}")
    yield from _https(facts, settings)
    yield from _folders(facts, settings)


def _https(facts: Facts, settings: Settings) -> Iterator[Check]:
    """Browsers give the microphone to pages of this machine and to those of https: alone."""
    if facts.tls_problem is not None:
        yield Check("network", "https", "missing", facts.tls_problem)
    elif facts.tls_days is not None and settings.tls_cert is not None and facts.tls_days < _FEW_DAYS:
        how = "has expired" if facts.tls_days <= 0 else f"expires in {facts.tls_days:.0f} days"
        yield Check("network", "https", "better", f"the certificate {settings.tls_cert} {how}")
    elif settings.tls_self_signed:
        yield Check("network", "https", "ok", "with a certificate made here, which browsers warn of once")
    elif settings.tls_cert is not None:
        yield Check("network", "https", "ok", f"with {settings.tls_cert}, for {facts.tls_days or 0:.0f} days")
    elif not settings.on_loopback and not settings.public_origins:
        detail = "not served: browsers on other machines have no microphone here (docs/how-to/https-on-a-lan.md)"
        yield Check("network", "https", "better", detail, "visavis serve --tls self-signed")


def _folders(facts: Facts, settings: Settings) -> Iterator[Check]:
    cache = settings.cache.expanduser()
    wrong = {name: problem for name, _, problem in (one.partition(": ") for one in facts.folder_problems)}
    for name, problem in wrong.items():
        yield Check("folders", name, "missing", problem, f"ls -ld {getattr(settings, name)}")
    if "cache" in wrong:  # who names a folder wants that one
        pass
    elif facts.cache_problem is not None:
        detail = f"nothing can be kept: {facts.cache_problem}"
        yield Check("folders", "cache", "better", detail, "VISAVIS_CACHE=/path/to/a/folder visavis serve")
    elif facts.cache_free is not None:
        status: Status = "ok" if facts.cache_free >= _LITTLE_DISK else "better"
        remedy = "" if status == "ok" else "VISAVIS_CACHE=/path/to/a/folder visavis serve"
        yield Check("folders", "cache", status, f"{cache}, {size(facts.cache_free)} free", remedy)
    if settings.models is not None and "models" not in wrong:
        yield Check("folders", "models", "ok", str(settings.models))


def _models(facts: Facts) -> Iterator[Check]:
    if facts.catalogue_problem is not None:
        yield Check("models", "catalogue", "missing", facts.catalogue_problem, "pip install --force-reinstall .")
    for model in facts.models:
        if model.problem is None:
            licence = f"; licence {model.licence}" if model.licence else ""
            yield Check("models", model.id, "ok", f"{model.description}{licence}")
        elif model.stored:
            yield Check("models", model.id, "better", model.problem, f"visavis models pull {model.id}")
    absent = [model.id for model in facts.models if model.problem is not None and not model.stored]
    if absent:
        yield Check("models", "not here yet", "ok", ", ".join(absent))


# ------------------------------------------------------------------------------------------------- engines


def _engines(facts: Facts, settings: Settings) -> Iterator[Check]:
    """What each stage would run on, as far as that can be told without loading anything."""
    if facts.asked_problem is not None:
        yield Check("engines", "asked for", "missing", facts.asked_problem)
    for spec in engines("vad"):
        if all(map(facts.versions.get, spec.packages)):
            yield Check("engines", "vad", "ok", f"{spec.packages[0]} on cpu")
    turn = next((model for model in facts.models if stage_of(model.task) == "turn"), None)
    if turn is not None and turn.problem is None:
        yield Check("engines", "turn", "ok", f"{turn.id} on cpu")
    else:
        yield Check("engines", "turn", "better", "rules: words and pauses decide", _pull(turn))
    embedded = settings.profile == "embedded"
    yield _stage(facts, "stt", settings.stt_model, embedded=embedded)
    asks_servers = settings.chat_model in ("auto", "openai") and (not embedded or settings.llm_url is not None)
    if facts.served is not None and asks_servers:
        yield Check("engines", "llm", "ok", facts.served)
    else:
        yield _stage(facts, "llm", settings.chat_model, embedded=embedded)
    yield _stage(facts, "tts", settings.tts_model, embedded=embedded)
    yield from _ray(facts, settings)
    yield _vision(facts)
    yield _tflite(facts, settings.litert_device)
    for stage in ("stt", "llm", "tts"):
        yield Check("engines", f"{stage} by name", "ok", ", ".join(named(stage)))


def _stage(facts: Facts, stage: Stage, word: str, *, embedded: bool) -> Check:
    """The engine in the order in which a start takes them: what is asked for, the best that is here, what stands by."""
    last = standby(stage)
    word = last.name if embedded and word == "auto" else word
    if word in named(stage) and called(stage, word).build:
        return Check("engines", stage, *_usable(facts, called(stage, word)))
    models = [model for model in facts.models if model.task == TASKS[stage]]
    if word not in ("auto", *named(stage), *(model.id for model in models)):
        return Check("engines", stage, "ok", f"asked for: {word}")
    models = [model for model in models if word in ("auto", model.id)]
    here = [(model, spec) for model in models if model.problem is None and (spec := runner(stage, model.requires))]
    ready = [(model, spec) for model, spec in here if facts.versions.get(spec.packages[0])]
    if ready:
        model, spec = ready[0]
        broad = next((other for other, _ in ready if not other.id.endswith(ENGLISH_ONLY)), model)
        second = "" if stage != "stt" or broad is model else f"; {broad.id} hears what it doubts, and other languages"
        return Check("engines", stage, "ok", f"{model.id} {_where(facts, spec)}{second}")
    if here:
        model, spec = here[0]
        detail = f"{last.name} on cpu: {spec.packages[0]}, which {model.id} needs, is not installed"
        return Check("engines", stage, "better", detail, f"pip install {spec.packages[0]}")
    status, detail, remedy = _usable(facts, last)
    if status == "missing":
        return Check("engines", stage, status, detail, remedy)
    if stage == "llm":
        small = [model for model in models if (spec := runner(stage, model.requires)) and spec.name == "llama.cpp"]
        remedy = _pull(next(iter((*small, *models)), None)) or "ollama serve & ollama pull qwen2.5:3b"
        return Check("engines", stage, "better", f"{last.name} on cpu, {last.remark}: {facts.not_served}", remedy)
    remedy = _pull(next(iter(models), None))
    return Check("engines", stage, "better", f"{last.name} on cpu: {last.remark}; nothing better is here", remedy)


def _ray(facts: Facts, settings: Settings) -> Iterator[Check]:
    """Engines on other machines: without them those of this machine serve."""
    if settings.ray_address is None:
        return
    if facts.ray is not None:
        yield Check("engines", "ray", "ok", f"at {settings.ray_address}: {facts.ray}")
    elif facts.versions.get("ray") is None:
        yield Check("engines", "ray", "better", "the package ray is not installed", REMEDY)
    else:
        yield Check("engines", "ray", "better", f"engines of this machine serve: {facts.ray_problem}", RAY_START)


def _tools(facts: Facts) -> Iterator[Check]:
    for name, what in facts.tools:
        if what.startswith("mcp ") and facts.versions.get("mcp") is None:
            yield Check("tools", name, "missing", f"{what}: the package mcp is not installed", MCP_REMEDY)
        else:
            yield Check("tools", name, "ok", what)


def _usable(facts: Facts, spec: EngineSpec) -> tuple[Status, str, str]:
    """Whether an engine that needs no model can be used."""
    for package in spec.packages:
        if facts.versions.get(package) is None:
            return "missing", f"{spec.name} needs {package}, which is not installed", f"pip install {package}"
    return "ok", f"{spec.name} {_where(facts, spec)}: {spec.about}", ""


def _vision(facts: Facts) -> Check:
    served = {model_id for row in DETECTORS.values() for model_id in row.models}
    models = [model for model in facts.models if model.id in served]
    ready = {model.id for model in models if model.problem is None}
    if facts.vision is not None:
        return Check("engines", "vision", "better", "nothing is seen: the vision libraries are missing")
    found = [row.name for row in DETECTORS.values() if not row.models or not ready.isdisjoint(row.models)]
    if not found:
        return Check(
            "engines", "vision", "better", "nothing is seen: no models are here", _pull(next(iter(models), None))
        )
    return Check("engines", "vision", "ok", f"mediapipe on cpu finds {', '.join(found)}")


def _tflite(facts: Facts, wanted: str) -> Check:
    """What ``.tflite`` models run on."""
    library = facts.devices.library("litert")
    if library.version is None:
        return Check(
            "engines", "tflite", "ok", "no .tflite models: LiteRT is not installed (pip install ai-edge-litert)"
        )
    try:
        device, reason = choose_device(wanted, library)
    except ModelError as error:
        return Check("engines", "tflite", "missing", f"litert_{error.message}")
    return Check("engines", "tflite", "ok", f"litert {library.version} on {device}: {reason}")


def _where(facts: Facts, spec: EngineSpec) -> str:
    if spec.runs or not spec.library:
        return f"on {spec.runs or 'cpu'}"
    try:
        device, reason = choose_device("auto", facts.devices.library(spec.library))
    except ModelError as error:
        return f"nowhere: {error.message}"
    return f"on {device}: {reason}"


def _pull(model: ModelState | None) -> str:
    return f"visavis models pull {model.id}" if model is not None else ""


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"
