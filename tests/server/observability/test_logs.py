"""The log: a few lines of each kind, then a count; foreign text that a terminal cannot obey."""

from __future__ import annotations

import errno
import io
import logging
import sys

import pytest
from rich.console import Console

from server.observability import logs
from server.observability.logs import PERIOD_SECONDS, RateLimit, SafeFormatter, printable, process_log
from tests.fakes.clock import FakeClock
from tests.fakes.hostile_requests import mutations
from tests.fakes.raw_http import address_of, attack

WARNINGS = 10


def record(template: object = "bad packet from %s", *values: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("aiortc.codecs", level, __file__, 1, template, values, None)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def limit(clock: FakeClock) -> RateLimit:
    return RateLimit(clock)


def test_the_first_of_a_kind_are_told_and_then_counted(limit, clock):
    told = [limit.filter(record("bad packet from %s", n)) for n in range(1000)]
    assert told == [True] * WARNINGS + [False] * (1000 - WARNINGS)
    clock.advance(PERIOD_SECONDS)
    next_one = record("bad packet from %s", "x")
    assert limit.filter(next_one)
    assert SafeFormatter().format(next_one) == f"bad packet from x   (and {1000 - WARNINGS} more like this before)"
    assert [limit.filter(record()) for _ in range(WARNINGS)] == [True] * (WARNINGS - 1) + [False]


def test_kinds_are_counted_apart(limit):
    assert not all(limit.filter(record("a")) for _ in range(WARNINGS + 1))
    assert limit.filter(record("b"))
    assert limit.filter(record("a", level=logging.ERROR))


def test_values_in_the_template_make_no_new_kind(limit):
    """As aioice, aiortc and asyncio write them."""
    told = [limit.filter(record(f"RTCDtls(%s) {n:#x} failed: '{n * 'a'}' at {n}", "x")) for n in range(50)]
    assert sum(told) == WARNINGS


def test_kinds_without_end_are_one_kind(limit):
    told = [limit.filter(record(chr(0x4E00 + n) * 9)) for n in range(5000)]
    assert sum(told) <= logs._MOST_KINDS + WARNINGS
    assert len(limit._counts) <= logs._MOST_KINDS + 1


def test_errors_are_fewer_and_details_as_many_as_they_are(limit):
    assert sum(limit.filter(record("x", level=logging.ERROR)) for _ in range(100)) == 5
    assert sum(limit.filter(record("x", level=logging.INFO)) for _ in range(100)) == 60
    assert sum(limit.filter(record("x", level=logging.DEBUG)) for _ in range(1000)) == 1000


def test_a_burst_that_is_over_is_counted_too(limit, clock):
    for _ in range(100):
        limit.filter(record("bad packet %d", 1))
    limit.filter(record("rare"))
    assert limit.overdue() == []
    clock.advance(PERIOD_SECONDS)
    assert limit.overdue() == [(("aiortc.codecs", logging.WARNING, "bad packet %d"), 100 - WARNINGS)]
    assert limit.overdue() == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, with spaces: ünï¢ödé 日本", "plain text, with spaces: ünï¢ödé 日本"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\rb\tc\x00\x9b", "a\\rb\\tc\\x00\\x9b"),
        ("\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"),
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_nothing_a_terminal_would_obey(text, shown):
    assert printable(text) == shown
    assert SafeFormatter().format(record("from %s", text)) == f"from {shown}"


class Hostile:
    def __str__(self) -> str:
        return "\x1b[2J\nforged"

    __repr__ = __str__


def test_a_value_begins_no_line():
    assert SafeFormatter().format(record("%s failed", "a\nERROR forged")) == "a\\nERROR forged failed"
    assert SafeFormatter().format(record("%r|%s", Hostile(), Hostile())) == "\\x1b[2J\\nforged|\\x1b[2J\\nforged"
    assert SafeFormatter().format(record("%(a)s %(b)03d", {"a": "x\ny", "b": 7})) == "x\\ny 007"
    assert SafeFormatter().format(record("%d of %.1f, %s", 3, 2.5, None)) == "3 of 2.5, None"
    assert SafeFormatter().format(record("100%")) == "100%"
    assert SafeFormatter().format(record("two\nlines")) == "two\n  lines"


def test_of_several_processes_each_says_who_it_is():
    assert SafeFormatter("worker 2").format(record("load: level %d", 1)) == "worker 2: load: level 1"


def test_a_traceback_cannot_pose_as_a_record():
    try:
        raise RuntimeError("\x1b[31m\nERROR forged")
    except RuntimeError:
        failed = record("failed")
        failed.exc_info = sys.exc_info()
    text = SafeFormatter().format(failed)
    assert "\x1b" not in text
    assert text.startswith("failed\n  Traceback")
    assert "\n  ERROR forged" in text


def raised(*, withheld: bool = False) -> str:
    """What is told of an error of the system that came of a value."""
    said = "my clinic in Davos"
    try:
        try:
            int(said)
        except ValueError as error:
            raise FileNotFoundError(errno.ENOENT, "no such file") from error
    except OSError:
        failed = record("failed")
        failed.exc_info = sys.exc_info()
        failed.withheld = withheld
    return SafeFormatter().format(failed)


def test_messages_that_hold_a_value_are_not_told():
    text = raised()
    assert "Davos" not in text
    assert text.index("ValueError\n") < text.index("FileNotFoundError: [Errno 2] no such file")
    assert "in raised" in text


def told(error: BaseException) -> list[str]:
    """The lines about an exception."""
    failed = record("failed")
    failed.exc_info = (type(error), error, error.__traceback__)
    return SafeFormatter().format(failed).splitlines()[1:]


def caused(error: BaseException, origin: BaseException) -> BaseException:
    error.__cause__ = origin
    return error


def test_parts_of_a_group_are_not_told_as_what_led_to_each_other():
    inner = ExceptionGroup("inner", [caused(OSError("full"), OSError("disk")), ValueError("Davos")])
    group = ExceptionGroup("outer", [inner, OSError("net")])
    assert [line for line in told(caused(RuntimeError("end"), group)) if line.strip()] == [
        "  ExceptionGroup: outer (2 sub-exceptions)",
        "    One of its parts:",
        "      ExceptionGroup: inner (2 sub-exceptions)",
        "        One of its parts:",
        "          OSError: disk",
        "          That led to:",
        "          OSError: full",
        "        One of its parts:",
        "          ValueError",
        "    One of its parts:",
        "      OSError: net",
        "  That led to:",
        "  RuntimeError: end",
    ]


def test_each_exception_is_told_once_and_not_without_end():
    first, second = OSError("first"), OSError("second")
    first.__cause__, second.__cause__ = second, first
    assert [line.strip() for line in told(first) if "OSError" in line] == ["OSError: second", "OSError: first"]
    of_one = caused(ExceptionGroup("group", [first]), first)
    assert sum("first" in line for line in told(of_one)) == 1
    many = ExceptionGroup("many", [OSError(str(n)) for n in range(99)])
    assert 2 <= sum("OSError" in line for line in told(many)) <= 9


def test_no_message_is_told_of_what_was_given_words_that_were_said():
    text = raised(withheld=True)
    assert "FileNotFoundError: ENOENT" in text


async def test_libraries_of_tools_do_not_tell_what_was_called(clock):
    out = io.StringIO()
    async with process_log("debug", Console(file=out, width=200), clock):
        logging.getLogger("visavis").debug("at this level")
    async with process_log("info", Console(file=out, width=200), clock):
        for name in ("httpx2", "httpcore2.connection", "mcp.client"):
            logging.getLogger(name).info("GET https://weather/?city=my+clinic")
    assert "at this level" in out.getvalue()
    assert "clinic" not in out.getvalue()


async def test_the_process_log_tells_at_its_end_what_it_held_back(clock):
    out = io.StringIO()
    async with process_log("info", Console(file=out, width=200), clock):
        for n in range(30):
            logging.getLogger("aioice.ice").warning("odd \x1b[31m %s", n)
            logging.getLogger("aioice.ice").info("chatter")
    lines = out.getvalue().splitlines()
    assert len(lines) == WARNINGS + 1
    assert f"{30 - WARNINGS} more like this of aioice.ice were not shown: odd \\x1b[#m %s" in lines[-1]


async def test_the_process_log_counts_while_it_runs(clock):
    out = io.StringIO()
    async with process_log("info", Console(file=out, width=200), clock):
        for _ in range(30):
            logging.getLogger("x").warning("odd")
        for _ in range(5):
            await clock.sleeper()
            clock.advance(PERIOD_SECONDS / 4)
        await clock.sleeper()
        assert "20 more like this of x" in out.getvalue()


async def test_a_thousand_bad_connections_write_little(serve, clock):
    out = io.StringIO()
    url, _ = await serve()
    async with process_log("info", Console(file=out, width=200), clock):
        _, wrong = await attack(*address_of(url), mutations(3, 1000))
    assert not wrong
    assert len(out.getvalue()) < 60_000
    assert "\x1b" not in out.getvalue()
