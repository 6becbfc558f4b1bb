"""What a worker and its front tell each other, however much it is and in whatever letters."""

from __future__ import annotations

import pytest

from pipelines.vision.settings import VisionSettings
from pipelines.voice.history import Item
from pipelines.voice.settings import ConversationSettings
from server.resumption import Remembered
from server.workers.handover import from_text, to_text
from server.workers.messages import LONGEST_LINE, line, read


@pytest.mark.parametrize("letter", ["a", "я", "語", "😀", '"', "\\", "\n", "\x00"])
@pytest.mark.parametrize("kind", ["kept", "adopt"])
def test_the_longest_conversation_fits_into_a_line_whatever_it_is_written_in(letter, kind):
    items = tuple(Item(f"item_{n}", "user", letter * 31_000) for n in range(60))
    state = to_text(Remembered(ConversationSettings(), VisionSettings(), items))
    told = line(kind, session="sess_1wa", state=state)
    assert len(told) <= LONGEST_LINE
    assert told.count(b"\n") == 1
    assert read(told) == {"type": kind, "session": "sess_1wa", "state": state}
    assert from_text(state).items[-1] == items[-1]


def test_half_a_surrogate_pair_is_told_as_it_is():
    assert read(line("failed", message="\ud800 \udcff")) == {"type": "failed", "message": "\ud800 \udcff"}


@pytest.mark.parametrize("text", [b"", b"x", b"[]", b"\xff", b'{"type": "kept"'])
def test_what_is_no_message_says_nothing(text):
    assert read(text) == {}
