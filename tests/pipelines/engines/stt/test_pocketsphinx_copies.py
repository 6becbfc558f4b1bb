"""A transcript is made by a copy of the decoder's process; where that is lost, by the process itself."""

from __future__ import annotations

import os

import pytest

from pipelines.engines.stt.pocketsphinx_process import Listener

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system makes no copies of processes")


class Heard(Listener):
    """Has heard one utterance, which is still open."""

    def __init__(self) -> None:
        self._open = True

    def _final(self):
        return {"text": "it is noon", "confidence": 0.9}


def refused() -> int:
    raise BlockingIOError


def killed() -> int:
    """A process that says nothing."""
    return os.posix_spawnp("true", ["true"], os.environ)


def reaped() -> int:
    """One that nobody can wait for any more: what a process sees that ignores the ends of its children."""
    copy = killed()
    os.waitpid(copy, 0)
    return copy


@pytest.mark.parametrize("fork", [refused, killed, reaped])
def test_a_copy_that_is_lost_costs_no_words(monkeypatch, fork):
    monkeypatch.setattr(os, "fork", fork)
    assert Heard().transcript() == {"text": "it is noon", "confidence": 0.9}
