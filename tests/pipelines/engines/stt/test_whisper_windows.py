"""The pure parts of Whisper: window sizes, where a long turn is cut, what is believed, which words stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.stt.whisper_utterance import LocalAgreement
from pipelines.engines.stt.whisper_windows import Guard, Said, compression, most_new_tokens, quietest, window_frames
from pipelines.interfaces.vad import VAD_RATE

GOOD = Said("it is raining", (1, 2, 3), -0.3, 0.01, 0.9)


@pytest.mark.parametrize(
    ("seconds", "frames"), [(0.1, 200), (0.7, 200), (2.0, 400), (3.0, 500), (5.0, 700), (28.0, 3000), (45.0, 3000)]
)
def test_a_window_is_the_audio_and_a_margin_up_to_thirty_seconds(seconds, frames):
    assert window_frames(int(seconds * VAD_RATE)) == frames


def test_no_window_is_mistaken_for_a_spectrogram_by_ctranslate2():
    sizes = {window_frames(n) for n in range(0, 31 * VAD_RATE, 800)}
    assert not {80, 128} & {size // 2 for size in sizes}


def test_a_transcript_may_be_as_long_as_somebody_can_speak():
    assert most_new_tokens(500) == 56
    assert most_new_tokens(3000) == 224  # what fits behind a prompt


def test_a_long_turn_is_cut_in_the_middle_of_its_pause():
    loud = np.random.default_rng(0).normal(0, 3000, 20 * VAD_RATE).astype(np.int16)
    loud[15 * VAD_RATE : int(15.4 * VAD_RATE)] //= 50
    assert quietest(loud, 10 * VAD_RATE, 20 * VAD_RATE) / VAD_RATE == pytest.approx(15.2, abs=0.12)


def test_of_equally_quiet_places_the_last_is_cut_so_that_the_window_is_long():
    silence = np.zeros(20 * VAD_RATE, np.int16)
    assert quietest(silence, 10 * VAD_RATE, 20 * VAD_RATE) / VAD_RATE == pytest.approx(19.9, abs=0.05)
    assert quietest(silence, 100, 200) == 200  # too short to look


def test_a_good_transcript_is_believed_and_a_bad_one_is_not():
    guard = Guard()
    assert not guard.suspects(GOOD)
    assert guard.suspects(replace_said(logprob=-1.2))
    assert guard.suspects(replace_said(compression=2.5))
    assert guard.repeats(replace_said(compression=2.5))
    silent = replace_said(logprob=-1.2, no_speech=0.7)
    assert guard.is_silence(silent)
    assert not guard.suspects(silent)
    assert not guard.is_silence(replace_said(no_speech=0.99))  # words that are certain were said


def test_between_two_transcripts_that_without_repetition_is_preferred_then_the_likelier():
    guard = Guard()
    repeated, unlikely = replace_said(compression=5.0), replace_said(logprob=-2.0)
    assert guard.prefers(unlikely, repeated)
    assert not guard.prefers(repeated, unlikely)
    assert guard.prefers(GOOD, unlikely)


def replace_said(**changes: float) -> Said:
    return GOOD._replace(**changes)


def test_repetition_compresses_well():
    assert compression("") == 0.0
    assert compression("again and again " * 20) > Guard().most_compression > compression("It is raining in Paris.")


# ---------------------------------------------------------------------------------------------------- agreement


def test_words_that_two_decodings_agree_on_stay():
    heard = LocalAgreement()
    assert heard.hear("what is") == "what is"
    assert heard.committed == []
    assert heard.hear("What is the whether") == "What is the whether"
    assert heard.committed == ["What", "is"]
    assert heard.hear("Watt is the weather in") == "What is the weather in"
    assert heard.committed == ["What", "is", "the"]


def test_committed_words_survive_a_decoding_that_begins_otherwise():
    heard = LocalAgreement()
    heard.hear("I am going to the")
    heard.hear("I am going to the")
    assert heard.hear("I'm going to the market today") == "I am going to the market today"
    assert heard.hear("") == "I am going to the"


def test_case_and_punctuation_are_no_disagreement_and_the_newer_ones_are_taken():
    heard = LocalAgreement()
    heard.hear("hello world. how")
    heard.hear("Hello, world how are")
    assert heard.committed == ["Hello,", "world", "how"]


def test_languages_without_spaces_agree_on_characters():
    heard = LocalAgreement()
    heard.hear("今天天", spaced=False)
    assert heard.hear("今天气很好", spaced=False) == "今天气很好"
    assert "".join(heard.committed) == "今天"


@given(st.lists(st.lists(st.sampled_from("so it is all new".split()), max_size=8), max_size=8))
def test_what_is_committed_never_changes_and_is_always_shown(decodings):
    heard, before = LocalAgreement(), []
    for words in decodings:
        shown = heard.hear(" ".join(words)).split()
        assert heard.committed[: len(before)] == before
        assert shown[: len(heard.committed)] == heard.committed
        before = list(heard.committed)


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        ("He was not an ill-disposed young man. He was not an ill-disposed young man.", True),
        ("And so my fellow Americans. And so my fellow Americans, ask not!", True),
        ("Ask not what your country can do for you, ask what you can do for your country.", False),
        ("No, no, no, no. How are you? How are you?", False),
        ("", False),
    ],
)
def test_a_sentence_that_comes_twice_is_suspected(text: str, twice: bool) -> None:
    said = Said(text, (1, 2, 3), -0.2, 0.0, compression(text))
    assert Guard().repeats(said) is twice
    assert Guard().suspects(said) is twice
