"""Where streamed text is cut to be spoken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.voice.clauses import FIRST_LIMIT, LONGEST, SENTENCE_LIMIT, ClauseSplitter


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
    "whole",
    [
        "[the long, long guide. It has eleven words and no end](https://example.com/a_(b)?c=d)",
        "$f(x) = x^2 + 2, \\quad x > 0$",
        "\\(a^2 + b^2 = c^2\\)",
        "$$ e = 1 + 1, or. Not $$",
        "`a = b. C = d, e`",
        '<a href="https://example.com/x" title="A title. Of many words">',
        "https://example.com/a,b—c。d/e.f?g=h;i",
        "June 5, 2024",
        "Jan. 5th, 1995",
        "1 000 000 000",
        "+1 (555) 123 4567",
        "2 + 2 = 4",
        "10 km",
        "$ 5",
        "50 %",
        "Dr. J. R. R. Smith",
        "No. 5",
        "e.g., apples",
        "10 – 20",
    ],
)
@pytest.mark.parametrize("before", range(12))
def test_what_belongs_together_is_not_cut_wherever_the_limit_falls(whole: str, before: int) -> None:
    text = f"{'word ' * before}{whole} and then it goes on for quite a while"
    for clauses in (split(text), split(*text)):
        assert any(whole in clause for clause in clauses), clauses


def test_an_address_of_any_length_stays_in_one_piece() -> None:
    address = "https://example.com/" + "x" * 1000
    clauses = ["Please look at this page:", address, "and tell."]
    assert split(f"Please look at this page: {address} and tell.") == clauses


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I think that it mi", ["I think that it"]),
        ("I think so.", ["I think so."]),
        ("I think so. ", ["I think so."]),
        ("It costs 3.", ["It costs"]),
        ("I asked Dr.", ["I asked"]),
        ("See https:", ["See"]),
        ("Hm", []),
        ("", []),
        ("Look at [the long gui", ["Look at"]),
        ("It is $x^2 + 1", ["It is"]),
        ("```py\nx = 1 ", []),
        ("~~~\nx = 1 ", []),
    ],
)
def test_what_can_be_said_when_nothing_comes_for_a_while(text: str, said: list[str]) -> None:
    splitter = ClauseSplitter()
    assert [*splitter.push(text), *splitter.pause()] == said
    assert splitter.pause() == []
    rest = [*splitter.push(" more"), *splitter.flush()]
    assert "".join("".join([*said, *rest]).split()) == "".join(f"{text} more".split())


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
        ("Do this: 1. Sit down. 2. Stand up.", ["Do this: 1. Sit down.", "2. Stand up."]),
        ("I have 2. You have 3.", ["I have 2.", "You have 3."]),
        ("It was in 2024. Then we left.", ["It was in 2024.", "Then we left."]),
        ("We take plan B. Then we go.", ["We take plan B.", "Then we go."]),
        ("I paid $5. You paid $10.", ["I paid $5.", "You paid $10."]),
        ("He said [sic] so. Then he left.", ["He said [sic] so.", "Then he left."]),
        ("If a < b then stop. Else go.", ["If a < b then stop.", "Else go."]),
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


@pytest.mark.parametrize("fence", ["```", "````", "~~~", "~~~~"])
def test_a_code_block_is_one_clause(fence: str) -> None:
    code = f"{fence}python\nprint(1). Or not\n\nx = 2\n{fence}"
    assert split(f"Here you are:\n{code}\nThat was it. Bye.") == ["Here you are:", code, "That was it.", "Bye."]


def test_a_code_block_may_begin_within_a_line() -> None:
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
    *[
        "[a long, long link. Really](https://a.b/c)",
        "[1]",
        "[a",
        "b](",
        "$x^2 +",
        "y. z$",
        "$5",
        "$",
        "`a. b`",
        "`",
        "~~~",
    ],
    *["<b>", "<a", "June", "5,", "2024", "+1", "555", "10", "km", "=", "\\(", "\\)", "\\[", "\\]", "$$", "<!--", "-->"],
    *["www.a.b/" + "c" * 420, "2.", "Plan", "B."],
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
    """But for code, which is not spoken, and addresses, of which only the host is."""
    assert all(
        len(clause) <= LONGEST or "```" in clause or "~~~" in clause or "www" in clause for clause in split(text)
    )
