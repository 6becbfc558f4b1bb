"""``visavis serve-engines``: its arguments, and what it says. What it does is in :mod:`server.engines.remote`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console
from rich.table import Table

from server.cli.terminal import cell, foreign, tell, tell_foreign

if TYPE_CHECKING:
    from pipelines.engines.remote.messages import Deployed

_WAIT = 900.0


def add_serve_engines(commands: Any) -> None:
    """The arguments."""
    command = commands.add_parser(
        "serve-engines",
        help="run engines on a Ray cluster, for visavis elsewhere to use",
        description="Deploy the engines of a file on a Ray cluster that this machine is a node of (ray start), or "
        "change what is deployed there. They go on when this command has ended. Exit status: 0 all of them serve, 1 "
        "one cannot, 2 the file or the cluster is wrong.",
    )
    command.add_argument("file", nargs="?", type=Path, help="YAML file with the engines (docs/how-to/ray.md)")
    command.add_argument("--address", default="auto", metavar="HOST:PORT", help="of the cluster's head (default: auto)")
    command.add_argument(
        "--application", default="visavis", metavar="NAME", help="of --status and --remove (default: visavis)"
    )
    command.add_argument("--wait", type=float, default=_WAIT, metavar="S", help="for so long (default 900)")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--print-config", action="store_true", help="print a file for `serve deploy` and deploy nothing")
    what.add_argument("--status", action="store_true", help="tell what is deployed")
    what.add_argument("--remove", action="store_true", help="take away what is deployed")


def run_serve_engines(options: argparse.Namespace, console: Console) -> int:
    """Do it; returns the exit status. Raises :class:`~pipelines.errors.PipelineError`."""
    from pipelines.engines.remote.rows import read_plan
    from server.engines.remote.deploying import Deployer, config

    if options.file is None and not (options.status or options.remove):
        tell_foreign(Console(stderr=True), "visavis serve-engines: which engines? Name a file (docs/how-to/ray.md)")
        return 2
    plan = read_plan(options.file) if options.file is not None else None
    if options.print_config and plan is not None:
        console.file.write(yaml.safe_dump(config(plan), sort_keys=False))
        return 0
    name = plan.application if plan is not None else options.application
    deployer = Deployer(options.address, lambda words: tell_foreign(console, words))
    try:
        if options.remove:
            gone = deployer.remove(name)
            tell_foreign(console, f"taken away: {', '.join(gone)}" if gone else f"nothing of {name} is deployed")
            return 0
        if options.status:
            found: Mapping[str, Deployed] = deployer.status(name)
        else:
            assert plan is not None
            found = deployer.deploy(plan, options.wait)
        return _show(found, options.address, name, console)
    finally:
        deployer.close()


def _show(found: Mapping[str, Deployed], address: str, name: str, console: Console) -> int:
    table = Table("engine", "status", "replicas", "what is wrong", title="On Ray", title_justify="left", pad_edge=False)
    for stage, one in found.items():
        sound = one.status == "RUNNING"
        row = (stage, one.status.lower(), f"{one.running} of {one.replicas}", "" if sound else one.message)
        table.add_row(*map(cell, row), style="" if sound else "yellow")
    console.print(table)
    if not found:
        tell_foreign(console, f"nothing of {name} is deployed")
        return 1
    stages = ",".join(stage for stage in found if stage in ("stt", "llm", "tts", "foresight"))
    if stages:
        application = "" if name == "visavis" else f" --ray-application {name}"
        command = f"visavis serve --ray-address {address}{application} --remote-stages {stages}"
        tell(console, f"On a machine that is a node of the cluster: [bold]{foreign(command)}[/bold]")
    return 0 if all(one.status == "RUNNING" for one in found.values()) else 1
