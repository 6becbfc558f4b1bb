"""The barrier: nothing comes out of it but the log's traceback and one word to the client."""

from __future__ import annotations

import logging

from server.transports.barrier import MOST_TRACEBACKS, Barrier


def broken(*_: object) -> None:
    raise RecursionError("too deep")


def test_an_exception_is_logged_with_its_traceback_and_told(caplog):
    told: list[str] = []
    barrier = Barrier("sess_1", told.append)
    barrier.around(broken, "a message")("hello", 1)
    assert told == ["a message"]
    assert barrier.failures == {"a message": 1}
    (record,) = caplog.records
    assert (record.levelno, record.exc_info[0]) == (logging.ERROR, RecursionError)
    assert "sess_1" in record.getMessage()


def test_what_works_is_passed_on_as_it_is():
    seen: list[object] = []
    Barrier("s", seen.append).around(lambda *args: seen.append(args), "x")(1, 2)
    assert seen == [(1, 2)]


def test_telling_may_fail_too(caplog):
    Barrier("s", broken).around(broken, "x")()
    assert "could not be told" in caplog.text


def test_the_log_of_one_handler_is_bounded_and_the_count_is_not(caplog):
    barrier = Barrier("s", lambda what: None)
    for _ in range(100):
        barrier.around(broken, "x")()
    assert len(caplog.records) == MOST_TRACEBACKS
    assert barrier.failures["x"] == 100
