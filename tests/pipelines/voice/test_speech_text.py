"""Written text and how it is said: a table, read aloud by the embedded voice, whole and word by word."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.voice.clauses import ClauseSplitter
from pipelines.voice.spoken_text.normalize import speakable

TABLE: dict[str, list[tuple[str, str]]] = yaml.safe_load(
    (Path(__file__).parent / "speech_text.yaml").read_text("utf-8")
)
CASES = [pytest.param(*case, id=f"{kind}-{n}") for kind, cases in TABLE.items() for n, case in enumerate(cases)]
IN_ONE_PIECE = (
    "formulas", "units", "dates", "times", "phone numbers", "versions", "e-mail and web addresses", "links", "initials",
    "abbreviations", "decimals", "negative numbers", "currencies", "fractions", "Roman numerals", "ranges",
)  # fmt: skip
"""Kinds whose cases belong together, however the words around them are cut …"""
TWO_PIECES = (
    "We meet at 5 pm. Good.", "Plan B. Then we go.", "It costs $5 and $10, or $x$.", "w/ milk, w/o sugar", "etc.",
    "Dr. Smith and Mr. Jones", "St. John lives on Main St.", "from -3 to 4", "E. Coli", "I am, and an IV is not.",
    "Martin Luther King Jr. spoke.", '[1]: https://example.com "Title"',
)  # fmt: skip
"""… but for these."""
MARKUP = set("*_`~#|[]<>{}\\$€£¥¢%&^=§°²³½¼@™\n\t")


def clauses(text: str, size: int) -> list[str]:
    """The clauses of ``text`` that comes ``size`` characters at a time."""
    splitter = ClauseSplitter()
    pieces = [text[n : n + size] for n in range(0, len(text), size)]
    return [clause for piece in pieces for clause in splitter.push(piece)] + splitter.flush()


def test_the_table_is_large_and_holds_nothing_twice() -> None:
    written = [case[0] for cases in TABLE.values() for case in cases]
    assert len(written) >= 150
    assert len(written) == len(set(written))
    assert set(IN_ONE_PIECE) <= TABLE.keys()
    assert set(TWO_PIECES) <= set(written)


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_it_is_said_like_this(written: str, spoken: str) -> None:
    assert speakable(written) == spoken
    assert speakable(spoken) == spoken, "what is said already stays as it is"


@pytest.mark.parametrize("kind", TABLE)
def test_it_is_said_like_this_in_a_stream_of_any_pieces(kind: str) -> None:
    """On lines of its own, as lists and code are."""
    for written, spoken in TABLE[kind]:
        text = f"Here it comes now:\n{written}\nThat was all of it."
        whole = clauses(text, len(text))
        assert [clauses(text, size) for size in (1, 3)] == [whole, whole]
        said = " ".join(filter(None, map(speakable, whole)))
        middle = said.removeprefix("Here it comes now:").removesuffix("That was all of it.")
        assert middle.replace(".", "").split() == spoken.replace(".", "").split()


@pytest.mark.parametrize("kind", IN_ONE_PIECE)
def test_what_belongs_together_is_said_in_one_clause(kind: str) -> None:
    """Wherever the limits of a clause fall."""
    for written, spoken in TABLE[kind]:
        for before in ("", "We", "I think that now", "It is said that all of it is", "Yes. Well, the"):
            text = f"{before} {written} is what I would say to that".strip()
            whole = clauses(text, len(text))
            assert clauses(text, 1) == clauses(text, 4) == whole
            said = [speakable(clause) for clause in whole]
            assert written in TWO_PIECES or any(spoken.rstrip(".") in clause for clause in said), said


@pytest.mark.parametrize("kind", TABLE)
async def test_it_is_read_aloud(kind: str) -> None:
    """By the voice that needs no download: sound of a plausible length, and no markup reaches it."""
    voice = EspeakVoice()
    try:
        for written, _ in TABLE[kind]:
            spoken = speakable(written)
            letters = sum(character.isalnum() for character in spoken)
            assert not set(spoken) & MARKUP, written
            samples = sum([len(piece.samples) async for piece in voice.synthesize(spoken)])
            seconds = samples / voice.rate
            assert (seconds == 0) if not letters else 0.03 * letters < seconds < 1.0 + 0.5 * letters, written
    finally:
        await voice.close()
