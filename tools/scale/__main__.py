"""``python -m tools.scale``: write the tables of the page anew, or plan for figures of your own."""

from __future__ import annotations

import argparse
from dataclasses import asdict, fields, replace

from rich.console import Console

from tools.scale.arithmetic import plan
from tools.scale.costs import Costs, Machines, People
from tools.scale.tables import PAGE, written


def main() -> None:
    """Without ``--sessions`` the page is written."""
    parser = argparse.ArgumentParser(
        description="Without --sessions: writes the tables of docs/explain/scale.md (half a minute). "
        "With it: the arithmetic for so many sessions, with what you know better."
    )
    parser.add_argument("--sessions", type=int, metavar="N")
    kinds = (Costs(), People(), Machines())
    for one in kinds:
        for field in fields(one):
            default = getattr(one, field.name)
            parser.add_argument(f"--{field.name}", type=type(default), default=default, metavar=f"{default:g}")
    options = parser.parse_args()
    if options.sessions is None:
        PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
        return
    given = [replace(one, **{field.name: getattr(options, field.name) for field in fields(one)}) for one in kinds]
    for name, value in asdict(plan(options.sessions, *given)).items():
        Console(highlight=False).print(
            f"{name:14} {value:,.4g}" if isinstance(value, float) else f"{name:14} {value:,}"
        )


if __name__ == "__main__":
    main()
