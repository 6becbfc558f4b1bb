"""``visavis eval``: play scenarios to a server and say what became of what they expect."""

from __future__ import annotations

import argparse
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console

from media.clock import MonotonicClock
from server.cli.terminal import foreign, tell
from server.evaluation.own_server import own_server
from server.evaluation.player import Player
from server.evaluation.results import Result, figures, json_lines, junit, result_of
from server.evaluation.scenario import SHIPPED, Scenario, load
from server.headless.call import Address
from server.headless.sounds import check_place
from server.settings import SettingsError


async def run_evaluation(options: argparse.Namespace, console: Console) -> int:
    """Do what the command line says; 0: all passed, 1: something failed."""
    scenarios = load(options.file or [SHIPPED])
    if not scenarios:
        raise SettingsError("there is no scenario: no file and no folder with *.yaml is named")
    if options.action == "list":
        for path, scenario in scenarios:
            console.print(f"{scenario.name:32} {scenario.description or path}", markup=False, highlight=False)
        return 0
    if options.url is not None and options.config is not None:
        raise SettingsError("--config: is for a server of one's own and has no effect with --url")
    for flag, place in (("--json", options.json), ("--junit", options.junit)):
        check_place(place, flag)
    results: list[Result] = []
    async with AsyncExitStack() as stack:
        url = options.url or await stack.enter_async_context(own_server(options.config))
        address = Address(url, options.api_key)
        address.check()
        for _, scenario in scenarios:
            results += [await _played(scenario, address, n, console) for n in range(1, options.repeat + 1)]
    _write(options.json, json_lines(results))
    _write(options.junit, junit(results))
    _report(results, console)
    return 0 if all(result.passed for result in results) else 1


async def _played(scenario: Scenario, address: Address, attempt: int, console: Console) -> Result:
    result = result_of(scenario, await Player(scenario, address, MonotonicClock()).play(), attempt)
    colour = "green]passed" if result.passed else "red]failed"
    tell(console, f"[{colour}[/] {scenario.name}")
    for one in result.verdicts:
        if not one.passed:
            tell(console, f"       turn {one.turn + 1}: {one.expected}: {one.kind}: {foreign(one.message)}")
    return result


def _report(results: list[Result], console: Console) -> None:
    told = figures(results)
    low, high = told["pass_rate_interval"]
    tell(console, f"{told['passed']} of {told['scenarios']} passed (95 %: {low:.0%} to {high:.0%})")
    names = (("voice_to_voice_ms", "end of speech → first sound"), ("stop_ms", "interruption → silence"))
    for key, name in names:
        if told[key] is not None:
            values = ", ".join(f"{word} {told[key][word]:.0f} ms" for word in ("median", "p95", "worst"))
            tell(console, f"{name}: {values} (n {told[key]['n']})")
    tell(console, "[dim]Synthetic voices flatter some recognisers and puzzle others: people sound otherwise.[/dim]")


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        try:
            path.write_text(text, "utf-8")
        except OSError as error:
            raise SettingsError(f"{path} cannot be written: {error.strerror or error}") from error
