"""``visavis models``: what there is, what is here, and bringing, checking, removing and going back."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from pipelines.errors import ModelError
from server.settings import load_settings

if TYPE_CHECKING:
    from pipelines.models.catalogue import Model
    from pipelines.models.sources_http import Progress
    from pipelines.models.store import ModelStore
    from pipelines.models.store_layout import Shelf

ACTIONS = ("list", "pull", "verify", "rm", "rollback")


def add_models(commands: Any) -> None:
    """The arguments."""
    models = commands.add_parser(
        "models",
        help="list, pull, verify and remove models, or go back to an earlier version",
        description="Look after the models on this machine.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", help="YAML file with settings")
    common.add_argument("--models", type=Path, metavar="DIR", help="folder with model files, tried before downloads")
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
    remove = actions.add_parser("rm", parents=[common], help="delete a model, or one version of it")
    remove.add_argument("id", metavar="ID")
    remove.add_argument("--version", metavar="VERSION", help="as `models list` shows it (default: all)")
    rollback = actions.add_parser("rollback", parents=[common], help="use the version before the current one again")
    rollback.add_argument("id", metavar="ID")


def run_models(options: argparse.Namespace, console: Console) -> int:
    """Do it and return the exit status: 0, or 1 when something is wrong with a model.

    Blocks. Raises :class:`ModelError` and :class:`~server.settings.SettingsError`.
    """
    from server.stores import model_store  # here, because the other commands need not wait for it

    settings = load_settings({"models": options.models} if options.models else {}, options.config)
    store = model_store(settings, getattr(options, "server", None), getattr(options, "server_key", None))
    match options.action:
        case "list":
            return _list(store, console, as_json=options.json)
        case "pull":
            return _pull(store, console, options.ids, update=options.update)
        case "verify":
            return _verify(store, console, options.ids)
        case "rm":
            freed = store.remove(options.id, options.version)
            console.print(f"removed {options.version or 'all'} of {options.id}: {_size(freed)} freed", highlight=False)
        case "rollback":
            version = store.rollback(options.id)
            kept = f"stays there until `visavis models pull {options.id}`"
            console.print(f"{options.id} is back at version {version.name} and {kept}", highlight=False)
    return 0


# -------------------------------------------------------------------------------------------------------- list


def _list(store: ModelStore, console: Console, *, as_json: bool) -> int:
    models = store.catalogue.models
    if as_json:
        data = [_as_json(model, store.shelf(model.id)) for model in models]
        console.print_json(json.dumps({"object": "list", "data": data}))
        return 0
    table = Table("model", "task", "licence", "size", "versions here", pad_edge=False)
    for model in models:
        versions = store.shelf(model.id).versions()
        held = " (held)" if store.shelf(model.id).held else ""
        names = [f"[bold]{version.name}{held}[/bold]" if version.current else version.name for version in versions]
        size = _size(sum(version.size for version in versions)) if versions else ""
        style = None if versions else "dim"
        table.add_row(model.id, model.task, model.licence, size, ", ".join(names) or "none", style=style)
    console.print(table)
    return 0


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
    fields = model.model_dump(include={"id", "task", "licence", "description", "memory", "requires"})
    return {**fields, "held": shelf.held, "versions": versions}


# -------------------------------------------------------------------------------------------------------- pull, verify


class _Report:
    """Bars in the terminal, one for each file that is being downloaded."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> _Report:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        key = progress.model, progress.file
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(progress.file)
        self._bars.update(self._tasks[key], completed=progress.done, total=progress.total)


def _pull(store: ModelStore, console: Console, ids: Iterable[str], *, update: bool) -> int:
    wanted = [store.catalogue.get(model_id) for model_id in ids]  # a wrong name is told before anything is downloaded
    status = 0
    with _Report(console) as report:
        for model in wanted:
            try:
                files = store.pull(
                    model.id, lambda line: console.print(escape(line), highlight=False), report, update=update
                )
            except ModelError as error:
                console.print(f"[red]{escape(error.message)}[/red]", highlight=False)
                status = 1
            else:
                console.print(
                    f"[green]{model.id}[/green] {files.version} from {escape(f'{files.origin}: {files.path}')}",
                    highlight=False,
                    soft_wrap=True,
                )
    return status


def _verify(store: ModelStore, console: Console, ids: list[str]) -> int:
    here = [model.id for model in store.catalogue.models if store.shelf(model.id).versions()]
    status = 0
    for model_id in ids or here:
        problem = store.verify(model_id)
        result = (
            f"[red]{escape(problem)}[/red]; `visavis models pull {model_id}` fetches it"
            if problem
            else "[green]sound[/]"
        )
        console.print(f"{model_id}: {result}", highlight=False, soft_wrap=True)
        status = 1 if problem else status
    if not ids and not here:
        console.print("no model is here", highlight=False)
    return status


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
