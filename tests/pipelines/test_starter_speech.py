"""Speech for the starter Whisper, and its training in the small: texts, voices, noise, examples, checkpoints."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from media.opus_copy import through_opus
from pipelines.engines.whisper_model import load_whisper
from pipelines.engines.whisper_windows import window_frames
from pipelines.errors import ModelError
from pipelines.starter import speech_noise
from pipelines.starter.speech_evaluate import Trial, evaluate_speech, speech_table, word_errors
from pipelines.starter.speech_examples import IGNORED, Batch, Examples, phoneme_names
from pipelines.starter.speech_text import bare, common, held_out, sentence, special
from pipelines.starter.speech_tokens import SPECIAL, TIMESTAMPS, Tokens, save_tokenizer
from pipelines.starter.speech_train import SpeechTrainer, SpeechTraining, resume
from pipelines.starter.speech_voice import HELD_OUT, Manner, any_manner, speak, variants
from pipelines.starter.words import HELD_OUT as HELD_OUT_WORDS

_TINY = SpeechTraining(steps=8, width=32, encoder_layers=1, heads=1, inner=64, positions=500, warmup=2, rate=1e-2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tokenizer alone."""
    made = tmp_path_factory.mktemp("speech")
    save_tokenizer(made)
    return made


# ------------------------------------------------------------------------------------------------- texts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It is 2:07 p.m., in 2026!", "it is two oh seven p m in twenty twenty six"),
        ("C, A, T.", "c a t"),
        ("What’s twenty-five?", "what's twenty five"),
        ("Today is March 9.", "today is march nine"),
        ("In 2007 — yes", "in two zero zero seven yes"),
    ],
)
def test_text_becomes_bare_words(text: str, words: str) -> None:
    assert bare(text) == words


def test_no_sentence_of_the_examination_is_ever_said() -> None:
    rng = Random(3)
    said = [sentence(rng) for _ in range(3000)]
    assert not {bare(text) for text in said} & held_out()
    assert all(len(bare(text).split()) == len(text.split()) for text in said)
    assert len(held_out()) > 250


def test_the_words_of_the_examination_are_spoken_by_themselves() -> None:
    assert set(special()) >= HELD_OUT_WORDS
    assert len(common()) == 5000 and common()[:2] == ("the", "to")


# ------------------------------------------------------------------------------------------------- voices


def test_words_and_phonemes_have_their_times() -> None:
    spoken = speak("what is seven plus twenty five, my friend", Manner("en-us+f3", pace=150, factor=1.1))
    assert len(spoken.words) == 8
    times = [time for word in spoken.words for time in word]
    assert times == sorted(times) and times[-1] == pytest.approx(len(spoken.samples) / 16000)
    heard = [name for _, name in spoken.phonemes]
    assert heard[:4] == ["w", "V", "t", "I"]
    assert np.abs(spoken.samples).max() > 3000


def test_faster_speech_is_shorter_by_as_much() -> None:
    lengths = [len(speak("good morning", Manner("en-us", factor=factor)).samples) for factor in (1.0, 1.25)]
    assert lengths[0] / lengths[1] == pytest.approx(1.25, abs=0.02)


def test_training_never_hears_the_voices_of_the_examination() -> None:
    rng = Random(1)
    heard = {any_manner(rng).voice.partition("+")[2] for _ in range(3000)}
    assert not heard & set(HELD_OUT)
    assert set(variants()) <= heard


def test_an_unknown_voice_is_told() -> None:
    with pytest.raises(ValueError, match="no voice xx-nobody"):
        speak("hello", Manner("xx-nobody"))


def test_noise_is_as_loud_as_asked_for() -> None:
    t = np.arange(16000) / 16000
    sound = (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    added = speech_noise.mixed(sound, speech_noise.bank("white")[:16000], 20) - sound
    assert 10 * np.log10(np.mean(sound**2) / np.mean(added**2)) == pytest.approx(22, abs=2)
    assert not speech_noise.mixed(np.zeros(400, np.float32), speech_noise.bank("pink")[:400], 10).any()


def test_opus_keeps_length_and_place() -> None:
    samples = speak("good morning", Manner("en-us")).samples
    copy = through_opus(samples, 16000, 24_000)
    assert len(copy) == len(samples)
    shifts = [float(np.dot(np.roll(copy, shift).astype(float), samples)) for shift in range(-40, 41)]
    assert abs(int(np.argmax(shifts)) - 40) <= 8


# ------------------------------------------------------------------------------------------------- examples


def test_the_tokenizer_writes_what_it_reads(folder: Path) -> None:
    from tokenizers import Tokenizer

    tokens, plain = Tokens(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    for word in ("visavis", "what's", "lantern", "xylophone", "a", "zyzzyva"):
        assert plain.decode(tokens.word(word)) == f" {word}"
        assert plain.encode(f" {word}").ids == tokens.word(word)
    assert [len(tokens.word(word)) for word in ("visavis", "lantern", "zelda", "seven")] == [1, 1, 1, 1]
    assert [plain.token_to_id(name) for name in SPECIAL] == list(range(tokens.end, tokens.end + len(SPECIAL)))
    assert tokens.timestamp(30.0) == tokens.size - 1 == tokens.no_timestamps + TIMESTAMPS


def test_an_example_is_what_the_engine_would_see(folder: Path) -> None:
    tokens = Tokens(folder)
    made = Examples(tokens, phoneme_names(folder), 1, 500, 2)
    for seed in range(12):  # espeak's waves begin in another phase each time, the words are the same
        one, same = (made.example(Random(seed), [], padded=0.0) for _ in range(2))
        assert all(a == b for a, b in zip(one.ids, same.ids, strict=False) if max(a, b) < tokens.end)
    rng, sounds = Random(5), list[speech_noise.Sound]()
    examples = [made.example(rng, sounds, padded=0.0) for _ in range(40)]
    assert all(one.frames >= one.mel.shape[1] - 1 for one in examples)
    batch = made.batch(sorted(examples, key=lambda one: one.frames))
    known = batch.targets != IGNORED
    starts, ends = batch.next[..., 0], batch.next[..., 1]
    assert known.any(axis=1).all()
    assert (ends[known] >= starts[known]).all() and (ends > 0).any()
    assert batch.mel.shape[2] == 2 * batch.phonemes.shape[1]


def test_training_lowers_the_loss_and_goes_on_from_a_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: dict[int, list[Batch]] = {}
    make = Examples.round
    monkeypatch.setattr(
        Examples, "round", lambda self, number, progress: rounds.setdefault(number, make(self, number, progress))
    )
    trainer = SpeechTrainer(_TINY, folder)
    told = []
    trainer.run(told.append, every=2, save=100)
    assert told[-1].text < told[0].text * 0.97
    assert told[-1].sounds < told[0].sounds
    whole = {name: weight.clone() for name, weight in trainer.network.state_dict().items()}

    half = SpeechTrainer(_TINY, folder)
    while half.done < 5:
        half.step()
    half.save()
    half.close()
    rest = resume(folder)
    assert rest.done == 5
    rest.run(told.append)
    assert all(torch.equal(weight, whole[name]) for name, weight in rest.network.state_dict().items())

    model = load_whisper(folder / "model", "cpu")
    assert not model.multilingual
    samples = speak("good morning", Manner("en-us")).samples
    trial = Trial("good morning", "en-us", samples.astype(np.float32) / 32768, (0.0, 0.3))
    report = evaluate_speech(folder / "model", [trial])
    assert report.tallies["unseen voices, clean", "30 s"].words == 2
    assert "| word errors |" in speech_table(report)
    assert (model._model.model.n_mels, window_frames(len(samples)) % 100) == (80, 0)


def test_without_a_checkpoint_nothing_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no checkpoint"):
        resume(tmp_path)


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [("a b c", "a b c", 0), ("a b c", "a x c", 1), ("a b c", "", 3), ("", "a", 1), ("a b", "a a b b", 2)],
)
def test_word_errors(said: str, heard: str, errors: int) -> None:
    assert word_errors(said, heard) == errors
