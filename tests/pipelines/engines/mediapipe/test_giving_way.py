"""Threads that give way to those that listen and speak."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from pipelines.engines.mediapipe.library import NICENESS, giving_way


def own_niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness of their own")
def test_what_is_started_gives_way_and_who_starts_it_does_not() -> None:
    before, found = own_niceness(), list[int]()

    def start() -> threading.Thread:
        thread = threading.Thread(target=lambda: found.append(own_niceness()))
        thread.start()
        return thread

    giving_way(start).join()
    assert found == [min(before + NICENESS, 19)] and own_niceness() == before


def test_an_error_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        giving_way(lambda: 1 // 0)
