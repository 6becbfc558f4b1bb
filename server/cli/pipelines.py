"""``visavis pipelines``: which there are, whether files of them are sound, and runs."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from server.cli.terminal import cell, foreign, tell
from server.settings import Settings, load_settings

if TYPE_CHECKING:
    from pipelines.routing.library import Entry, Library


def add_pipelines(commands: Any) -> None:
    """The arguments."""
    pipelines = commands.add_parser(
        "pipelines",
        help="list and run pipelines, and check files of them",
        description="List and run pipelines, and check files with further ones (docs/reference/pipelines.md).",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", help="YAML file with settings")
    common.add_argument("--pipelines", metavar="DIR", help="folder with further definitions")
    actions = pipelines.add_subparsers(dest="action", required=True, metavar="|".join(_ACTIONS))
    listing = actions.add_parser("list", parents=[common], help="the pipelines there are")
    listing.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    _add_run(actions, common)
    check = actions.add_parser("check", parents=[common], help="find mistakes in files of pipelines")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")


def _add_run(actions: Any, common: argparse.ArgumentParser) -> None:
    run = actions.add_parser(
        "run",
        parents=[common],
        help="run one on a file",
        description="Run a pipeline on a file or a pipe, here or on a server (docs/reference/pipelines-http.md).",
    )
    run.add_argument("pipeline", metavar="ID", help="id of the pipeline (visavis pipelines list)")
    run.add_argument("--input", default="-", metavar="FILE", help="what it is given; - is the standard input (default)")
    run.add_argument("--output", default="-", metavar="FILE", help="what it gives; - is the standard output (default)")
    run.add_argument("--input-type", metavar="TYPE", help="content type of the input (default: as its name tells)")
    run.add_argument("--accept", metavar="TYPE", help="content type of the output (default: as its name tells)")
    run.add_argument("--rate", metavar="HZ", help="of an output in PCM or WAV")
    run.add_argument("--context", metavar="ID", help="the conversation that this run goes on with")
    for flag, header, metavar, words in _WISHES:
        run.add_argument(flag, dest=header, metavar=metavar, help=words)
    run.add_argument("--url", metavar="URL", help="ask this server instead of loading engines")
    run.add_argument("--api-key", metavar="KEY", help="its key, if it has one")


_WISHES = (
    ("--max-latency", "X-Max-Latency-Ms", "MS", "to the first output"),
    ("--target-backend", "X-Target-Backend", "ID", "the only backend that may be asked"),
    ("--efficiency", "X-Efficiency-Mode", "MODE", "Performance, Balanced, Efficiency or UltraEfficiency"),
    ("--priority", "X-Priority", "WORD", "low, normal, high or critical"),
)
"""Flag, the header that it stands for, and what it means."""


def _run(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    from server.cli.pipeline_run import Wanted, run_here, run_there

    given = {"Content-Type": options.input_type, "Accept": options.accept}
    given |= {header: getattr(options, header) for _, header, _, _ in _WISHES}
    query = {"rate": options.rate, "context_id": options.context}
    wanted = Wanted(
        options.pipeline,
        options.input,
        options.output,
        {name: value for name, value in given.items() if value is not None},
        {name: value for name, value in query.items() if value is not None},
    )
    errors = Console(stderr=True)  # the standard output may be the result
    if options.url:
        return asyncio.run(run_there(wanted, options.url, options.api_key, errors))
    return asyncio.run(run_here(wanted, settings, errors))


def run_pipelines(options: argparse.Namespace, console: Console) -> int:
    """Do it and return the exit status: 0, or 1 when something is wrong with a file.

    Blocks. Raises :class:`~pipelines.errors.PipelineError` and :class:`~server.settings.SettingsError`.
    """
    flags = {} if options.pipelines is None else {"pipelines": options.pipelines}
    return _ACTIONS[options.action](options, load_settings(flags, options.config, serves=False), console)


def _list(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    from server.stores import definition_library  # here, because the other commands need not wait for it

    library = definition_library(settings)
    entries = library.state.entries.values()
    if options.json:
        problems = [problem.json() for problem in library.problems]
        data = [_as_json(entry) for entry in entries]
        console.print_json(json.dumps({"object": "list", "data": data, "problems": problems}))
        return 0
    table = Table(pad_edge=False)
    for heading in ("pipeline", "name", "takes → gives", "stages", "file"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "pipeline")
    for entry in entries:
        pipeline = entry.pipeline
        media = f"{', '.join(pipeline.takes)} → {', '.join(pipeline.gives)}"
        stages = ", ".join(stage.id for stage in pipeline.order)
        origin = "ships" if entry.shipped else f"{entry.file}{' (replaces one that ships)' if entry.replaces else ''}"
        table.add_row(*map(cell, (pipeline.id, pipeline.name, media, stages, origin)))
    console.print(table)
    for problem in library.problems:
        tell(console, f"[red]not in use:[/red] {foreign(problem.message)}")
    return 0


def _as_json(entry: Entry) -> dict[str, Any]:
    pipeline = entry.pipeline
    return {
        "id": pipeline.id,
        "name": pipeline.name,
        "description": pipeline.description,
        "takes": list(pipeline.takes),
        "gives": list(pipeline.gives),
        "stages": [{"id": stage.id, "type": stage.type} for stage in pipeline.order],
        "file": entry.file.name,
        "shipped": entry.shipped,
        "replaces": entry.replaces,
    }


def _check(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    from server.stores import definition_library

    library = definition_library(settings, options.files)
    wrong = {problem.file for problem in library.problems if not problem.shipped}
    for problem in library.problems:
        how = "[yellow]not in use:[/yellow]" if problem.shipped else "[red]wrong:[/red]"
        tell(console, f"{how} {foreign(problem.message)}")
    for file in options.files:
        if str(file) not in wrong:
            own = [entry for entry in library.state.entries.values() if entry.file == file]
            names = ", ".join(entry.pipeline.id for entry in own) or "no pipelines"
            tell(console, f"[green]sound:[/green] {foreign(file)}: {foreign(names)}")
            for entry in own:
                _tell_absent(entry, library, console)
    return 1 if wrong else 0


def _tell_absent(entry: Entry, library: Library, console: Console) -> None:
    """Backends that a sound pipeline names and that nobody stands for."""
    for stage in entry.pipeline.stages:
        for name in stage.forwarding_policy.escalation_path:
            if why := library.backends.resolve(name).absent:
                tell(console, f"  {foreign(f'{entry.pipeline.id}, stage {stage.id}: backend {name} is absent: {why}')}")


_ACTIONS: Mapping[str, Callable[[argparse.Namespace, Settings, Console], int]] = {
    "list": _list,
    "check": _check,
    "run": _run,
}
