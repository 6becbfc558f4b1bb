"""The formats that models are written in, and the ways from one to another. Blocking; imports libraries in functions.

Only ways that exist and are tried are offered. Where there is none, the words say what there is instead: between GPTQ
and AWQ, for one, nothing leads but dequantising.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

from pipelines.errors import ModelError
from pipelines.models.weights.openvino_export import Weights, export
from pipelines.models.weights.quantization import quantized_as

Format = Literal["transformers", "gguf", "ctranslate2", "openvino"]
TARGETS = ("transformers", "gguf", "ctranslate2", "openvino", "gptq", "awq")
GGUF_TYPES = ("f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
"""What the package gguf can quantise to."""
CT2_TYPES = ("int8", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32")
OPENVINO_TYPES = ("int8", "int4", "fp16")
WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "gguf": GGUF_TYPES,
    "ctranslate2": CT2_TYPES,
    "openvino": OPENVINO_TYPES,
    "transformers": ("float32", "bfloat16", "float16"),
}
"""Target → what its numbers can be, the usual ones first."""
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "preprocessor_config.json")
_NO_WAY = {
    ("transformers", "gguf"): "llama.cpp's own convert_hf_to_gguf.py does that, which no package carries; many models "
    "are on the hub in GGUF already",
    ("ctranslate2", "transformers"): "CTranslate2's files do not lead back; take the original",
    ("openvino", "transformers"): "OpenVINO's files do not lead back; take the original",
}


def format_of(path: Path) -> Format:
    """What is at ``path``. Raises :class:`ModelError` (``model_missing``, ``format_unknown``)."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(4) == b"GGUF":
                return "gguf"
        raise ModelError("format_unknown", f"{path} must be a GGUF file, or a folder with a model")
    if not path.is_dir():
        raise ModelError("model_missing", f"there is no file or folder {path}")
    if any(path.glob("openvino*_model.xml")):
        return "openvino"
    if (path / "model.bin").is_file() and not any(path.glob("*.safetensors")):
        return "ctranslate2"
    if (path / "config.json").is_file() and any(path.glob("*.safetensors")):
        return "transformers"
    raise ModelError("format_unknown", f"{path} holds no model: neither config.json and *.safetensors, nor model.bin")


def size_of(path: Path) -> int:
    """Bytes on disk."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def convert(
    source: Path,
    target: Path,
    to: str,
    weights: str = "",
    say: Callable[[str], object] = lambda words: None,
    cache: Path | None = None,
) -> None:
    """Write the model at ``source`` to ``target``, which must not be there, in the format ``to``.

    ``weights``: the numbers to keep, of :data:`WEIGHTS`; empty: the usual ones. Raises :class:`ModelError`:
    ``no_conversion``, ``conversion_failed``, ``target_exists``, ``library_missing``, and as :func:`format_of`.
    """
    kind = format_of(source)
    way = _way(source, kind, to)
    legal = WEIGHTS[to]
    if weights and weights not in legal:
        raise ModelError("no_conversion", f"weights: {weights[:40]!r} is none of {to}; legal: {', '.join(legal)}")
    with making(target):
        try:
            way(source, target, weights or legal[0], say, cache)
        except (ModelError, ImportError):
            raise
        except Exception as error:  # libraries raise whatever they like
            told = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise ModelError("conversion_failed", f"{source.name} cannot be written for {to}: {told}") from error


@contextmanager
def making(target: Path) -> Any:
    """``target`` is written while the context lasts: it must not be there, and what failed is not left there.

    Raises :class:`ModelError` (``target_exists``).
    """
    if target.exists():
        raise ModelError("target_exists", f"{target} exists already: give a name that is not taken")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        raise


Way = Callable[[Path, Path, str, Callable[[str], object], Path | None], None]


def _way(source: Path, kind: Format, to: str) -> Way:
    if to not in TARGETS:
        raise ModelError("no_conversion", f"to: {to[:40]!r} is no format here; legal: {', '.join(TARGETS)}")
    how = quantized_as(source) if kind == "transformers" else ""
    if to in ("gptq", "awq"):
        if how in ("gptq", "awq"):
            other = f"{how} and {to} have no direct way between them: take the original (or dequantise, which loses)"
            raise ModelError("no_conversion", f"{other}, and quantise that with gptqmodel")
        needs = "gptqmodel quantises to it, on a GPU and with a set of texts for calibration; visavis reads the result"
        raise ModelError("no_conversion", f"{to}: {needs} where gptqmodel is installed")
    if how and to != "transformers":
        raise ModelError("no_conversion", f"{source.name} is quantised ({how}): take the original")
    way = _WAYS.get((kind, to))
    if way is None:
        told = _NO_WAY.get((kind, to), f"legal from {kind}: {', '.join(_from(kind)) or 'nothing'}")
        raise ModelError("no_conversion", f"there is no way from {kind} to {to} here: {told}")
    return way


def _from(kind: Format) -> list[str]:
    return [to for start, to in _WAYS if start == kind]


# ------------------------------------------------------------------------------------------------ the ways


def dense(path: Path, dtype: Any = None) -> tuple[Any, Any]:
    """The weights of a GGUF file as transformers' model, dequantised, and its tokenizer.

    Raises :class:`ModelError` (``library_missing``).
    """
    from pipelines.engines.llm.template import import_transformers

    _insist("gguf")
    import_transformers()
    import torch
    import transformers

    library: Any = transformers
    whole = library.GgufConfig(dequantize=True)
    model = library.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=dtype or torch.float32, quantization_config=whole
    )
    return model, library.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def _gguf_to_transformers(
    source: Path, target: Path, weights: str, say: Callable[[str], object], cache: Path | None
) -> None:
    import torch

    say(f"dequantising {source.name}, whose weights stay as exact as they are there")
    model, tokenizer = dense(source, getattr(torch, weights))
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _gguf_to_gguf(source: Path, target: Path, weights: str, say: Callable[[str], object], cache: Path | None) -> None:
    from pipelines.models.weights.gguf_file import requantize

    _insist("gguf")
    say(f"writing {source.name} with {weights}; what is quantised already loses a second time")
    requantize(source, target, weights)


def _to_ctranslate2(source: Path, target: Path, weights: str, say: Callable[[str], object], cache: Path | None) -> None:
    from ctranslate2.converters import TransformersConverter

    copied = [name for name in _TOKENIZER if (source / name).is_file()]
    TransformersConverter(str(source), copy_files=copied).convert(str(target), quantization=weights)


def _to_openvino(source: Path, target: Path, weights: str, say: Callable[[str], object], cache: Path | None) -> None:
    if cache is None:
        raise ModelError("conversion_failed", "cache: a folder is needed for the environment that converts")
    export(source.resolve(), target.resolve(), cache, cast(Weights, weights), say)


def _insist(package: str) -> None:
    if find_spec(package) is None:
        raise ModelError("library_missing", f"GGUF files are read by the package {package}: pip install {package}")


_WAYS: Mapping[tuple[str, str], Way] = {
    ("gguf", "transformers"): _gguf_to_transformers,
    ("gguf", "gguf"): _gguf_to_gguf,
    ("transformers", "ctranslate2"): _to_ctranslate2,
    ("transformers", "openvino"): _to_openvino,
}
