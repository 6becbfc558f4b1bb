"""Every command of ``visavis`` and its arguments, read off the parsers themselves."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from server.cli.commands import _parser
from server.settings import Settings

_HELP = ("-h", "--help")
ELSEWHERE = ("visavis serve-engines",)
"""Commands that have a page of their own."""


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command as it is typed, with its parser; those that only hold others come before them."""
    for name, parser, _ in _below("visavis", _parser(), ""):
        yield name, parser


def _below(name: str, parser: argparse.ArgumentParser, told: str) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """With what a list of commands says of each."""
    yield name, parser, parser.description or told
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            words = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for word, child in action.choices.items():
                yield from _below(f"{name} {word}", child, words.get(word, ""))


def commands() -> str:
    """A section for each command that does something."""
    found = [one for one in _below("visavis", _parser(), "") if one[0] not in ELSEWHERE]
    return "\n".join(_section(name, parser, told) for name, parser, told in found if not _holds_others(parser))


def engine_commands() -> str:
    """A section for each of :data:`ELSEWHERE`."""
    return "\n".join(_section(*one) for one in _below("visavis", _parser(), "") if one[0] in ELSEWHERE)


def _holds_others(parser: argparse.ArgumentParser) -> bool:
    return any(isinstance(action, argparse._SubParsersAction) for action in parser._actions)


def _section(name: str, parser: argparse.ArgumentParser, told: str) -> str:
    told = _cell(told)
    lines = [f"## {name}", f"{told[:1].upper()}{told[1:]}{'' if told.endswith('.') else '.'}", ""]
    shown = [action for action in parser._actions if action.option_strings != list(_HELP)]
    if shown:
        lines += ["| argument | values | what | setting |", "| --- | --- | --- | --- |"]
        lines += [f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in _row(action, parser))}|" for action in shown]
    return "\n".join(lines).rstrip() + "\n"


def _row(action: argparse.Action, parser: argparse.ArgumentParser) -> tuple[str, ...]:
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{_place(action)}`"
    told = parser._get_formatter()._expand_help(action) if action.help else ""
    serves = parser.prog.endswith(" serve") and action.dest in Settings.model_fields
    return names, _values(action), _cell(told), f"`{action.dest}`" if serves else ""


def _place(action: argparse.Action) -> str:
    name = action.metavar if isinstance(action.metavar, str) else action.dest
    return {"?": f"[{name}]", "*": f"[{name} …]", "+": f"{name} …"}.get(str(action.nargs), name)


def _values(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices is not None:
        return ", ".join(f"`{choice}`" for choice in action.choices)
    return f"`{action.metavar or action.dest.upper()}`" if action.option_strings else ""


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|").replace("<", "&lt;")
