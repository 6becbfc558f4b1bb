"""The history on disk: SQLite's write-ahead log, so that a process that is killed loses the last seconds only.

Slots of ten seconds. Several processes may write to one file, each under its number. What concerns single sessions is
not written. The file is kept below its limit by deleting the oldest; a disk that is full is told once, and the history
goes on in memory.
"""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from server.observability.history.book import Question
from server.observability.history.rings import Point
from server.observability.history.series import Key

log = logging.getLogger(__name__)

STEP = 10.0
"""Seconds of a slot."""
FILE = "history.sqlite"
REST_SECONDS = 60.0
"""Between tries to write to a disk that refused."""
_LOOK_EVERY = 30
"""Writings between looks at how large the file is."""
_BYTES_LEAST = 1 << 18
_TABLES = """
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, worker INTEGER, name TEXT, labels TEXT,
  UNIQUE (worker, name, labels));
CREATE TABLE IF NOT EXISTS points (slot INTEGER, series INTEGER, mean REAL, peak REAL, PRIMARY KEY (slot, series))
  WITHOUT ROWID;
"""
Row = tuple[int, Key, Point]
"""Worker, series, and a point in wall-clock seconds."""


class Disk:
    """One file. Not thread-safe; blocks. ``worker``: the number of this process, 0 where there is only one."""

    def __init__(self, folder: Path, most_bytes: int, worker: int = 0) -> None:
        self._path = folder / FILE
        self._most = max(most_bytes, _BYTES_LEAST)
        self._worker = worker
        self._database: sqlite3.Connection | None = None
        self._ids: dict[Key, int] = {}
        self._told = False
        self._rests_until = -math.inf
        self._writings = 0

    def write(self, time_: float, values: Iterable[tuple[Key, float, float]]) -> bool:
        """Keep means and peaks of the slot that began at ``time_``, in wall-clock seconds. ``False``: not kept."""
        if time.monotonic() < self._rests_until:
            return False
        try:
            database = self._open()
            slot = int(time_ // STEP)
            rows = [(slot, self._id(database, key), mean, peak) for key, mean, peak in values if _is_kept(key)]
            database.executemany("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?)", rows)
            database.commit()
            self._writings += 1
            if self._writings % _LOOK_EVERY == 1:
                self._shorten(database)
        except (sqlite3.Error, OSError) as error:
            self._refused(error)
            return False
        return True

    def read(self, question: Question, worker: int | None = None) -> list[Row]:
        """What is known between wall-clock times, of this or another ``worker``; -1: of all."""
        worker = self._worker if worker is None else worker
        rows: list[Row] = []
        try:
            database = self._open()
            series = self._wanted(database, question, worker)
            if not series:
                return []
            # Summed up by the database, outside of the interpreter: a year of slots must hold up no call.
            found = database.execute(
                "SELECT p.series, max(0, CAST((p.slot * ? - ?) / ? AS INTEGER)) AS place, avg(p.mean), max(p.peak) "
                "FROM points p WHERE p.slot >= ? AND p.slot < ? AND p.series IN (SELECT value FROM json_each(?)) "
                "GROUP BY p.series, place ORDER BY p.series, place",
                (
                    *(STEP, question.begin, question.step),
                    *(int(question.begin // STEP), math.ceil(question.end / STEP), json.dumps(list(series))),
                ),
            )
            for id_, place, mean, peak in found:
                rows.append((*series[id_], Point(question.begin + place * question.step, mean, peak)))
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            self._refused(error)
            return []
        return rows

    def _wanted(self, database: sqlite3.Connection, question: Question, worker: int) -> dict[int, tuple[int, Key]]:
        """Whose and which the series are that are asked for, by their numbers in the file."""
        wanted: dict[int, tuple[int, Key]] = {}
        rows = database.execute("SELECT id, worker, name, labels FROM series")
        for id_, number, name, labels in rows:
            if worker >= 0 and number != worker:
                continue
            key: Key = (name, tuple(tuple(pair) for pair in json.loads(labels)))
            if question.wants(key):
                wanted[id_] = number, key
        return wanted

    def close(self) -> None:
        """Idempotent."""
        database, self._database = self._database, None
        self._ids.clear()
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()

    # ------------------------------------------------------------------------------------------------ inside

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            database = sqlite3.connect(self._path, timeout=5.0, check_same_thread=False)
            try:
                self._path.chmod(0o600)
                database.execute("PRAGMA auto_vacuum=INCREMENTAL")
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=NORMAL")
                database.execute("PRAGMA journal_size_limit=1048576")
                database.executescript(_TABLES)
            except BaseException:
                database.close()
                raise
            self._database = database
        return self._database

    def _id(self, database: sqlite3.Connection, key: Key) -> int:
        known = self._ids.get(key)
        if known is None:
            row = (self._worker, key[0], json.dumps(key[1]))
            database.execute("INSERT OR IGNORE INTO series (worker, name, labels) VALUES (?, ?, ?)", row)
            found = database.execute("SELECT id FROM series WHERE worker = ? AND name = ? AND labels = ?", row)
            known = self._ids[key] = int(found.fetchone()[0])
        return known

    def _shorten(self, database: sqlite3.Connection) -> None:
        """Delete the oldest tenth of what there is, as long as it is too much."""
        for _ in range(100):
            pages, free, size = (
                int(database.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size")
            )
            if (pages - free) * size <= self._most:
                break
            first, last = database.execute("SELECT min(slot), max(slot) FROM points").fetchone()
            if first is None:
                break
            database.execute("DELETE FROM points WHERE slot <= ?", (first + (last - first) // 10,))
            database.commit()
        database.execute("PRAGMA incremental_vacuum").fetchall()
        database.commit()

    def _refused(self, error: Exception) -> None:
        """Told once; the connection is opened anew later, for what was cut short must not be gone on with."""
        self.close()
        self._rests_until = time.monotonic() + REST_SECONDS
        if not self._told:
            self._told = True
            log.warning(
                "history_folder: the history cannot be kept on disk (%s); it goes on in memory", type(error).__name__
            )


def _is_kept(key: Key) -> bool:
    return all(label != "session" for label, _ in key[1])
