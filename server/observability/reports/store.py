"""Reports in a folder: one file for each kind of error, which counts how often it came. Bounded; blocks.

Processes may share the folder. What cannot be written is told once and forgotten: a report must not do any harm.
"""

from __future__ import annotations

import json
import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

MOST_REPORTS = 200
"""Kinds of errors that are kept; that which was seen last the longest ago goes first."""
LARGEST_BYTES = 64 << 10
"""Of one report; a longer one loses its causes."""
LOCK_SECONDS = 2.0
SHOWN = ("id", "type", "code", "engine", "stage", "count", "first_seen", "last_seen", "version")
"""What a list of reports tells of each."""
_ID = re.compile(r"[0-9a-f]{12}")
Json = dict[str, Any]


class Reports:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told = False

    def add(self, report: Json) -> bool:
        """Keep a report, or count it where there is one of its kind. ``False``: it could not be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(self._folder / ".lock", timeout=LOCK_SECONDS):
                self._write(report)
                self._make_room()
        except (OSError, Timeout) as error:
            if not self._told:
                self._told = True
                log.warning("error_reports: reports cannot be written (%s)", type(error).__name__)
            return False
        return True

    def all(self) -> list[Json]:
        """The heads of all reports, that which was seen last first."""
        found = [self._read(file) for file in self._files()]
        heads = [{name: one.get(name) for name in SHOWN} for one in found if one is not None]
        return sorted(heads, key=lambda head: float(head["last_seen"] or 0.0), reverse=True)

    def find(self, id_: str) -> Json | None:
        """The whole report of that id."""
        return self._read(self._folder / f"{id_}.json") if _ID.fullmatch(id_) else None

    def _write(self, report: Json) -> None:
        path = self._folder / f"{report['id']}.json"
        before = self._read(path) or {}
        now = report["time"]
        whole = {**report, "count": int(before.get("count", 0)) + 1, "first_seen": before.get("first_seen", now)}
        whole["last_seen"] = now
        text = json.dumps(whole, indent=1)
        if len(text) > LARGEST_BYTES:
            text = json.dumps({**whole, "causes": []}, indent=1)[: 2 * LARGEST_BYTES]
        new = path.with_suffix(f".{os.getpid()}.new")
        try:
            new.unlink(
                missing_ok=True
            )  # of one that was killed; and a link that somebody has put there is not followed
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            new.replace(path)
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise

    def _make_room(self) -> None:
        files = self._files()
        if len(files) <= MOST_REPORTS:
            return
        oldest = sorted(files, key=lambda file: file.stat().st_mtime)
        for file in oldest[: len(files) - MOST_REPORTS]:
            file.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        try:
            return [file for file in self._folder.iterdir() if _ID.fullmatch(file.stem) and file.suffix == ".json"]
        except OSError:
            return []

    def _read(self, path: Path) -> Json | None:
        try:
            told = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return told if isinstance(told, dict) and _is_report(told) else None


def _is_report(told: Json) -> bool:
    """Whether what :meth:`Reports._write` goes by is there: files can be cut short, or be another's."""
    times = told.get("first_seen"), told.get("last_seen")
    return isinstance(told.get("count"), int) and all(isinstance(time, int | float) for time in times)
