"""``visavis errors``: the reports of unexpected errors that a server has written into its folder."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from server.cli.terminal import cell, tell_foreign
from server.observability.reports.store import Reports
from server.settings import SettingsError, load_settings


def add_errors(commands: Any) -> None:
    """The arguments."""
    errors = commands.add_parser(
        "errors",
        help="show the error reports of a server",
        description="List the kinds of unexpected errors that a server has written reports of, or show one "
        "(docs/how-to/error-reports.md). Reports hold nothing that was said.",
    )
    errors.add_argument("id", nargs="?", metavar="ID", help="show this report")
    errors.add_argument("--folder", type=Path, metavar="DIR", help="where they are (else the setting error_reports)")
    errors.add_argument("--config", type=Path, metavar="FILE", help="YAML file with settings")
    errors.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run_errors(options: argparse.Namespace, console: Console) -> int:
    """List them, or show one; 1 where there is no such report."""
    folder = options.folder or load_settings({}, options.config, serves=False).error_reports
    if folder == "off":
        raise SettingsError("error_reports: is off; name a folder in the settings, or one that has reports by --folder")
    if options.folder is not None and not folder.is_dir():
        raise SettingsError(f"--folder: there is no folder {folder}")
    reports = Reports(folder)
    if options.id is not None:
        found = reports.find(options.id)
        if found is None:
            known = ", ".join(str(head["id"]) for head in reports.all()) or "none"
            raise SettingsError(f"ID: there is no report {options.id!r}; legal values are {known}")
        console.out(json.dumps(found, indent=1), highlight=False)
        return 0
    heads = reports.all()
    if options.json:
        console.out(json.dumps(heads, indent=1), highlight=False)
        return 0
    if not heads:
        tell_foreign(console, f"no error reports in {folder}")
        return 0
    table = Table("id", "last seen", "times", "what", "engine")
    for head in heads:
        seen = datetime.fromtimestamp(float(head["last_seen"]), UTC).strftime("%Y-%m-%d %H:%M:%S")
        what = " ".join(str(head[name]) for name in ("type", "code") if head[name])
        table.add_row(*map(cell, (str(head["id"]), seen, str(head["count"]), what, str(head["engine"] or ""))))
    console.print(table)
    return 0
