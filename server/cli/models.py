"""``visavis models``: what there is, what is here, and bringing, checking, trying, removing and going back."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pipelines.errors import ModelError, PipelineError
from pipelines.models.fetches import Fetches
from server.cli.models_weights import add_weights, run_weights
from server.cli.terminal import Downloads, cell, foreign, megabytes, tell, tell_foreign, waiting
from server.settings import load_settings

if TYPE_CHECKING:
    from pipelines.models.catalogue import Model
    from pipelines.models.store import ModelStore
    from pipelines.models.store_layout import Shelf, Version

_WIDEST = 1000
"""Columns that a table may take, if it must; a terminal breaks longer lines."""
ACTIONS = ("list", "pull", "verify", "check", "rm", "rollback", "quantize", "convert", "merge")


def add_models(commands: Any) -> None:
    """The arguments."""
    models = commands.add_parser(
        "models",
        help="list, pull, verify, remove, quantise and convert models, or go back to an earlier version",
        description="Look after the models on this machine.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", help="YAML file with settings")
    common.add_argument("--models", metavar="DIR", help="folder with model files, tried before downloads")
    actions = models.add_subparsers(dest="action", required=True, metavar="|".join(ACTIONS))
    listing = actions.add_parser("list", parents=[common], help="the models there are and which versions are here")
    listing.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    pull = actions.add_parser("pull", parents=[common], help="bring models to this machine")
    pull.add_argument("ids", nargs="+", metavar="ID")
    pull.add_argument("--update", action="store_true", help="ask again which version is the newest")
    pull.add_argument("--server", metavar="URL", help="another visavis to ask first, such as http://10.0.0.5:8080")
    pull.add_argument("--server-key", metavar="KEY", help="its API key, if it has one")
    verify = actions.add_parser("verify", parents=[common], help="compare the files here with their checksums")
    verify.add_argument("ids", nargs="*", metavar="ID", help="default: all that are here")
    check = actions.add_parser("check", parents=[common], help="load models and give each something tiny to do")
    check.add_argument("ids", nargs="*", metavar="ID", help="default: all that are here")
    remove = actions.add_parser("rm", parents=[common], help="delete a model, or one version of it")
    remove.add_argument("id", metavar="ID")
    remove.add_argument("--version", metavar="VERSION", help="as `models list` shows it (default: all)")
    rollback = actions.add_parser("rollback", parents=[common], help="use the version before the current one again")
    rollback.add_argument("id", metavar="ID")
    add_weights(actions, common)


def run_models(options: argparse.Namespace, console: Console) -> int:
    """Do it and return the exit status: 0, or 1 when something is wrong with a model.

    Blocks. Raises :class:`ModelError` and :class:`~server.settings.SettingsError`.
    """
    from server.stores import model_store  # here, because the other commands need not wait for it

    flags = {} if options.models is None else {"models": options.models}
    settings = load_settings(flags, options.config, serves=False)
    store = model_store(settings, getattr(options, "server", None), getattr(options, "server_key", None))
    match options.action:
        case "list":
            return _list(store, console, as_json=options.json)
        case "pull":
            return _pull(store, console, options.ids, update=options.update)
        case "verify":
            return _verify(store, console, options.ids)
        case "check":
            return _check(store, console, options.ids)
        case "rm":
            freed = store.remove(options.id, options.version)
            tell_foreign(console, f"removed {options.version or 'all'} of {options.id}: {megabytes(freed)} freed")
        case "quantize" | "convert" | "merge":
            run_weights(options, store, settings.model_cache, console)
        case "rollback":
            version = store.rollback(options.id)
            kept = f"stays there until `visavis models pull {options.id}`"
            tell_foreign(console, f"{options.id} is back at version {version.name} and {kept}")
    return 0


# -------------------------------------------------------------------------------------------------------- list


def _list(store: ModelStore, console: Console, *, as_json: bool) -> int:
    models = store.catalogue.models
    if as_json:
        data = [_as_json(model, store.shelf(model.id)) for model in models]
        console.print_json(json.dumps({"object": "list", "data": data}))
        return 0
    table = Table(pad_edge=False)
    for heading in ("model", "task", "licence", "size", "versions here"):
        table.add_column(heading, no_wrap=heading != "versions here", overflow="fold")
    for model in models:
        shelf = store.shelf(model.id)
        versions = shelf.versions()
        here = "\n".join(f"{version.name}{_mark(version, shelf)}" for version in versions)
        size = megabytes(sum(version.size for version in versions)) if versions else _to_fetch(model)
        row = map(cell, (model.id, model.task, model.licence, size))
        table.add_row(*row, Text(here or "none"), style="" if versions else "dim")
    unbounded = console.options.update(max_width=_WIDEST)
    console.width = max(console.width, Measurement.get(console, unbounded, table).maximum)
    console.print(table)  # in full: an id that is cut off cannot be pulled
    return 0


def _mark(version: Version, shelf: Shelf) -> str:
    return "" if not version.current else " (held)" if shelf.held else " *" if len(shelf.versions()) > 1 else ""


def _to_fetch(model: Model) -> str:
    return f"({model.download} MB to fetch)" if model.download else "(to fetch)"


def _as_json(model: Model, shelf: Shelf) -> dict[str, object]:
    versions = [
        {
            "version": version.name,
            "current": version.current,
            "bytes": version.size,
            "origin": version.manifest.origin,
            "revision": version.manifest.revision,
            "installed": version.manifest.installed or None,
        }
        for version in shelf.versions()
    ]
    fields = model.model_dump(include={"id", "task", "licence", "description", "memory", "requires", "download"})
    return {**fields, "held": shelf.held, "versions": versions}


# -------------------------------------------------------------------------------------------------------- pull, verify


def _pull(store: ModelStore, console: Console, ids: Iterable[str], *, update: bool) -> int:
    wanted = [store.catalogue.get(model_id) for model_id in ids]  # a wrong name is told before anything is downloaded
    status = 0
    with Downloads(console) as downloads:
        fetches = Fetches(lambda model_id: (store.catalogue.get(model_id).download or 0) * 1_000_000, downloads)
        for model in wanted:
            try:
                with fetches.bringing(model.id) as report:
                    files = store.pull(model.id, partial(tell_foreign, console), report, update=update)
            except ModelError as error:
                tell(console, f"[red]{foreign(error.message)}[/red]")
                status = 1
            else:
                origin = foreign(f"{files.version} from {files.origin}: {files.path}")
                tell(console, f"[green]{foreign(model.id)}[/green] {origin}")
    return status


def _check(store: ModelStore, console: Console, ids: list[str]) -> int:
    from pipelines.models.checks import check  # here, because it brings the libraries of all engines

    wanted = [store.catalogue.get(model_id) for model_id in ids or _here(store)]
    status = 0
    for model in wanted:
        try:
            with waiting(Console(stderr=True), f"trying {model.id} …", only_in_terminal=True):
                if (files := store.here(model.id)) is None:
                    raise ModelError("model_missing", f"it is not here; `visavis models pull {model.id}` fetches it")
                found = check(model, files)
        except PipelineError as error:
            tell(console, f"{foreign(model.id)}: [red]{foreign(error.message)}[/red]")
            status = 1
        else:
            tell(console, f"{foreign(model.id)}: [green]works[/green]: {foreign(found)}")
    if not wanted:
        console.print("no model is here", highlight=False)
    return status


def _here(store: ModelStore) -> list[str]:
    return [model.id for model in store.catalogue.models if store.shelf(model.id).versions()]


def _verify(store: ModelStore, console: Console, ids: list[str]) -> int:
    here = _here(store)
    status = 0
    for model_id in ids or here:
        with waiting(Console(stderr=True), f"reading {model_id} …", only_in_terminal=True):
            problem = store.verify(model_id)
        result = (
            f"[red]{foreign(problem)}[/red]; `visavis models pull {model_id}` fetches it"
            if problem
            else "[green]sound[/]"
        )
        tell(console, f"{foreign(model_id)}: {result}")
        status = 1 if problem else status
    if not ids and not here:
        console.print("no model is here", highlight=False)
    return status
