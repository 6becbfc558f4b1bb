"""What a server prints: nobody waits for a terminal that is stopped, and a disk that is full is nobody's error."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from media.clock import MonotonicClock
from server.observability import output
from server.observability.logs import process_log
from server.observability.output import Output, written_aside

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows' terminals are written to otherwise")


def pipe(monkeypatch, most: int) -> tuple[int, io.TextIOWrapper]:
    monkeypatch.setattr(output, "MOST_BYTES", most)
    here, there = os.pipe()
    return here, open(there, "w", encoding="utf-8")


def read(descriptor: int) -> str:
    with open(descriptor, encoding="utf-8") as file:
        return file.read()


def test_what_is_printed_comes_in_its_order(tmp_path):
    with (tmp_path / "log").open("w", encoding="utf-8") as file:
        file.write("before\n")
        console = Console(file=file, width=80)
        with written_aside(console):
            for n in range(500):
                console.print(f"ä {n}")
        console.print("after")
    assert (tmp_path / "log").read_text("utf-8").split("\n")[:-1] == [
        "before",
        *(f"ä {n}" for n in range(500)),
        "after",
    ]


def test_a_reader_that_hangs_holds_nobody_up_and_learns_what_it_missed(monkeypatch):
    here, file = pipe(monkeypatch, 10_000)
    waits = Output(file)
    for n in range(1000):
        waits.write(f"{n:03}{'.' * 996}\n")  # 1 MB: returns, or the test hangs
    reading = threading.Thread(target=lambda: told.append(read(here)))
    told: list[str] = []
    reading.start()
    while waits._waiting:
        waits._changed.acquire()
        waits._changed.release()
    waits.write("at last\n")
    waits.finish(30)
    file.close()
    reading.join()
    *lines, lost, last = told[0].splitlines()
    assert [int(line[:3]) for line in lines] == list(range(len(lines)))
    assert (lost, last) == (f"({1000 - len(lines)} pieces of the log are lost before this)", "at last")


def test_a_reader_that_has_left_is_nobodys_error(monkeypatch):
    here, file = pipe(monkeypatch, 10_000)
    os.close(here)
    waits = Output(file)
    waits.write("to nobody\n")
    waits.finish(30)
    os.write(file.fileno(), b"nor is what others write there")
    file.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
async def test_a_full_disk_is_nobodys_error():
    with open(os.open("/dev/full", os.O_WRONLY), "w", encoding="utf-8") as file:  # noqa: ASYNC230 - of a device
        console = Console(file=file)
        async with process_log("info", console, MonotonicClock()):
            console.print("engines have changed")
            logging.getLogger("x").warning("no more room")
            assert isinstance(console.file, Output)
            console.file.finish(30)
            assert console.file._lost == 2


def test_what_is_kept_in_memory_stays_there():
    kept = io.StringIO()
    with written_aside(Console(file=kept)) as nothing:
        assert nothing is None
    console = Console(file=kept)
    with written_aside(console):
        console.print("at once")
        assert kept.getvalue() == "at once\n"
