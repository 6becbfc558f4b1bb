"""Fewer bits while loading: which method is taken, what each needs, and what the real ones do to a tiny model."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.llm.transformers_chat import load_chat
from pipelines.errors import LLMError, ModelError
from pipelines.models.weights import placement, quantization
from pipelines.models.weights.placement import DeviceMap, placing
from pipelines.models.weights.quantization import check_readable, method_for
from tests.fakes.tiny_llama import save_tiny_llama


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("llama"))


def here(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    for module in (quantization, placement):
        monkeypatch.setattr(module, "find_spec", lambda name: object() if name in packages else None)


@pytest.mark.parametrize(
    ("asked", "device", "packages", "method"),
    [
        ("8bit", "cpu", ("torchao", "bitsandbytes"), "torchao-int8"),
        ("8bit", "cpu", ("bitsandbytes",), "bnb-int8"),
        ("8bit", "cuda", ("torchao", "bitsandbytes"), "bnb-int8"),
        ("4bit", "cpu", ("torchao", "bitsandbytes"), "bnb-nf4"),
        ("torchao-int8-dynamic", "cuda:1", ("torchao",), "torchao-int8-dynamic"),
    ],
)
def test_the_method_that_is_meant(
    asked: str, device: str, packages: tuple[str, ...], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(monkeypatch, *packages)
    assert method_for(asked, device) == method


@pytest.mark.parametrize(
    ("asked", "device", "words"),
    [
        ("4bit", "cpu", "pip install bitsandbytes"),
        ("8bit", "cuda", "bnb|pip install bitsandbytes"),
        ("bnb-nf4", "cpu", "pip install bitsandbytes"),
        ("3bit", "cpu", "legal: 8bit, 4bit, torchao-int8"),
    ],
)
def test_what_is_missing_is_named(asked: str, device: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch, "torchao")
    with pytest.raises(LLMError, match=words) as caught:
        method_for(asked, device)
    assert caught.value.code == "quantization_unavailable"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("gptq", "need gptqmodel: pip install gptqmodel .*GGUF file"),
        ("awq", "need gptqmodel"),
        ("bitsandbytes", "pip install bitsandbytes"),
        ("strange", "no library here is known to read it"),
    ],
)
def test_weights_that_cannot_be_read_here(
    how: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": how}}), "utf-8")
    here(monkeypatch)
    with pytest.raises(ModelError, match=words):
        load_chat(tmp_path)
    here(monkeypatch, "gptqmodel", "bitsandbytes", "strange")
    check_readable(tmp_path, None)
    with pytest.raises(ModelError, match="quantised already"):
        check_readable(tmp_path, "8bit")


def logits(folder: Path, method: str | None) -> Any:
    import torch

    model = load_chat(folder, dtype="float32", quantization=method).model
    with torch.inference_mode():
        return model(input_ids=torch.arange(3, 40)[None]).logits.float()


@pytest.mark.parametrize(
    ("method", "most"), [("torchao-int8", 0.06), ("torchao-int8-dynamic", 0.1), ("bnb-int8", 0.1), ("bnb-nf4", 0.7)]
)
def test_real_methods_change_a_little(method: str, most: float, folder: Path) -> None:
    package = quantization.METHODS[method].package
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    plain, found = logits(folder, None), logits(folder, method)
    error = float((found - plain).norm() / plain.norm())
    assert 0 < error < most


# ------------------------------------------------------------------------------------------------ several devices


def test_the_device_map_reaches_transformers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    library: Any = transformers
    real, asked = library.AutoModelForCausalLM.from_pretrained, []

    def from_pretrained(source: str, **options: Any) -> Any:
        asked.append({name: options.pop(name, None) for name in ("device_map", "max_memory")})
        return real(source, **options)

    monkeypatch.setattr(library.AutoModelForCausalLM, "from_pretrained", from_pretrained)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    wanted = DeviceMap("balanced_low_0", {"0": "10GiB", "1": "20GiB", "cpu": "500MB"})
    load_chat(folder, "cuda", "float32", device_map=wanted)  # and is not moved to one device afterwards
    limits = {0: "10GiB", 1: "20GiB", "cpu": "500MB"}
    assert asked == [{"device_map": "balanced_low_0", "max_memory": limits}]


@pytest.mark.parametrize(
    ("wanted", "device", "code", "words"),
    [
        (DeviceMap("everywhere"), "cuda", "device_map_unknown", "legal: auto, balanced"),
        (DeviceMap("auto", {"first": "1GiB"}), "cuda", "device_map_unknown", "numbers of GPUs"),
        (DeviceMap("auto", {"0": "much"}), "cuda", "device_map_unknown", "such as 20GiB"),
        (DeviceMap("auto"), "cpu", "device_unavailable", "torch sees none here"),
        (DeviceMap("auto"), "cuda", "library_missing", "pip install accelerate"),
    ],
)
def test_maps_that_cannot_be(
    wanted: DeviceMap, device: str, code: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(monkeypatch)
    with pytest.raises(LLMError, match=words) as caught:
        placing(wanted, device)
    assert caught.value.code == code
