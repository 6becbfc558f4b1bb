"""What a model thinks to itself is not said, whatever it marks its thoughts with and wherever the text is cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.engines.llm.text import AnswerText
from pipelines.engines.llm.thoughts import Begins, ThoughtFilter, opens_thought

MARKED = [
    ("<think>hm</think>Yes.", "Yes."),
    ("Well <think>a<b</think>yes<think>", "Well yes"),
    ("<<think>x</think>>", "<>"),
    ("<think>never closed </thin", ""),
    ("<THINK>hm</Think>Yes.", "Yes."),
    ('<thinking mode="deep">hm</thinking>Yes.', "Yes."),
    ("< think >hm</ think >Yes.", "Yes."),
    ("<thought>hm</thought>Yes.", "Yes."),
    ("<thoughts>hm</thoughts>Yes.", "Yes."),
    ("<reasoning>hm</reasoning>Yes.", "Yes."),
    ("<reason>hm</reason>Yes.", "Yes."),
    ("<reflection>hm</reflection>Yes.", "Yes."),
    ("<scratchpad>hm</scratchpad>Yes.", "Yes."),
    ("<inner_monologue>hm</inner_monologue>Yes.", "Yes."),
    ("<antThinking>hm</antThinking>Yes.", "Yes."),
    ("<seed:think>hm</seed:think>Yes.", "Yes."),
    ("[THINK]hm[/THINK]Yes.", "Yes."),
    ("[think]hm[/think]Yes.", "Yes."),
    ("◁think▷hm◁/think▷Yes.", "Yes."),
    ("<think>one</think>Yes<thinking>two</thinking>, no.", "Yes, no."),
    ("<think>one<think>two</think>Yes.", "Yes."),
    ("<think>hm</think></think>Yes.", "Yes."),
    ("<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>", "Yes."),
    ("<|begin_of_thought|>hm<|end_of_thought|><|begin_of_solution|>Yes.<|end_of_solution|>", "Yes."),
    ("<unused94>thought\nhm<unused95>Yes.", "Yes."),
    ('<details type="reasoning" done="true"><summary>Thought for 3 s</summary>hm</details>Yes.', "Yes."),
    ("<|channel>thought\nhm<channel|>Yes.", "Yes."),
    ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>", "Yes."),
    ("<|start|>assistant<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|message|>Yes.", "Yes."),
    ("<|channel|>final <|constrain|>text<|message|>Yes.<|end|><|start|>user<|message|>", "Yes."),
    ('<|channel|>commentary to=functions.look <|constrain|>json<|message|>{"a": 1}<|call|>', ""),
    ("analysisWe need the final word.assistantfinalYes.", "Yes."),
    ("Here is my thought process: hm. Here is my response: Yes.", " Yes."),
    ("Yes.<|im_end|>\n<|im_start|>user\nAnd now?", "Yes."),
    ("Yes.<|eot_id|>No.", "Yes."),
    ("Yes.<end_of_turn>", "Yes."),
    ("<|im_start|>Yes.<|end|>No.", "Yes."),
]
PLAIN = [
    "a < b <thin ice>",
    "half a tag <thi",
    "a [1] and [thin ice], 3 < 4 > 2",
    "analysis of this is hard",
    "an apple",
    "Analysis Of A",
    "Here is my list: thought, reasoning.",
    "I think, I thought, the reasoning is fine.",
    "2 <3 and <b>bold</b>",
    "◁ and <|not a token",
    "",
]


def run(text: str, cuts: list[int], begins: Begins = Begins.ANSWER) -> tuple[str, ThoughtFilter]:
    thoughts, got = ThoughtFilter(begins), ""
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        got += thoughts.push(text[begin:end])
    return got + thoughts.flush(), thoughts


@pytest.mark.parametrize(("text", "shown"), [*MARKED, *((text, text) for text in PLAIN)])
@settings(max_examples=20)
@given(data=st.data())
def test_thoughts_are_left_out_wherever_the_text_is_cut(text: str, shown: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    assert run(text, cuts)[0] == shown
    assert run(text, [*range(1, len(text))])[0] == shown


@pytest.mark.parametrize("begins", [Begins.UNKNOWN, Begins.THOUGHT])
@pytest.mark.parametrize("mark", ["</think>", "</THINKING>", "[/THINK]", "◁/think▷", "</reasoning>"])
def test_a_thought_that_only_its_end_gives_away(begins: Begins, mark: str) -> None:
    text = f"So the user greets me.{mark}\nHello."
    for cuts in ([], [*range(1, len(text))]):
        said, thoughts = run(text, cuts, begins)
        assert said == "\nHello."
        assert thoughts.thought
        assert thoughts.unannounced


def test_an_announced_thought_needs_no_guess() -> None:
    said, thoughts = run("Well <think>hm</think>yes.", [2, 9], Begins.UNKNOWN)
    assert said == "Well yes."
    assert not thoughts.unannounced


@pytest.mark.parametrize("begins", [Begins.UNKNOWN, Begins.THOUGHT])
def test_without_any_mark_all_of_it_was_the_answer(begins: Begins) -> None:
    assert run("Hello there.", [3], begins)[0] == "Hello there."


@pytest.mark.parametrize(
    ("text", "is_thought"),
    [
        ("Okay, so the user is asking about", True),
        ("Okay, let me think about", True),
        ("Hmm, that is a", True),
        ("We need to answer briefly", True),
        ("First, I need to", True),
        ("Alright, the question is", True),
        ("Okay, I'll do that.", False),
        ("Hello! How can I", False),
        ("Two plus two is four", False),
        ("I am fine, thank you", False),
        ("Well, it rains", False),
    ],
)
def test_without_time_to_wait_it_goes_by_how_the_text_reads(text: str, is_thought: bool) -> None:
    thoughts = ThoughtFilter(Begins.UNKNOWN)
    assert thoughts.push(text) == ""
    assert thoughts.undecided == len(text)
    assert thoughts.decide() == ("" if is_thought else text)
    assert thoughts.push(" more") == ("" if is_thought else " more")
    assert not thoughts.undecided
    assert thoughts.push("</think>Yes.") == "Yes."


@pytest.mark.parametrize(
    "thought", ["Okay, the user is asking about tea.", "Hmm, so the user wants tea.", "We need to answer briefly."]
)
def test_what_nobody_says_to_a_user_is_no_answer_even_of_a_model_that_never_thought_before(thought: str) -> None:
    for cuts in ([], [*range(1, len(thought))]):
        said, thoughts = run(f"{thought}</think>Tea.", [*cuts, len(thought)])
        assert said == "Tea."
        assert thoughts.unannounced
    assert run(thought, [4])[0] == thought, "without an end it was an answer"


def test_first_words_are_kept_only_as_long_as_they_may_be_such_a_thought() -> None:
    thoughts = ThoughtFilter()
    assert [thoughts.push(piece) for piece in ("Okay", ",", " the", " tea", " is")] == [
        "",
        "",
        "",
        "Okay, the tea",
        " is",
    ]
    assert thoughts.undecided == 0
    thoughts = ThoughtFilter()
    assert (thoughts.push("Okay."), thoughts.undecided, thoughts.decide()) == ("", 5, "Okay.")
    assert ThoughtFilter().push("Tea ") == "Tea "
    assert ThoughtFilter().push("The user interface ") == "The user interface "


def test_a_thought_that_is_cut_off_is_not_said() -> None:
    for begins in (Begins.UNKNOWN, Begins.THOUGHT):
        thoughts = ThoughtFilter(begins)
        assert thoughts.push("Okay, the user wants") == ""
        assert thoughts.flush(cut=True) == ""
        assert thoughts.thought
    thoughts = ThoughtFilter(Begins.UNKNOWN)
    thoughts.push("Two and two is")
    assert thoughts.flush(cut=True) == "Two and two is"


@pytest.mark.parametrize(
    ("prompt", "opens"),
    [
        ("<|im_start|>assistant\n<think>\n", True),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", False),
        ("<|im_start|>assistant\n", False),
        ("[THINK]", True),
    ],
)
def test_a_prompt_may_begin_the_thought(prompt: str, opens: bool) -> None:
    assert opens_thought(prompt) is opens


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "[", "|", "◁", "analysis", "a", " ", "</", "<|end|>"])))
def test_any_marks_in_any_order_pass(parts: list[str]) -> None:
    text = "".join(parts)
    whole, _ = run(text, [])
    assert "think>" not in whole
    assert len(whole) <= len(text)


# ---------------------------------------------------------------------------------------------------- characters


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (["\ud83d", "\ude00"], "😀"),
        (["a\ud83d", "\ude00b", "\ud83d\ude00"], "a😀b😀"),
        (["a\ud83d", "b"], "a\N{REPLACEMENT CHARACTER}b"),
        (["a\ude00b"], "a\N{REPLACEMENT CHARACTER}b"),
        (["a\ud83d"], "a\N{REPLACEMENT CHARACTER}"),
        (["a\ud83d", "", "\ude00"], "a😀"),
    ],
)
def test_halves_of_characters_are_joined_and_lone_ones_replaced(pieces: list[str], said: str) -> None:
    text = AnswerText()
    out = "".join(str(piece) for part in pieces for piece in text.push(part))
    out += "".join(map(str, text.flush()))
    assert out == said
    out.encode()
