"""``visavis eval``: its arguments. What it does is in :mod:`server.evaluation`, which is imported only for it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

Whole = Callable[[int], Callable[[str], int]]


def add_evaluation(commands: Any, whole: Whole) -> None:
    """The arguments."""
    command = commands.add_parser(
        "eval",
        help="play spoken scenarios to a server and judge what it does",
        description="Play scenarios (YAML) to a server over a peer connection and judge what it understood, said and "
        "when; measure its turn-taking. Without --url a server with the embedded engines is started for it. Exit "
        "status: 0 all passed, 1 something failed (with --baseline: got significantly worse) or nothing was played, 2 "
        "the command or a file is wrong.",
    )
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_run(actions, whole)
    listing = actions.add_parser("list", help="list scenarios")
    listing.add_argument("file", nargs="*", type=Path, help="scenario, or folder of them (default: those that ship)")
    listing.add_argument("--assets", type=Path, metavar="DIR", help="folder with sounds and pictures they name")
    _add_record(actions)
    _add_turn(actions)
    _add_duplex(actions)
    imported = actions.add_parser("import", help="make scenarios of other tools' files")
    imported.add_argument("kind", choices=["pipecat"], help="whose file it is")
    imported.add_argument("file", type=Path, help="the file")
    imported.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the scenarios")


def _server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        help="server: http://… (with a path offers are posted there; Pipecat's is …/api/offer), or ws://… for OpenAI "
        "Realtime over a WebSocket (default: one of its own)",
    )
    parser.add_argument("--api-key", metavar="KEY", help="the server's key, if it has one")


def _add_run(actions: Any, whole: Whole) -> None:
    run = actions.add_parser("run", help="run scenarios")
    run.add_argument("file", nargs="*", type=Path, help="scenario, or folder of them (default: those that ship)")
    _server(run)
    run.add_argument(
        "--config",
        type=Path,
        action="append",
        metavar="FILE",
        help="YAML file with settings of its own server; several are compared with the first",
    )
    run.add_argument("--assets", type=Path, metavar="DIR", help="folder with sounds and pictures that scenarios name")
    run.add_argument("--repeat", type=whole(1), default=1, metavar="N", help="play each so often (default 1)")
    run.add_argument("--baseline", type=Path, metavar="FILE", help="--json of an earlier run; 1 if this one is worse")
    run.add_argument("--json", type=Path, metavar="FILE", help="save a JSON line for each result")
    run.add_argument("--junit", type=Path, metavar="FILE", help="save the results as JUnit's XML")
    run.add_argument("--html", type=Path, metavar="FILE", help="save a report, one file without scripts")


def _add_record(actions: Any) -> None:
    record = actions.add_parser("record", help="make a scenario of a session that was recorded")
    record.add_argument("session", help="its id (sess_…) on the server, or the .jsonl file of its recording")
    record.add_argument("--url", default="http://127.0.0.1:8080", help="server (default %(default)s)")
    record.add_argument("--api-key", metavar="KEY", help="the server's key, if it has one")
    record.add_argument("--name", default="recorded", help="of the scenario (default %(default)s)")
    record.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the scenario and its sounds")


def _add_turn(actions: Any) -> None:
    turn = actions.add_parser(
        "turn",
        help="measure how the end of a turn is found, over a sweep of settings",
        description="Speak sentences with pauses inside to the turn detector in virtual time, without a server; say "
        "how many pauses are mistaken for the end, and how long the end takes, for many settings.",
    )
    turn.add_argument("--clips", type=Path, metavar="DIR", help="folder with recordings of people (WAV) to add")
    turn.add_argument("--markdown", type=Path, metavar="FILE", help="save the table as Markdown")
    turn.add_argument("--svg", type=Path, metavar="FILE", help="save the curves as SVG")
    turn.add_argument("--json", type=Path, metavar="FILE", help="save what was measured of every pause")


def _add_duplex(actions: Any) -> None:
    duplex = actions.add_parser(
        "duplex",
        help="play recordings as Full-Duplex-Bench shapes them",
        description="Play every CATEGORY/NAME/input.wav in a folder to a server, save output.wav beside it (as long, "
        "from the same moment on), and say how often the server took the turn in each category.",
    )
    duplex.add_argument("folder", type=Path, help="folder with CATEGORY/NAME/input.wav")
    _server(duplex)
    duplex.add_argument("--config", type=Path, metavar="FILE", help="YAML file with settings of its own server")
    duplex.add_argument("--json", type=Path, metavar="FILE", help="save a JSON line for each recording")


async def run_evaluation(options: argparse.Namespace, console: Console) -> int:
    """Do what the command line says; 0: all passed, 1: something failed."""
    if options.action in ("run", "list"):
        from server.evaluation.running import list_scenarios, run_scenarios

        return await run_scenarios(options, console) if options.action == "run" else list_scenarios(options, console)
    if options.action == "record":
        from server.evaluation.recorded import record

        return await record(options, console)
    if options.action == "turn":
        from server.evaluation.endpointing.command import measure_turns

        return await measure_turns(options, console)
    if options.action == "duplex":
        from server.evaluation.duplex import run_duplex

        return await run_duplex(options, console)
    from server.evaluation.pipecat_scenarios import import_pipecat

    return import_pipecat(options, console)
