"""The command line's parser: what is wrong is told in one line, with what was probably meant."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

from pipelines.text import nearest


class Parser(argparse.ArgumentParser):
    """An :class:`argparse.ArgumentParser` for people who mistype."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As of old, but nothing is left over: here the command is known that it was meant for."""
        options, extra = super().parse_known_args(args, namespace)
        if extra:
            words = [word for word in extra if word.startswith("-")] or extra
            known = re.findall(r"(?<![\w-])--[a-z-]+", self.format_help())
            meant = nearest(words[0].partition("=")[0], known)
            self.error(f"there is no {words[0]} here" + (f"; did you mean {meant}?" if meant else ""))
        return options, extra

    def error(self, message: str) -> NoReturn:
        """End with one line instead of the usage."""
        message = message.removeprefix("argument ")
        if choice := re.fullmatch(r"(.*): invalid choice: '(.*)' \(choose from (.*)\)", message):
            legal = choice[3].replace("'", "").split(", ")
            meant = nearest(choice[2], legal)
            guess = f"; did you mean {meant}? Legal" if meant else "; legal"
            message = f"{choice[1]}: there is no {choice[2]!r}{guess} are {', '.join(legal)}"
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def whole(least: int) -> Callable[[str], int]:
    """A type of arguments: a whole number of at least ``least``."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,18}", text.strip()) or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text!r}")
        return int(text)

    return parse


def number(least: float, most: float = math.inf, *, above: bool = False) -> Callable[[str], float]:
    """A type of arguments: a number from ``least`` (or ``above`` it) to ``most``."""
    legal = f"{'above' if above else 'of at least'} {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not least <= value <= most or (above and value == least):
            raise argparse.ArgumentTypeError(f"must be a number {legal}, not {text!r}")
        return value

    return parse
