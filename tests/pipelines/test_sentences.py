"""Where streamed text is cut to be spoken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.voice.sentences import FIRST_LIMIT, LONGEST, SENTENCE_LIMIT, ClauseSplitter


def split(*pieces: str) -> list[str]:
    splitter = ClauseSplitter()
    return [clause for piece in pieces for clause in splitter.push(piece)] + splitter.flush()


def after_the_first(text: str) -> list[str]:
    """The clauses of ``text`` where it is not the beginning of a reply."""
    assert split(f"That is the first. {text}")[0] == "That is the first."
    return split(f"That is the first. {text}")[1:]


def numbered(count: int) -> str:
    return " ".join(f"w{n}" for n in range(1, count + 1))


# ---------------------------------------------------------------------------------------------------- the first clause


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Well, I think that, as a rule, it rains.", "Well, I think that,"),
        ("I do not know. Ask someone else.", "I do not know."),
        ("Here is the list: one and two.", "Here is the list:"),
        ("I would say so; others would not.", "I would say so;"),
        ("That was close—very close indeed.", "That was close—"),
        ("That was close — very close indeed.", "That was close —"),
        ("Are you sure? I am.", "Are you sure?"),
        ("Yes! No! Hm.", "Yes! No! Hm."),
        ("In 1,000 years at 10:30 it rains, maybe.", "In 1,000 years at 10:30 it rains,"),
        ("你好，我是助手。很高兴认识你。", "你好，我是助手。"),
        ("Steps:\n1. Sit.", "Steps:"),
    ],
)
def test_the_first_clause_is_short(text: str, first: str) -> None:
    assert split(text)[0] == first


def test_the_first_clause_is_known_before_the_sentence_ends() -> None:
    splitter = ClauseSplitter()
    assert splitter.push("Well, I think ") == []
    assert splitter.push("so,") == []
    assert splitter.push(" but") == ["Well, I think so,"]


def test_without_punctuation_the_first_clause_is_cut_between_words() -> None:
    assert split(numbered(12)) == [numbered(FIRST_LIMIT), "w9 w10 w11 w12"]


def test_no_single_word_is_left_over() -> None:
    assert split(numbered(FIRST_LIMIT + 1)) == [numbered(FIRST_LIMIT + 1)]
    assert after_the_first(numbered(SENTENCE_LIMIT + 1)) == [numbered(SENTENCE_LIMIT + 1)]


def test_each_reply_has_a_first_clause() -> None:
    splitter = ClauseSplitter()
    for _ in range(2):
        assert splitter.push("This is short, and then it goes on.") == ["This is short,"]
        assert splitter.flush() == ["and then it goes on."]


# ---------------------------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    "sentence",
    [
        "Dr. Smith and Mrs. Jones met Prof. Lee, e.g. in the U.S. Army.",
        "It is No. 5 on p. 7, fig. 3.",
        "At 9 a.m. we met, at 5 p.m. we left.",
        "Pi is 3.14 and e is 2.72.",
        "See https://example.com/a?b=c,d and example.org for more.",
        "Wait... maybe not.",
        "It was… strange.",
        'He said "Stop!" and left.',
        "J. R. R. Tolkien wrote it.",
        "Apples, pears etc. are fruit.",
        "Version 1.2.3 at 10:30:15 costs 1,000.50.",
        "1. Open the door.",
        "(That is how it is.)",
        '"It is so."',
        "**It is bold.**",
        "What?!",
    ],
)
def test_one_sentence_stays_whole(sentence: str) -> None:
    assert after_the_first(f"{sentence} Then came another. ") == [sentence, "Then came another."]


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("No. I mean it.", ["No.", "I mean it."]),
        ("So do I. Then we go.", ["So do I.", "Then we go."]),
        ("We met at 9 a.m. Then we left.", ["We met at 9 a.m.", "Then we left."]),
        ("Hm... Really?", ["Hm...", "Really?"]),
        ("- apples\n- pears\n\n* figs", ["- apples", "- pears", "* figs"]),
        ("First line\r\nsecond line", ["First line", "second line"]),
        ("1. Sit down. 2. Stand up.", ["1. Sit down.", "2. Stand up."]),
        ("今天很好。明天呢？「好！」他说。", ["今天很好。", "明天呢？", "「好！」", "他说。"]),
        ("---\nMore.", ["---\nMore."]),
    ],
)
def test_where_sentences_end(text: str, clauses: list[str]) -> None:
    assert after_the_first(text) == clauses


def test_a_long_sentence_is_cut_at_a_comma() -> None:
    words = numbered(40).split()
    words[19] += ","
    assert after_the_first(" ".join(words)) == [" ".join(words[:20]), " ".join(words[20:])]


def test_a_long_sentence_without_commas_is_cut_between_words() -> None:
    assert after_the_first(numbered(70)) == [numbered(70).split(f" w{n} ")[0] for n in (31,)] + [
        " ".join(numbered(70).split()[30:60]),
        " ".join(numbered(70).split()[60:]),
    ]


def test_text_without_spaces_is_cut_at_last() -> None:
    clauses = split("x" * (2 * LONGEST + 1))
    assert [len(clause) for clause in clauses] == [LONGEST, LONGEST, 1]


def test_a_code_block_is_one_clause() -> None:
    code = "```python\nprint(1). Or not\n\nx = 2\n```"
    assert split(f"Here you are: {code}\nThat was it. Bye.") == ["Here you are:", code, "That was it.", "Bye."]
    assert split(f"Try this one {code}\n") == ["Try this one", code]
    assert after_the_first("```\nnever closed. It\ngoes on") == ["```\nnever closed. It\ngoes on"]


@pytest.mark.parametrize("text", ["", " ", "\n \n"])
def test_nothing(text: str) -> None:
    assert split(text) == []


# ---------------------------------------------------------------------------------------------------- any stream


PARTS = [
    *"Hello this is Dr. Smith, who (e.g. at 9 a.m.) said: 3.14! Really? Yes... no… I see; and—so on – 10:30".split(),
    *'"Stop!" https://a.b/c?d=e. 1. - * ``` ```py ` `` U.S. No. etc. J. I. ... ?! .) **bold.** — 1,000'.split(),
    *["你好。", "，", "世界！」", "x" * 150],
]
GAPS = [" ", " ", " ", "\n", "\n\n", "  ", "", "\t", "\r\n", " \n "]
TEXTS = st.one_of(
    st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from(GAPS)), max_size=60).map(
        lambda pairs: "".join(part + gap for part, gap in pairs)
    ),
    st.text(max_size=100),
)


@given(TEXTS, st.data())
def test_clauses_do_not_depend_on_the_pieces(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(*pieces) == split(text) == split(*text)


@given(TEXTS)
def test_nothing_is_lost(text: str) -> None:
    clauses = split(text)
    assert "".join("".join(clauses).split()) == "".join(text.split())
    assert all(clause and clause == clause.strip() for clause in clauses)


@given(TEXTS)
def test_clauses_are_not_too_long(text: str) -> None:
    assert all(len(clause) <= LONGEST or "```" in clause for clause in split(text))
