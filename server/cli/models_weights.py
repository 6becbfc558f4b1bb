"""``visavis models quantize``, ``convert`` and ``merge``: models written anew, and what that has cost."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from pipelines.errors import ModelError
from pipelines.models.weights.formats import TARGETS, WEIGHTS, format_of
from server.cli.terminal import cell, foreign, megabytes, tell, tell_foreign

if TYPE_CHECKING:
    from pipelines.models.store import ModelStore
    from pipelines.models.weights.quantize import Row

_MODEL = "a model of the catalogue, a folder with one, or a GGUF file"
_HEADINGS = ("weights", "on disk", "in memory", "tokens/s", "perplexity", "KL divergence", "same top token")


def add_weights(actions: Any, common: argparse.ArgumentParser) -> None:
    """The arguments."""
    quantize = actions.add_parser("quantize", parents=[common], help="write a language model with fewer bits")
    quantize.add_argument("model", metavar="MODEL", help=_MODEL)
    quantize.add_argument("--method", required=True, metavar="METHOD", help="such as torchao-int8, bnb-nf4, gguf-q8_0")
    quantize.add_argument("--output", type=Path, required=True, metavar="PATH", help="folder, or GGUF file, to write")
    quantize.add_argument(
        "--report",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="FILE",
        help="compare it with the original on a text, as a table, and as JSON in FILE; takes minutes",
    )
    quantize.add_argument("--threads", type=int, default=1, metavar="N", help="for the report (default %(default)s)")
    convert = actions.add_parser("convert", parents=[common], help="write a model in another format")
    convert.add_argument("source", metavar="MODEL", help=_MODEL)
    convert.add_argument("target", type=Path, metavar="PATH", help="folder, or GGUF file, to write")
    convert.add_argument("--to", required=True, choices=TARGETS, help="the format")
    convert.add_argument("--weights", default="", metavar="NUMBERS", help=_numbers())
    merge = actions.add_parser("merge", parents=[common], help="add LoRA adapters to a model's own weights")
    merge.add_argument("model", metavar="MODEL", help="a model of the catalogue, or a folder with one")
    merge.add_argument(
        "--adapter", action="append", required=True, metavar="PATH[=SHARE]", help="its folder; repeatable (share 1)"
    )
    merge.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="folder to write")


def run_weights(options: argparse.Namespace, store: ModelStore, cache: Path, console: Console) -> None:
    """Do it. Blocks, for minutes. Raises :class:`ModelError`."""
    from pipelines.models.weights import formats

    say = partial(tell_foreign, console)
    match options.action:
        case "quantize":
            _quantize(options, located(options.model, store), console)
        case "convert":
            formats.convert(located(options.source, store), options.target, options.to, options.weights, say, cache)
            tell_foreign(console, f"{options.target} is ready: {megabytes(formats.size_of(options.target))}")
        case "merge":
            from pipelines.models.weights.merge import merge, shares

            merge(located(options.model, store), shares(options.adapter), options.output)
            tell_foreign(console, f"{options.output} is ready: give its path as --chat-model")


def located(name: str, store: ModelStore) -> Path:
    """The file or folder that ``name`` is, or the model of the catalogue that is here. Raises :class:`ModelError`."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    model = store.catalogue.get(name)
    if (files := store.here(model.id)) is None:
        raise ModelError("model_missing", f"{model.id} is not here: visavis models pull {model.id}")
    return files.path


def _quantize(options: argparse.Namespace, source: Path, console: Console) -> None:
    from pipelines.models.weights import quantize

    say = partial(tell_foreign, console)
    quantize.quantize(source, options.output, options.method, say)
    tell_foreign(console, f"{options.output} is ready ({format_of(options.output)})")
    if options.report is None:
        return
    rows = quantize.compare(source, {options.method: options.output}, say, options.threads)
    console.print(_table(rows))
    if options.report != Path():
        report = {"object": "quantization.report", "model": source.name, "rows": [asdict(row) for row in rows]}
        options.report.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
        tell(console, f"written to {foreign(str(options.report))}")


def _table(rows: list[Row]) -> Table:
    table = Table(pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "weights" else "right", overflow="fold")
    for row in rows:
        told = (f"{row.size_mb:.1f} MB", f"{row.memory_mb:.0f} MB", f"{row.tokens_per_second:.1f}")
        moved = (f"{row.perplexity:.2f}", f"{row.divergence:.4f}", f"{100 * row.same_top:.1f} %")
        table.add_row(*map(cell, (row.name, *told, *moved)))
    return table


def _numbers() -> str:
    return "; ".join(f"{to}: {', '.join(numbers)}" for to, numbers in WEIGHTS.items())
