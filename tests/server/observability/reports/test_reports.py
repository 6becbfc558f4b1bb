"""Error reports: they tell where and how, count what comes again, and hold no word that anybody said."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import string
import threading
import types
from pathlib import Path

import aiohttp
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from media.clock import MonotonicClock
from pipelines.errors import EngineStuckError, LLMError, foreign_errors
from pipelines.runtime.worker import Worker, session
from server.cli.commands import run
from server.http.openapi.tracking import ErrorList, ErrorReport
from server.observability.reports.catcher import MOST_A_MINUTE, Catcher, _write
from server.observability.reports.redaction import SET, changed_settings, code_of, own_words, pseudonym, type_name
from server.observability.reports.report import Circumstances, report
from server.observability.reports.store import MOST_REPORTS, Json, Reports
from server.settings import Settings, load_settings
from tests.fakes.clock import FakeClock

PLAIN = load_settings({})
ABOUT = Circumstances(PLAIN, now=lambda: 1000.0)
log = logging.getLogger("server.somewhere")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what the whole suite sets."""
    monkeypatch.delenv("VISAVIS_SHEDDING", raising=False)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:  # noqa: BLE001 - it is what is asked for
        return caught


async def our_engine_fails(what: Exception) -> BaseException:
    """An exception that has passed through a frame of ours, as engines' errors do."""
    try:
        with foreign_errors(LLMError, "llm_failed", "an engine"):
            raise what
    except LLMError as error:
        return error


async def test_a_report_tells_where_it_was_and_what_was_known() -> None:
    about = Circumstances(
        load_settings({"port": 0, "greeting": "Good morning, Ada", "max_sessions": 7, "log_level": "error"}),
        lambda: {("process_resident_memory_bytes", ()): 1024.0, ("visavis_sessions", ()): 2.0},
        lambda session: ["UserTurn", "ResponseFailed"] if session == "sess_secret" else [],
        lambda: 1000.0,
    )
    error = await our_engine_fails(ValueError("my bank card is 1234"))
    told = report(error, about, session="sess_secret", engine="llama.cpp", part="server.sessions")
    ErrorReport.model_validate(told | {"count": 1, "first_seen": 0.0, "last_seen": 0.0})
    assert (told["type"], told["code"], told["stage"]) == ("pipelines.errors.LLMError", "llm_failed", "llm")
    assert {"file": "pipelines/errors.py", "function": "foreign_errors"}.items() <= told["trace"][-1].items()
    assert [cause["type"] for cause in told["causes"]] == ["ValueError"]
    assert told["load"] == {"resident_bytes": 1024.0, "sessions": 2.0}
    assert told["settings"] == {"port": 0, "greeting": SET, "max_sessions": 7, "log_level": "error"}
    assert told["events"] == ["UserTurn", "ResponseFailed"]
    assert told["session"] == pseudonym("sess_secret")
    assert told["libraries"]["aiohttp"]
    text = json.dumps(told)
    assert not any(word in text for word in ("bank", "1234", "Ada", "sess_secret"))


async def test_the_same_at_the_same_place_has_the_same_id_whoever_it_was_for() -> None:
    ids = {
        report(await our_engine_fails(ValueError(words)), ABOUT, session=who)["id"]
        for words, who in (("one", "a"), ("two", "b"))
    }
    assert len(ids) == 1
    assert report(await our_engine_fails(KeyError("one")), ABOUT)["id"] not in ids


def test_an_error_of_the_system_has_its_symbol_and_a_code_that_we_have_not_written_none() -> None:
    assert code_of(OSError(errno.ENOSPC, "my secret")) == "ENOSPC"
    assert code_of(LLMError("llm_failed", "x")) == "llm_failed"
    assert code_of(LLMError("my_bank_card", "x")) is None
    assert {"llm_failed", "engine_stuck", "deadline"} <= own_words()


def test_a_type_that_is_made_of_what_was_said_has_no_name() -> None:
    assert type_name(type("MyBankCard", (Exception,), {})) == "(a type made at run time)"
    hidden = types.new_class("Disguised", (Exception,))
    hidden.__module__, hidden.__qualname__ = "builtins", "ValueError"
    assert type_name(hidden) == "(a type made at run time)"
    assert type_name(asyncio.TimeoutError) == "TimeoutError"


def test_groups_and_circles_of_causes_end() -> None:
    one, two = ValueError("a"), TypeError("b")
    one.__context__, two.__context__ = two, one
    group = ExceptionGroup("c", [one, OSError("d"), *(KeyError(n) for n in range(50))])
    told = report(raised(group), ABOUT)
    assert 3 <= len(told["causes"]) <= 7


def test_settings_tell_numbers_and_choices_and_of_all_else_that_they_are_set() -> None:
    given_ = {
        "api_key": "a-key-of-mine",
        "instructions": "You are Ada's butler",
        "llm_url": "http://ada.example/v1",
        "tool_secrets": {"WEATHER": "token"},
        "llm_model": "adas-own",
        "device": "cpu",
        "vision": False,
        "workers": 3,
    }
    told = changed_settings(load_settings(given_))
    hidden = dict.fromkeys(("api_key", "instructions", "llm_url", "tool_secrets", "llm_model"), SET)
    assert told == hidden | {"device": "cpu", "vision": False, "workers": 3}


# ------------------------------------------------------------------------------------------------ no word of anybody

WORDS = st.text(alphabet=string.ascii_letters + string.digits + "äß語 _-.:/'\"\n\x00", min_size=12, max_size=60)
"""Long enough not to be a part of a report by chance."""


def _nested(text: str, shape: int) -> BaseException:
    """An exception that holds ``text`` in one of the ways in which they do."""
    made = {
        0: lambda: ValueError(text),
        1: lambda: KeyError(text),
        2: lambda: OSError(5, text, text),
        3: lambda: LLMError("llm_failed", text),
        4: lambda: LLMError(text, text),
        5: lambda: UnicodeDecodeError("utf-8", text.encode(), 0, 1, text),
        6: lambda: raised(RuntimeError(text), ValueError(text)),
        7: lambda: ExceptionGroup(text, [ValueError(text)]),
        8: lambda: type(text.replace("\x00", "") or "T", (Exception,), {"__module__": text})(text),
        9: lambda: json.JSONDecodeError(text, text, 0),
    }[shape]()
    made.add_note(text)
    return made


@hypothesis_settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(transcript=WORDS, prompt=WORDS, argument=WORDS, secret=WORDS, shape=st.integers(0, 9), is_ours=st.booleans())
def test_no_word_of_a_transcript_a_prompt_a_tools_argument_or_a_key_appears(
    transcript: str, prompt: str, argument: str, secret: str, shape: int, is_ours: bool
) -> None:
    changed = {"instructions": prompt, "api_key": SecretStr(secret), "tool_secrets": {"NAME": SecretStr(secret)}}
    about = Circumstances(Settings.model_construct(set(changed), **(dict(PLAIN) | changed)), now=lambda: 1.0)
    catcher = Catcher(about, FakeClock())

    def with_locals(said: str, arguments: str) -> BaseException:
        error = _nested(said, shape)
        error.args = (*error.args, arguments)
        return raised(error)

    error = with_locals(transcript, argument)
    if is_ours:
        error = asyncio.run(our_engine_fails(error)) if isinstance(error, Exception) else error
    session.set(transcript)
    record = logging.LogRecord(prompt, logging.ERROR, __file__, 0, transcript, (), (type(error), error, None))
    catcher.emit(record)
    assert catcher.passed_over == 0
    (told,) = catcher.waiting
    text = json.dumps(told, ensure_ascii=False)
    for said in (transcript, prompt, argument, secret):
        assert said not in text
        assert json.dumps(said, ensure_ascii=False)[1:-1] not in text


# ---------------------------------------------------------------------------------------------------- catching, keeping


async def test_an_engine_that_hangs_is_told_with_the_place_where_it_does() -> None:
    catcher, worker = Catcher(ABOUT, MonotonicClock()), Worker("an engine of mine", limit=1.0)
    worker.crew.clock = clock = FakeClock()
    begun, gate = threading.Event(), threading.Event()
    root = logging.getLogger()
    root.addHandler(catcher)
    session.set("sess_x")

    def work() -> None:
        try:
            raise ValueError("what was said")
        except ValueError as error:
            begun.set()
            type_name(_Waits(gate, error))

    try:
        hanging = asyncio.create_task(worker.run(work))
        await asyncio.to_thread(begun.wait)
        clock.advance(1.1)
        worker.crew.look()
        with pytest.raises(EngineStuckError):
            await hanging
    finally:
        gate.set()
        root.removeHandler(catcher)
        worker.close()
    (told,) = catcher.waiting
    assert (told["type"], told["code"]) == ("pipelines.errors.EngineStuckError", "engine_stuck")
    assert (told["engine"], told["session"]) == ("an engine of mine", pseudonym("sess_x"))
    assert told["noticed_by"] == "pipelines.runtime.crew"
    places = [(row.get("file"), row.get("function")) for row in told["trace"]]
    assert ("server/observability/reports/redaction.py", "type_name") in places
    assert places.index(("pipelines/runtime/crew.py", "Crew._run")) < len(places) - 3, "the outermost first"
    assert "said" not in json.dumps(told)


class _Waits:
    """Whose module is asked for by what is ours, and told when it is let."""

    def __init__(self, gate: threading.Event, error: Exception) -> None:
        self._gate, self._error = gate, error

    @property
    def __module__(self) -> str:
        self._gate.wait()
        return "builtins"

    __qualname__ = "ValueError"


async def test_an_error_on_an_engines_thread_is_told_with_engine_and_session() -> None:
    catcher, worker = Catcher(ABOUT, MonotonicClock()), Worker("an engine of mine")
    root = logging.getLogger()
    root.addHandler(catcher)
    session.set("sess_x")

    def work() -> None:
        try:
            raise ValueError("what was said")
        except ValueError:
            log.exception("it failed")

    try:
        await worker.run(work)
        log.error("expected, and without an exception")
        log.warning("less than an error", exc_info=ValueError("x"))
    finally:
        root.removeHandler(catcher)
        worker.close()
    (told,) = catcher.waiting
    assert (told["engine"], told["session"]) == ("an engine of mine", pseudonym("sess_x"))
    assert catcher.kinds == {"ValueError": 1}


def test_an_error_that_comes_too_often_is_passed_over_and_what_is_broken_here_does_no_harm() -> None:
    clock = FakeClock()
    catcher = Catcher(ABOUT, clock)
    error = raised(ValueError("x"))
    record = logging.LogRecord("server", logging.ERROR, __file__, 0, "x", (), (ValueError, error, None))
    for _ in range(MOST_A_MINUTE + 5):
        catcher.emit(record)
    assert catcher.passed_over == 5
    clock.advance(60.0)
    catcher.emit(record)
    assert catcher.passed_over == 5

    def broken() -> dict[object, float]:
        log.error("inside", exc_info=error)
        raise RuntimeError

    broken_too = Catcher(Circumstances(PLAIN, broken), clock)
    broken_too.emit(record)
    assert broken_too.passed_over == 1


def made(n: int, time: float) -> dict[str, object]:
    return {"id": f"{n:012x}", "time": time, "type": "ValueError", "causes": []}


def test_a_folder_counts_what_comes_again_and_holds_so_many(tmp_path) -> None:
    reports = Reports(tmp_path / "new")
    assert reports.add(made(1, 10.0))
    assert reports.add(made(1, 20.0))
    (head,) = reports.all()
    assert (head["count"], head["first_seen"], head["last_seen"]) == (2, 10.0, 20.0)
    for n in range(MOST_REPORTS + 20):
        reports.add(made(n + 2, 30.0 + n))
        os.utime(tmp_path / "new" / f"{n + 2:012x}.json", (n + 100, n + 100))
    assert len(reports.all()) == MOST_REPORTS
    assert reports.find(f"{3:012x}") is None, "the oldest are gone"
    assert reports.find("../../etc/passwd") is None
    assert (tmp_path / "new" / f"{50:012x}.json").stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path, caplog) -> None:
    (tmp_path / "file").write_text("")
    reports = Reports(tmp_path / "file" / "in")
    assert not reports.add(made(1, 1.0))
    assert not reports.add(made(1, 1.0))
    assert len(caplog.records) == 1
    assert reports.all() == []


def test_what_is_no_report_in_the_folder_does_no_harm(tmp_path) -> None:
    reports, made = Reports(tmp_path), report(raised(ValueError("x")), ABOUT)
    file, other = tmp_path / f"{made['id']}.json", tmp_path / "of somebody"
    other.write_text("theirs")
    for spoiled in ('{"count": "many"}', '{"count": null, "last_seen": {}}', "[" * 100_000, "[1]", "\x00"):
        file.write_text(spoiled)
        assert reports.all() == [] and reports.find(made["id"]) is None
        (tmp_path / f"{made['id']}.{os.getpid()}.new").symlink_to(other)
        assert reports.add(made)
        assert [head["count"] for head in reports.all()] == [1]
    assert other.read_text() == "theirs"


def test_a_folder_that_is_locked_is_not_waited_for_again_and_again() -> None:
    class Locked(Reports):
        asked = 0

        def add(self, report: Json) -> bool:
            self.asked += 1
            return False

    catcher, locked = Catcher(ABOUT, FakeClock()), Locked(Path("nowhere"))
    catcher.waiting.extend({} for _ in range(9))
    _write(catcher, locked)
    assert (locked.asked, len(catcher.waiting)) == (1, 0)


async def test_a_server_reports_lists_and_the_command_shows(serve, tmp_path, capsys) -> None:
    url, _ = await serve(error_reports=str(tmp_path))
    error = await our_engine_fails(ValueError("what was said"))
    log.error("a task has died", exc_info=error)
    async with aiohttp.ClientSession(url) as http, asyncio.timeout(20):
        while len((told := await (await http.get("/v1/errors")).json())["data"]) < 2:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.05)
        listed = ErrorList.model_validate(told)
        assert (listed.enabled, {head.count for head in listed.data}) == (True, {1})
        one = next(head for head in listed.data if head.code == "llm_failed" and head.type.endswith("LLMError"))
        whole = await (await http.get(f"/v1/errors/{one.id}")).json()
        ErrorReport.model_validate(whole)
        missing = await http.get("/v1/errors/abc")
        assert (missing.status, (await missing.json())["error"]["code"]) == (404, "not_found")
    capsys.readouterr()
    assert await asyncio.to_thread(run_command, "errors", "--folder", str(tmp_path)) == 0
    assert one.id in capsys.readouterr().out
    assert await asyncio.to_thread(run_command, "errors", one.id, "--folder", str(tmp_path)) == 0
    assert json.loads(capsys.readouterr().out)["id"] == one.id
    assert await asyncio.to_thread(run_command, "errors", "abc", "--folder", str(tmp_path)) == 2
    assert one.id in capsys.readouterr().err
    assert await asyncio.to_thread(run_command, "errors", "--folder", str(tmp_path / "none")) == 2
    assert "there is no folder" in capsys.readouterr().err


def run_command(*arguments: str) -> int:
    from server.cli import commands

    end, commands.end_on_signals = commands.end_on_signals, lambda: None  # only the main thread has signals
    try:
        return run(arguments)
    finally:
        commands.end_on_signals = end


async def test_without_a_folder_nothing_is_written_and_that_is_said(serve) -> None:
    url, _ = await serve()
    async with aiohttp.ClientSession(url) as http:
        assert await (await http.get("/v1/errors")).json() == {"object": "list", "enabled": False, "data": []}
        response = await http.get("/v1/errors/0123456789ab")
        assert "(setting error_reports)" in (await response.json())["error"]["message"]
        for path, setting in (
            ("/v1/workers", "--workers"),
            ("/v1/nodes", "cluster_url"),
            ("/v1/node/drain", "cluster_url"),
        ):
            assert setting in (await (await http.get(path)).json())["error"]["message"], "why there is no such route"


@pytest.mark.parametrize("value", ["off", "reports"])
def test_the_setting_is_off_or_a_folder(value: str) -> None:
    assert str(load_settings({"error_reports": value}).error_reports) == value
