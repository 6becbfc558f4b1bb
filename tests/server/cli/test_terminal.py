"""Foreign text in the terminal: shown as it is, and without any effect."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from pipelines.models.fetches import Fetch
from server.cli import terminal
from server.cli.doctor.diagnosis import Check
from server.cli.doctor.report import show
from server.cli.serve import table
from server.cli.talk import TalkOptions, Transcript, report
from server.cli.terminal import Downloads, cell, foreign, megabytes, tell, tell_failure, tell_foreign
from server.engines.choices import Choices

HOSTILE = "llama3[/b] [red]\x1b[2J\x07[bold]\\"
SHOWN = "llama3[/b] [red]\\x1b[2J\\x07[bold]\\"


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_it_is_shown_as_it_is(console: Console) -> None:
    tell(console, f"[bold]{foreign(HOSTILE)}[/bold]!")
    tell_foreign(console, HOSTILE)
    console.print(cell(HOSTILE))
    assert printed(console) == f"{SHOWN}!\n" + f"{SHOWN}\n" * 2


def test_an_address_in_brackets_is_no_command(console: Console) -> None:
    tell(console, f"[bold]{foreign('http://[fd00::1]:8080')}[/bold] ready")
    assert printed(console) == "http://[fd00::1]:8080 ready\n"


@pytest.mark.parametrize("text", ["two\nlines", "two\r\nlines", "two\x0blines", "two\u2028lines"])
def test_it_stays_on_its_line(console: Console, text: str) -> None:
    tell_foreign(console, text)
    assert printed(console) == "two lines\n"


def test_halves_of_surrogate_pairs_can_be_printed() -> None:
    """A file name that is no UTF-8 comes as such."""
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    tell_failure(Console(file=file), "a\udcff[/x]")
    file.flush()
    assert file.buffer.getvalue() == b"visavis: a\\udcff[/x]\n"


def test_a_failure_is_one_line_however_long() -> None:
    console = Console(file=io.StringIO(), width=40)
    tell_failure(console, "a word and " * 40)
    assert printed(console).count("\n") == 1


def test_the_table_of_engines_takes_any_name(console: Console) -> None:
    choices = Choices()
    choices.note("llm", HOSTILE, f"because {HOSTILE}", device="-")
    choices.note("stt", "pocketsphinx", "broken", wanted="whisper[/i]")
    console.print(table(choices.status()))
    assert SHOWN in printed(console)
    assert "pocketsphinx, for whisper[/i]" in printed(console)


def test_the_doctor_takes_any_name(console: Console) -> None:
    show([Check("models", HOSTILE, "missing", HOSTILE, HOSTILE)], console)
    assert printed(console).count(SHOWN) == 6


def test_talk_takes_any_words(console: Console) -> None:
    transcript = Transcript()
    transcript.take({"type": "error", "error": {"message": HOSTILE}})
    transcript.take(
        {"type": "conversation.item.input_audio_transcription.completed", "item_id": "a", "transcript": HOSTILE}
    )
    report(transcript, TalkOptions(__file__, None, "http://127.0.0.1:9"), console)
    assert printed(console).count(SHOWN) == 2


def test_sizes() -> None:
    assert [megabytes(size) for size in (0, 44_000, 9_400_000, 147_900_000)] == ["0.0 MB", "0.0 MB", "9.4 MB", "148 MB"]


def test_downloads_are_told_in_lines_where_there_is_no_terminal(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    with Downloads(console) as downloads:
        for done, at in ((0, 100), (1, 104), (2, 105), (3, 106), (4, 110), (5, 120)):
            now[0] = at
            downloads(Fetch("whisper[/b]", "fetching", done * 10**7, 5 * 10**7))
        downloads(Fetch("whisper[/b]", "arrived", 5 * 10**7, 5 * 10**7))
    assert printed(console).splitlines() == [
        "whisper[/b]: 20 MB of 50 MB",
        "whisper[/b]: 40 MB of 50 MB",
        "whisper[/b]: 50 MB of 50 MB",
    ]


def test_downloads_are_bars_in_a_terminal_as_long_as_there_are_any() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    threads = set(threading.enumerate())
    with Downloads(console) as downloads:
        downloads(Fetch("voice", "waiting"))
        assert "voice" not in printed(console)
        downloads(Fetch("whisper[/b]", "fetching", 10**7))
        downloads(Fetch("voice", "fetching", 2 * 10**7, 4 * 10**7))
        drawing = set(threading.enumerate()) - threads
        assert drawing
        downloads(Fetch("voice", "arrived"))
        downloads(Fetch("whisper[/b]", "failed", error="the network is closed"))
        for thread in drawing:
            thread.join(20)
            assert not thread.is_alive()  # a server does not draw for nobody
        downloads(Fetch("voice", "fetching", 10**7, 4 * 10**7))
    assert "whisper[/b]" in printed(console)
    downloads(Fetch("later", "fetching", 0, 10))  # once the terminal is left to others
