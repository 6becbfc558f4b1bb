"""``visavis eval run`` and ``list``: play scenarios, judge them, compare, and report."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console

from media.clock import MonotonicClock
from pipelines.models.store import ModelStore
from server.cli.terminal import foreign, tell
from server.evaluation.comparing import Comparison, compared
from server.evaluation.html_report import html_report
from server.evaluation.judging.listening import Hearer, hearer, listen, wants_hearing
from server.evaluation.judging.opinions import ask_opinions
from server.evaluation.needs import Abilities, abilities_of
from server.evaluation.own_server import own_server
from server.evaluation.playing.line import is_websocket
from server.evaluation.playing.player import Player
from server.evaluation.results import (
    Group,
    Result,
    figures,
    grouped,
    json_lines,
    junit,
    read_lines,
    result_of,
    skipped,
)
from server.evaluation.scenario import SHIPPED, Loaded, Scenario, load
from server.headless.call import Address
from server.headless.sounds import check_place
from server.settings import SettingsError, load_settings


def list_scenarios(options: argparse.Namespace, console: Console) -> int:
    """Name them, each with what it shows."""
    for one in load(options.file or [SHIPPED], options.assets):
        scenario = one.scenario
        text = f"{scenario.name:32} {scenario.description or one.path}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    return 0


async def run_scenarios(options: argparse.Namespace, console: Console) -> int:
    """Do what the command line says; 0: all passed, 1: something failed or got worse, or nothing could be played."""
    loaded = load(options.file or [SHIPPED], options.assets)
    if not loaded:
        raise SettingsError("there is no scenario: no file and no folder with *.yaml is named")
    if options.url is not None and options.config:
        raise SettingsError("--config: is for a server of one's own and has no effect with --url")
    places = (("--json", options.json), ("--junit", options.junit), ("--html", options.html))
    for flag, place in places:
        check_place(place, flag)
    baseline = read_lines(options.baseline) if options.baseline is not None else []
    results: list[Result] = []
    lost = False
    try:
        await _play_all(options, loaded, results, console)
    except SettingsError as error:
        if not results:
            raise
        lost = True  # what was played has not been for nothing
        tell(console, f"[red]the rest could not be played[/]: {foreign(str(error))}")
    scores = {one.scenario.name: one.scenario.score for one in loaded}
    groups = grouped(results, scores)
    comparisons = _compared(results, baseline, options.baseline)
    _write(options.junit, junit(results, groups))
    told = f"visavis {_version()}, {date.today().isoformat()}; {len(results)} results"
    _write(options.html, html_report(results, groups, comparisons, told))
    _report(results, groups, comparisons, console)
    if baseline and not comparisons[_with(options.baseline)]:
        raise SettingsError(f"--baseline: {options.baseline} has no scenario that was played here, too")
    if not groups:
        tell(console, "[red]nothing was played[/]: the server lacks what each scenario needs")
        return 1
    if baseline:
        return int(lost or any(one.regressed for rows in comparisons.values() for one in rows))
    return int(lost or not all(group.passed for group in groups))


async def _play_all(
    options: argparse.Namespace, loaded: Sequence[Loaded], results: list[Result], console: Console
) -> None:
    for config in options.config or [None]:
        async with server_of(options.url, config) as url:
            address = Address(url, options.api_key)
            check(address)
            name = config.name if config is not None else (options.url or "")
            async for result in _played(loaded, address, name, options.repeat):
                results.append(result)
                _write(options.json, json_lines(results))  # a run that is ended early has not been for nothing
                _tell(result, console)


@asynccontextmanager
async def server_of(url: str | None, config: Path | None) -> AsyncIterator[str]:
    """The server that is named, or one of its own."""
    async with AsyncExitStack() as stack:
        yield url if url is not None else await stack.enter_async_context(own_server(config))


def check(address: Address) -> None:
    """Raise :class:`SettingsError` for what no server can be reached by."""
    if is_websocket(address):
        address = Address(address.url.replace("ws", "http", 1).partition("?")[0], address.api_key)
    address.check()


@dataclass(slots=True)
class _Judges:
    """What is needed to judge results of one server, made when it is needed first."""

    address: Address
    abilities: Abilities
    ear: Hearer | None = None

    async def result(self, scenario: Scenario, player: Player, attempt: int, config: str) -> Result:
        """Judge what a player has observed."""
        if wants_hearing(scenario):
            if self.ear is None:
                self.ear = hearer(
                    ModelStore(load_settings({}, serves=False).model_cache), self.abilities.engines.get("stt", "")
                )
            await listen(scenario, player.observed, self.ear)
        await ask_opinions(scenario, player.observed, self.address, self.abilities.model)
        return result_of(scenario, player.observed, attempt, config)


async def _played(loaded: Sequence[Loaded], address: Address, config: str, repeat: int) -> AsyncIterator[Result]:
    judges = _Judges(address, await abilities_of(address))
    try:
        for one in loaded:
            for scenario in one.scenario.variants():
                if lacking := judges.abilities.lacking(scenario):
                    yield skipped(scenario, lacking, config)
                    continue
                for attempt in range(1, repeat + 1):
                    player = Player(scenario, address, MonotonicClock(), one.materials)
                    await player.play()
                    yield await judges.result(scenario, player, attempt, config)
    finally:
        if judges.ear is not None:
            await judges.ear.close()


def _tell(result: Result, console: Console) -> None:
    if result.skipped:
        tell(console, f"[yellow]skipped[/] {foreign(result.title)}: {foreign(result.skipped)}")
        return
    colour = "green]passed" if result.passed else "red]failed"
    tell(console, f"[{colour}[/] {foreign(result.title)}")
    for one in result.verdicts:
        if not one.passed:
            soft = " (opinion)" if one.soft else ""
            tell(console, f"       turn {one.turn + 1}: {one.expected}{soft}: {one.kind}: {foreign(one.message)}")


def _compared(results: Sequence[Result], baseline: Sequence[Result], file: Path | None) -> dict[str, list[Comparison]]:
    """Each server with the first, and all with the baseline."""
    configs = list(dict.fromkeys(one.config for one in results))
    by_config = {config: [one for one in results if one.config == config] for config in configs}
    comparisons = {
        f"{config} with {configs[0]}": compared(by_config[config], by_config[configs[0]]) for config in configs[1:]
    }
    if file is not None:
        comparisons[_with(file)] = compared(results, baseline)
    return comparisons


def _with(file: Path) -> str:
    return f"with {file.name}"


def _report(
    results: Sequence[Result], groups: Sequence[Group], comparisons: dict[str, list[Comparison]], console: Console
) -> None:
    for config in dict.fromkeys(one.config for one in results):
        told = figures([one for one in results if one.config == config])
        low, high = told["pass_rate_interval"]
        skips = f", {told['skipped']} skipped" if told["skipped"] else ""
        name = f"{foreign(config)}: " if config else ""
        tell(console, f"{name}{told['passed']} of {told['scenarios']} passed (95 %: {low:.0%} to {high:.0%}){skips}")
        for key, title in _FIGURES:
            if told[key] is not None:
                values = ", ".join(f"{word} {told[key][word]:.0f} ms" for word in ("median", "p95", "worst"))
                tell(console, f"{title}: {values} (n {told[key]['n']})")
        if told["cutoffs"]:
            tell(console, f"turns cut off: {told['cutoffs']}")
    for group in groups:
        for one in group.missed:
            tell(console, f"[red]{foreign(group.name)}[/]: {one.expected}: {one.kind}: {foreign(one.message)}")
    for name, rows in comparisons.items():
        tell(console, f"compared {foreign(name)}:")
        for row in rows:
            worse = " [red]regression[/]" if row.regressed else ""
            tell(console, f"  {row.figure}: {row.before} → {row.now}  {row.change}{worse}")
    if hearers := sorted({one.hearer for one in results if one.hearer}):
        tell(console, f"[dim]heard by {foreign(', '.join(hearers))}[/dim]")
    tell(console, "[dim]Synthetic voices flatter some recognisers and puzzle others: people sound otherwise.[/dim]")


_FIGURES = (
    ("voice_to_voice_ms", "end of speech → first sound"),
    ("stop_ms", "interruption → silence"),
    ("duck_ms", "interruption → lower"),
)


def _version() -> str:
    try:
        return version("visavis")
    except PackageNotFoundError:
        return "(from its sources)"


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        try:
            path.write_text(text, "utf-8")
        except OSError as error:
            raise SettingsError(f"{path} cannot be written: {error.strerror or error}") from error
