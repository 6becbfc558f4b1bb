"""Where a text is cut and when its words begin, by numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.tts.piper_clause import LONGEST, aligned, estimated, joined, phoneme_ids, steps, word_marks

IDS = {"^": [1], "_": [0], "$": [2], " ": [3], "a": [4], "b": [5, 6]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two.", ["One.", "Two."]),
        ("I saw Dr. Smith.", ["I saw Dr. Smith."]),
        ("Well, I think that you may go, if you like.", ["Well, I think that you may go,", "if you like."]),
        ("... !", []),
        ("", []),
    ],
)
def test_steps(text, expected):
    assert list(steps(text)) == expected


@given(st.text(alphabet="ab ,.!\n", max_size=600))
def test_steps_are_short_and_lose_no_letter(text):
    parts = list(steps(text))
    assert all(len(part) <= LONGEST for part in parts)
    letters = [c for c in text if c.isalnum()]
    assert [c for part in parts for c in part if c.isalnum()] == letters


def test_sentences_that_espeak_made_are_one_again():
    assert joined([["d", "."], ["s", "."]]) == ["d", " ", "s", "."]
    assert joined([["d"], ["s"]]) == ["d", " ", "s"]
    assert joined([]) == []


def test_ids_know_their_phoneme_and_the_unknown_is_left_out():
    ids, owners = phoneme_ids(["a", "?", "b"], IDS)
    assert ids == [1, 0, 4, 0, 5, 6, 0, 2]
    assert owners == [-1, -1, 0, 0, 2, 2, 2, 3]


def test_alignment_adds_up():
    starts = aligned([-1, -1, 0, 0, 2, 2, 2, 3], np.array([10, 1, 20, 2, 30, 30, 3, 5]), 3)
    assert starts.tolist() == [11, 33, 33, 96]


def test_the_estimate_gives_time_only_to_what_sounds():
    assert estimated(["ˈ", "a", " ", "b"], 100, 300).tolist() == [100, 100, 200, 200, 300]
    assert estimated([], 0, 100).tolist() == [0]


def marks(text: str, phonemes: str, sizes: dict[str, float] | None = None) -> list[tuple[int, float]]:
    return word_marks(text, list(phonemes), np.arange(len(phonemes) + 1, dtype=float), 1, lambda w: (sizes or {})[w])


def test_words_that_espeak_speaks_one_by_one_begin_at_their_gap():
    assert marks("ab — cd", "ˈab cd") == [(0, 0.0), (5, 4.0)]


def test_two_words_spoken_as_one_share_its_time():
    assert marks("of the cat", "ʌvðə kæt", {"of": 2, "the": 2, "cat": 3}) == [(0, 0.0), (3, 2.0), (7, 5.0)]


def test_one_word_spoken_as_two_ends_where_the_next_begins():
    assert marks("25 b", "aa bb cc", {"25": 4, "b": 2}) == [(0, 0.0), (3, 6.0)]


def test_words_without_phonemes_do_no_harm():
    assert marks("a b", "", {"a": 0, "b": 0}) == [(0, 0.0), (2, 0.0)]
