"""LoRA adapters added to a model's own weights, and the whole written as a plain model. Blocking."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipelines.errors import ModelError
from pipelines.models.weights.adapters import Adapters, check_scales, read_adapter
from pipelines.models.weights.formats import format_of, making
from pipelines.models.weights.quantization import quantized_as


def shares(given: Sequence[str]) -> list[tuple[Path, float]]:
    """``PATH`` or ``PATH=SHARE`` as paths and shares. Raises :class:`ModelError` (``adapter_scale``)."""
    found = []
    for text in given:
        path, sign, number = text.rpartition("=")
        try:
            found.append((Path(path).expanduser(), float(number)) if sign else (Path(text).expanduser(), 1.0))
        except ValueError:
            raise ModelError("adapter_scale", f"adapter: {number[:40]!r} is no share; write PATH=0.5") from None
    return found


def merge(source: Path, adapters: Sequence[tuple[Path, float]], target: Path) -> None:
    """Write the model in the folder ``source`` with the weighted sum of ``adapters`` added.

    Raises :class:`ModelError`: as :func:`~pipelines.models.weights.adapters.read_adapter`, ``no_conversion``,
    ``library_missing``, ``target_exists``.
    """
    if find_spec("peft") is None:
        raise ModelError("library_missing", "adapters need the package peft: pip install peft")
    if (form := format_of(source)) != "transformers" or quantized_as(source):
        what = quantized_as(source) or form
        raise ModelError("no_conversion", f"{source.name}: adapters are merged into plain weights, not into {what}")
    known = Adapters()
    for n, (path, _) in enumerate(adapters):
        adapter = known.add(read_adapter(f"a{n}", path))
        if adapter.kind != "peft":
            raise ModelError("adapter_unsupported", f"{path.name}: only adapters as PEFT writes them can be merged")
    wanted = tuple((f"a{n}", share) for n, (_, share) in enumerate(adapters))
    check_scales(wanted, "the merge")
    with making(target):
        _write(source, known, wanted, target)


def _write(source: Path, known: Adapters, wanted: tuple[tuple[str, float], ...], target: Path) -> None:
    from pipelines.engines.llm.template import import_transformers

    import_transformers()
    import transformers

    from pipelines.engines.llm.lora import merged

    library: Any = transformers
    model = library.AutoModelForCausalLM.from_pretrained(str(source), dtype="auto", local_files_only=True)
    merged(model, known.parts(wanted)).save_pretrained(target)
    library.AutoTokenizer.from_pretrained(str(source), local_files_only=True).save_pretrained(target)
