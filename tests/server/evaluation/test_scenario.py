"""Scenario files: what is read, and what each mistake is told as."""

from __future__ import annotations

import pytest

from pipelines.errors import DefinitionError
from server.evaluation.scenario import SHIPPED, load

HEAD = "version: 1\nname: one\nturns:\n"
MISTAKES = {
    "  - {say: hello, expect: [{replies: {}}]}": r"line 4: turns\.0\.expect\.0\.replies: .*legal values are.*reply",
    "  - {say: hello, expect: [{reply: {word_min: 3}}]}": r"line 4: .*word_min: .*words_min",
    "  - {say: hello, expect: [{not: heard}]}": r"line 4: .*must be one of early_reply, reply, stopped",
    "  - {say: hello, expect: [{no_turn: false}]}": "no_turn: must be true",
    "  - {say: hello, expect: [reply]}": "must be one expectation",
    "  - {say: hello, expect: [{reply: {matches: '('}}]}": "is no regular expression",
    "  - {say: hello, type: hello}": "exactly one of say, inside, type, play, audio, wait_ms, or video",
    "  - {wait: 3}": "wait",
    "  - {say: hello, pause_ms: 300}": r"pause_ms: has no effect without \.\.\. in say or inside",
    "  - {say: hello, when: {started: 300}}": r"when: must be \{reply_started_ms: a number above 0, up to 60000\}",
    "  - {say: hello, when: {reply_started_ms: 300}}": "has no turn before it",
}


def test_what_ships_is_sound_and_named_as_its_file():
    shipped = load([SHIPPED])
    assert len(shipped) >= 10
    assert all(one.path.stem == one.scenario.name and one.scenario.description for one in shipped)


@pytest.mark.parametrize("turn", MISTAKES)
def test_a_mistake_is_told_with_its_place(turn, tmp_path):
    file = tmp_path / "one.yaml"
    file.write_text(f"{HEAD}{turn}\n")
    with pytest.raises(DefinitionError, match=MISTAKES[turn]) as told:
        load([file])
    assert str(file) in str(told.value)
