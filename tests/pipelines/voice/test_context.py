"""What a long conversation keeps, and that its beginning stays the same for many turns."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipelines.interfaces.llm import Message, ToolCall
from pipelines.voice.context import LONGEST_SUMMARY, approximate_tokens, cut, fit, summary

SYSTEM = Message("system", "Be brief.")


def words(text: str) -> int:
    return len(text.split()) + 1


def conversation(turns: int) -> list[Message]:
    said = [SYSTEM]
    for n in range(turns):
        said += [Message("user", f"Question number {n}, please."), Message("assistant", f"The answer is {n}.")]
    return said


def test_what_fits_stays_as_it_is() -> None:
    assert fit(conversation(5), 1000, words) == conversation(5)
    assert fit([], 10) == []


def test_the_newest_turns_are_kept_with_a_line_about_the_others() -> None:
    messages = conversation(30)
    kept = fit(messages, 150, words)
    assert kept[1:] == messages[-len(kept) + 1 :]
    assert kept[1].role == "user"
    assert kept[0].content.startswith("Be brief.\nEarlier, the user said: ")
    assert sum(words(message.content) for message in kept) <= 150


def test_of_a_newest_turn_that_does_not_fit_the_end_is_kept() -> None:
    long = Message("user", f"{'word ' * 500}What was the word?")
    for messages in ([*conversation(3), long], [SYSTEM, long], [long]):
        kept = fit(messages, 100, words)
        assert kept[-1].content.startswith("…")
        assert kept[-1].content.endswith("word word What was the word?")
        assert 60 < sum(words(message.content) for message in kept) <= 100


def test_what_cannot_be_shortened_is_kept_as_it_is() -> None:
    call = (ToolCall("1", "light", "{}"),)
    turn = [Message("user", "Light!"), Message("assistant", "", call), Message("tool", "done " * 500, (), "1")]
    assert fit(turn, 100, words) == turn
    assert fit([Message("assistant", "word " * 500)], 100, words) == [Message("assistant", "word " * 500)]


def test_a_text_without_spaces_is_shortened_too() -> None:
    (kept,) = fit([Message("user", "語" * 4000)], 100)
    assert len(kept.content) > 60 and approximate_tokens(kept.content) <= 100


def test_the_beginning_stays_the_same_for_many_turns() -> None:
    beginnings = [fit(conversation(n), 300, words)[:2] for n in range(1, 120)]
    changes = sum(one != other for one, other in pairwise(beginnings))
    assert 3 < changes < 119 / 8


def test_a_result_stays_with_its_call() -> None:
    call = (ToolCall("1", "light", "{}"),)
    turn = [Message("user", "Light!"), Message("assistant", "", call), Message("tool", "done", (), "1")]
    kept = fit([SYSTEM, *turn * 20], 60, words)
    assert [message.role for message in kept[1:4]] == ["user", "assistant", "tool"]


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 200))
def test_the_cut_fits_and_never_goes_back(costs: list[int], room: int) -> None:
    cuts = [cut(costs[:n], room) for n in range(len(costs) + 1)]
    assert cuts == sorted(cuts)
    for n, start in enumerate(cuts[1:], 1):
        assert start < n
        assert sum(costs[start:n]) <= room or start == n - 1


def test_a_summary_keeps_what_was_said_first_and_names_and_numbers() -> None:
    line = summary(
        [
            Message("user", "My dog is ill. He is called Rex, he is 12 and we live in New York. What now?"),
            Message("assistant", "See a vet."),
            Message("user", "Thank you!\n[Camera: one person, 3 fingers]"),
        ]
    )
    assert line == "My dog is ill (Rex, 12, New York); Thank you"


@given(st.lists(st.text(), max_size=30))
def test_a_summary_is_one_short_line(texts: list[str]) -> None:
    line = summary([Message("user", text) for text in texts])
    assert len(line) <= LONGEST_SUMMARY
    assert "\n" not in line
    assert line == summary([Message("user", text) for text in texts])


def test_the_newest_are_summarised_when_there_is_more() -> None:
    line = summary([Message("user", f"Sentence number {n} is about nothing.") for n in range(100)])
    assert "number 99" in line
    assert "number 1 " not in line


def test_the_model_may_write_the_line_itself() -> None:
    kept = fit(conversation(30), 150, words, lambda dropped: f"{len(dropped)} things")
    assert kept[0].content.endswith(f"Earlier, the user said: {60 - len(kept) + 1} things.")


def test_a_count_without_a_tokenizer() -> None:
    assert approximate_tokens("a" * 40) == 14
    assert approximate_tokens("日本") == 5


def test_a_text_that_begins_a_scene_again_and_again_takes_no_longer_than_others() -> None:
    """Looking for the end of each of these from each of their beginnings would take hours."""
    said = [Message("user", "[Camera:" * 250_000), Message("assistant", "What?"), Message("user", "Never mind.")]
    assert fit(said, 100)[-1] == said[-1]
