"""Models written anew on a tiny Llama: quantised, converted, merged, compared; and ways that there are not."""

from __future__ import annotations

import json
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pipelines.engines.llm.transformers_chat import load_chat
from pipelines.errors import ModelError
from pipelines.models.weights import formats, measure, quantize
from pipelines.models.weights.formats import convert, format_of, size_of
from pipelines.models.weights.measure import Measured, Wish
from pipelines.models.weights.merge import merge, shares
from server.cli.commands import _parser
from server.cli.models_weights import located, run_weights
from server.settings import load_settings
from server.stores import model_store
from tests.fakes.tiny_llama import save_tiny_llama
from tests.fakes.tiny_lora import added, save_tiny_lora


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("weights") / "base")


def logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.arange(3, 40)[None]).logits.float()


@pytest.mark.parametrize("method", ["torchao-int8", "bnb-nf4"])
def test_what_is_written_with_fewer_bits_is_smaller_and_loads_as_a_chat_model(
    method: str, base: Path, tmp_path: Path
) -> None:
    package = "torchao" if method.startswith("torchao") else "bitsandbytes"
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    quantize.quantize(base, tmp_path / "small", method)
    assert size_of(tmp_path / "small") < size_of(base)
    plain, found = (logits(load_chat(folder, dtype="float32").model) for folder in (base, tmp_path / "small"))
    assert 0 < float((found - plain).norm() / plain.norm()) < 0.7
    with pytest.raises(ModelError, match="quantised already"):
        quantize.quantize(tmp_path / "small", tmp_path / "smaller", method)
    assert not (tmp_path / "smaller").exists()
    with pytest.raises(ModelError, match=r"is quantised .*: take the original"):
        convert(tmp_path / "small", tmp_path / "other", "ctranslate2")


def test_ctranslate2_says_nearly_the_same(base: Path, tmp_path: Path) -> None:
    import ctranslate2

    quantize.quantize(base, tmp_path / "ct2", "ct2-int8")
    assert format_of(tmp_path / "ct2") == "ctranslate2"
    # in float32: without VNNI, sums of eight-bit products overflow (oneDNN), which these random weights show more than
    # trained ones do; what is asked here is what was written
    generator: Any = ctranslate2.Generator(str(tmp_path / "ct2"), compute_type="float32")
    words = json.loads((tmp_path / "ct2/vocabulary.json").read_text("utf-8"))
    found = np.array(generator.forward_batch([[words[n] for n in range(3, 40)]]))[0]
    plain = logits(load_chat(base, dtype="float32").model)[0].numpy()
    assert np.linalg.norm(found - plain) / np.linalg.norm(plain) < 0.15


def test_a_gguf_file_with_other_numbers(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the extra `quantize` is not installed")
    random = np.random.default_rng(1)
    weights, odd, flat = (random.standard_normal(shape).astype(np.float32) for shape in ((8, 64), (8, 40), (64,)))
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_string("general.name", "tiny")
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    writer.add_uint32("general.file_type", 0)
    for name, data in (("w", weights), ("odd", odd), ("flat", flat)):
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    convert(tmp_path / "a.gguf", tmp_path / "b.gguf", "gguf", "q8_0")
    reader = gguf.GGUFReader(tmp_path / "b.gguf")
    tensors = {one.name: one for one in reader.tensors}
    assert [tensors[name].tensor_type.name for name in ("w", "odd", "flat")] == ["Q8_0", "F16", "F32"]
    found = gguf.quants.dequantize(tensors["w"].data, tensors["w"].tensor_type)
    assert np.abs(found - weights).max() < 0.03
    assert reader.fields["general.name"].contents() == "tiny"
    assert reader.fields["tokenizer.ggml.tokens"].contents() == ["a", "b"]
    assert reader.fields["general.file_type"].contents() == 7
    with pytest.raises(ModelError, match="legal: f16, bf16, q8_0"):
        convert(tmp_path / "a.gguf", tmp_path / "c.gguf", "gguf", "q3_k")


@pytest.mark.parametrize(
    ("to", "how", "words"),
    [
        ("gguf", "", "convert_hf_to_gguf.py"),
        ("transformers", "", "no way from transformers to transformers"),
        ("gptq", "", "gptqmodel quantises to it, on a GPU"),
        ("awq", "gptq", "no direct way between them"),
        ("gptq", "awq", "no direct way between them"),
        ("onnx", "", "legal: transformers, gguf"),
    ],
)
def test_ways_that_there_are_not(to: str, how: str, words: str, base: Path, tmp_path: Path) -> None:
    source = base
    if how:
        (source := tmp_path / "quantised").mkdir()
        (source / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": how}}), "utf-8")
        (source / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=words):
        convert(source, tmp_path / "out", to)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over_and_what_fails_leaves_nothing(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="exists already"):
        convert(base, tmp_path, "ctranslate2")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text("{}", "utf-8")
    (tmp_path / "broken/model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="broken cannot be written for ctranslate2"):
        convert(tmp_path / "broken", tmp_path / "out", "ctranslate2")
    assert not (tmp_path / "out").exists()
    for place in (tmp_path / "nothing", tmp_path, tmp_path / "broken/config.json"):
        with pytest.raises(ModelError):
            format_of(place)


def test_openvino_is_done_by_whoever_knows_how(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(formats, "export", lambda *arguments: asked.extend(arguments[:4]))
    convert(base, tmp_path / "ov", "openvino", "int4", cache=tmp_path)
    assert asked == [base.resolve(), (tmp_path / "ov").resolve(), tmp_path, "int4"]


@pytest.mark.skipif(find_spec("peft") is None, reason="the extra `adapters` is not installed")
def test_merged_adapters_are_a_plain_model(base: Path, tmp_path: Path) -> None:
    import torch

    model = load_chat(base, dtype="float32").model
    one, two = (save_tiny_lora(tmp_path / f"{n}", model, seed=n) for n in (1, 2))
    merge(base, shares([str(one), f"{two}=-0.5"]), tmp_path / "merged")
    found = logits(load_chat(tmp_path / "merged", dtype="float32").model)
    wanted = logits(added(added(load_chat(base, dtype="float32").model, one), two, -0.5))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-5)
    with pytest.raises(ModelError, match="no share"):
        shares(["a=much"])
    with pytest.raises(ModelError, match="legal: -4 to 4"):
        merge(base, [(one, 9.0)], tmp_path / "out")


def test_the_report_is_arithmetic(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tokens of a vocabulary of two: every number can be done by hand."""
    said = {"base": [[0.5, 0.5], [0.5, 0.5]], "small": [[0.75, 0.25], [0.25, 0.75]]}

    def child(wish: Wish) -> Measured:
        np.save(wish.out, np.log(np.array(said[Path(wish.path).name], np.float32)))
        return Measured([0, 0], 10.0, 20.0)

    monkeypatch.setattr(quantize, "_child", child)
    (tmp_path / "small").mkdir()
    for file in ("config.json", "model.safetensors"):
        (tmp_path / "small" / file).write_bytes(b"12345")
    plain, small = quantize.compare(base, {"x": tmp_path / "small"}, lambda words: None)
    assert (plain.perplexity, plain.divergence, plain.same_top) == (pytest.approx(2.0), 0.0, 1.0)
    assert small.perplexity == pytest.approx(4 / 3)
    assert small.divergence == pytest.approx(0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25), rel=1e-5)
    assert small.same_top == 0.5
    assert small.size_mb == pytest.approx(10e-6)


def test_a_report_on_a_tiny_model_from_the_command_line(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(wish: Wish) -> Measured:
        """In this process, which has its libraries."""
        return measure._ctranslate2(wish) if wish.kind == "ctranslate2" else measure._transformers(wish)

    monkeypatch.setattr(quantize, "_child", here)
    told = Console(width=200, record=True, file=StringIO())
    words = ["models", "quantize", str(base), "--method", "ct2-int8", "--output", str(tmp_path / "ct2")]
    options = _parser().parse_args([*words, "--report", str(tmp_path / "report.json")])
    run_weights(options, model_store(load_settings({"cache": tmp_path})), tmp_path, told)
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    first, second = report["rows"]
    assert (first["name"], second["name"]) == ("original", "ct2-int8")
    assert first["divergence"] == 0.0 < second["divergence"] < 1.0
    assert second["perplexity"] == pytest.approx(first["perplexity"], rel=0.2)
    assert first["same_top"] == 1.0 > second["same_top"] > 0.5
    assert second["size_mb"] < first["size_mb"]
    text = told.export_text()
    assert "perplexity" in text
    assert "ct2-int8" in text


@pytest.mark.long
def test_each_is_measured_in_a_process_of_its_own_which_says_why_it_cannot(base: Path, tmp_path: Path) -> None:
    quantize.quantize(base, tmp_path / "ct2", "ct2-int8")
    wish = Wish("ctranslate2", str(tmp_path / "ct2"), str(tmp_path / "said.npy"), ids=list(range(3, 40)))
    found = quantize._child(wish)
    assert np.load(tmp_path / "said.npy").shape == (37, 400)
    assert found.tokens_per_second > 0
    (tmp_path / "ct2/model.bin").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="ct2 could not be measured: RuntimeError"):
        quantize._child(wish)


def test_models_are_found_by_path_or_by_name(base: Path, tmp_path: Path) -> None:
    store = model_store(load_settings({"cache": tmp_path}))
    assert located(str(base), store) == base
    with pytest.raises(ModelError, match=r"visavis models pull qwen3-0\.6b"):
        located("qwen3-0.6b", store)
    with pytest.raises(ModelError, match="nonsense"):
        located("nonsense", store)
    with pytest.raises(ModelError, match="legal: torchao-int8"):
        quantize.quantize(base, tmp_path / "out", "3bit")
    with pytest.raises(ModelError, match="on a GPU"):
        quantize.quantize(base, tmp_path / "out", "gptq")
