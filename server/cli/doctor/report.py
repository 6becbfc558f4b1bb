"""``visavis doctor``: what is here, whether it can serve, and which commands would make it better."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from server.cli.doctor.diagnosis import Check, can_serve, diagnose
from server.cli.doctor.facts import Facts, gather
from server.cli.terminal import cell, foreign, tell, waiting
from server.settings import Settings

_STYLES = {"ok": None, "better": "yellow", "missing": "bold red"}


async def doctor(settings: Settings, console: Console, *, as_json: bool = False) -> int:
    """Examine this machine and print the report. Returns the exit status: 0 when visavis can serve, else 1."""
    looking = waiting(Console(stderr=True, quiet=console.quiet), "looking at packages, devices and models …")
    with _without_warnings(), looking:  # what they would warn of is in the report
        facts = await gather(settings)
    checks = diagnose(facts, settings)
    if as_json:
        console.print_json(json.dumps(report(facts, checks)))
    else:
        show(checks, console)
    return 0 if can_serve(checks) else 1


@contextmanager
def _without_warnings() -> Iterator[None]:
    logger = logging.getLogger("pipelines")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def report(facts: Facts, checks: list[Check]) -> dict[str, object]:
    """The findings as JSON data."""
    return {
        "can_serve": can_serve(checks),
        "checks": [asdict(check) for check in checks],
        "versions": dict(facts.versions),
        "devices": asdict(facts.devices),
    }


def show(checks: list[Check], console: Console) -> None:
    """The findings for people: a table for each area, then what to do."""
    for area in dict.fromkeys(check.area for check in checks):
        table = Table(title=area.capitalize(), title_justify="left", show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for check in checks:
            if check.area == area:
                table.add_row(cell(check.name), check.status, cell(check.detail), style=_STYLES[check.status])
        console.print(table)
    remedies: dict[str, list[Check]] = {}
    for check in checks:
        if check.remedy:
            remedies.setdefault(check.remedy, []).append(check)
    if remedies:
        console.print("What would make it better:")
    for remedy, causes in remedies.items():
        names = ", ".join(dict.fromkeys(f"{check.area}: {check.name}" for check in causes))
        tell(console, f"  [bold]{foreign(remedy)}[/bold]   ({foreign(names)})")
    missing = [check for check in checks if check.status == "missing"]
    if missing:
        tell(
            console, f"[red]visavis cannot serve:[/red] {foreign('; '.join(f'{c.name}: {c.detail}' for c in missing))}"
        )
    else:
        console.print("visavis can serve: [bold]visavis serve[/bold]")
