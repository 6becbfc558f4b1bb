"""The phrase cache: what is a hit, what is kept, in memory and on disk, and that it never lies or blocks a voice."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import SpeakError
from pipelines.interfaces.tts import Speech, WordTiming
from pipelines.voice import phrases
from pipelines.voice.phrase_files import Phrase, PhraseFiles
from pipelines.voice.phrases import CachedVoice, PhraseMemory, pieces_of
from tests.fakes.engines import FakeVoice


async def say(voice, text: str, *args) -> list[Speech]:
    async with aclosing(voice.synthesize(text, *args)) as pieces:
        return [piece async for piece in pieces]


def joined(pieces: list[Speech]) -> tuple[list[int], tuple[WordTiming, ...]]:
    return np.concatenate([p.samples for p in pieces]).tolist(), tuple(w for p in pieces for w in p.words)


def phrase(value: int, seconds: float = 1.0, rate: int = 1000) -> Phrase:
    return Phrase(np.full(round(seconds * rate), value, np.int16), rate, (WordTiming("word", 0.0, seconds),))


@pytest.fixture
async def cached(tmp_path):
    """``cached(engine, **options)``; every one is closed at the end."""
    made: list[CachedVoice] = []

    def make(engine=None, *, disk: int | None = None, **options) -> CachedVoice:
        files = PhraseFiles(tmp_path / "phrases", disk) if disk is not None else None
        made.append(CachedVoice(engine or FakeVoice(), files=files, **options))
        return made[-1]

    yield make
    for voice in made:
        await voice.close()


async def test_what_was_said_once_is_not_synthesised_again(cached):
    engine = FakeVoice()
    voice = cached(engine)
    first, second = await say(voice, "one two three"), await say(voice, "one two three")
    assert engine.said == ["one two three"]
    assert joined(first) == joined(second)
    assert (voice.name, voice.voices) == (engine.name, engine.voices)
    assert (voice.hits, voice.misses) == (1, 1)


async def test_another_voice_speed_text_or_version_is_another_phrase(cached):
    engine = FakeVoice()
    voice = cached(engine)
    for request in (("a b",), ("a b", "other"), ("a b", None, 1.5), ("a b.",), ("A b",)):
        await say(voice, *request)
    assert len(engine.said) == 5
    await say(voice, "a b", "square", 1)
    assert len(engine.said) == 5, "the default voice by its name is the same voice"


async def test_a_new_version_of_the_engine_does_not_get_old_audio(cached):
    old, new = cached(version="1", disk=1 << 20), cached(version="2", disk=1 << 20)
    await say(old, "hello")
    await old.close()
    await say(new, "hello")
    assert (new.hits, new.misses) == (0, 1)


def test_pieces_are_short_and_carry_the_words_that_start_in_them():
    words = tuple(WordTiming(str(n), n * 0.1, n * 0.1 + 0.1) for n in range(10))
    pieces = list(pieces_of(Phrase(np.arange(1100, dtype=np.int16), 1000, words)))
    assert [len(piece.samples) for piece in pieces] == [250, 250, 250, 250, 100]
    assert [[word.text for word in piece.words] for piece in pieces] == [
        ["0", "1", "2"],
        ["3", "4"],
        ["5", "6", "7"],
        ["8", "9"],
        [],
    ]
    late = WordTiming("late", 9.0, 9.1)
    assert list(pieces_of(Phrase(np.zeros(300, np.int16), 1000, (late,))))[-1].words == (late,)


async def test_a_stream_that_is_closed_early_is_not_kept(cached):
    engine = FakeVoice()
    voice = cached(engine)
    async with aclosing(voice.synthesize("one two three")) as pieces:
        await anext(pieces)
    await say(voice, "one two three")
    assert len(engine.said) == 2


async def test_failures_and_silence_are_not_kept(cached):
    engine = FakeVoice(fails=True)
    voice = cached(engine)
    with pytest.raises(SpeakError):
        await say(voice, "hello")
    engine.fails = False
    assert await say(voice, "hello")
    assert await say(voice, " ") == await say(voice, " ") == []
    assert voice.hits == 0


async def test_long_phrases_are_not_kept(cached):
    engine = FakeVoice()
    voice = cached(engine)
    long, longest = " ".join(["word"] * 49), " ".join(["word"] * 48)
    for text in (long, long, longest, longest):
        await say(voice, text)
    assert engine.said == [long, long, longest]


async def test_the_same_new_phrase_asked_for_twice_at_a_time(cached):
    voice = cached(disk=1 << 20)
    first, second = await asyncio.gather(say(voice, "a b c"), say(voice, "a b c"))
    assert joined(first) == joined(second) == joined(await say(voice, "a b c"))
    assert voice._memory.nbytes == next(iter(voice._memory._phrases.values())).nbytes


def test_memory_forgets_the_longest_unused():
    memory = PhraseMemory(2 * phrase(0).nbytes)
    memory.put("a", phrase(1))
    memory.put("b", phrase(2))
    assert memory.get("a") is not None
    memory.put("c", phrase(3))
    assert [memory.get(key) is not None for key in "abc"] == [True, False, True]
    memory.put("large", phrase(4, seconds=3.0))
    assert memory.get("large") is None
    assert len(memory) == 2
    assert memory.nbytes == memory.most_bytes


async def test_the_disk_remembers_across_a_restart(cached):
    before, after = cached(disk=1 << 20), cached(FakeVoice(fails=True), disk=1 << 20)
    said = await say(before, "good morning")
    await before.close()
    assert joined(await say(after, "good morning")) == joined(said)
    assert (after.hits, after.misses) == (1, 0)


async def test_the_disk_alone_serves_too(cached):
    engine = FakeVoice()
    voice = cached(engine, memory_bytes=0, disk=1 << 20)
    await say(voice, "hello there")
    await asyncio.wait(voice._writing)
    await say(voice, "hello there")
    assert (len(engine.said), voice.hits) == (1, 1)


async def test_the_disk_is_never_touched_on_the_event_loop(cached, monkeypatch):
    threads = set()
    for name in ("scan", "get", "put"):
        method = getattr(PhraseFiles, name)

        def spy(self, *args, method=method):
            threads.add(threading.current_thread().name)
            return method(self, *args)

        monkeypatch.setattr(PhraseFiles, name, spy)
    voice = cached(disk=1 << 20, memory_bytes=0)
    for _ in range(2):
        await say(voice, "hello")
        await asyncio.gather(*voice._writing)
    assert threads == {"phrases-0"}


def test_the_longest_unused_files_go(tmp_path):
    size = sum(path.stat().st_size for path in stored(tmp_path / "one", "a"))
    files = PhraseFiles(tmp_path / "all", 2 * size)
    for n, key in enumerate("ab"):
        files.put(key, phrase(1))
        os.utime(tmp_path / "all" / f"{key}.phrase", (n, n))
    assert files.get("a") is not None
    fresh = PhraseFiles(tmp_path / "all", 2 * size)
    fresh.put("c", phrase(1))
    assert [fresh.get(key) is not None for key in "abc"] == [True, False, True]
    assert len(list((tmp_path / "all").iterdir())) == 2
    smaller = PhraseFiles(tmp_path / "all", size)
    smaller.scan()
    assert len(list((tmp_path / "all").iterdir())) == 1


def stored(folder: Path, *keys: str) -> list[Path]:
    files = PhraseFiles(folder, 1 << 20)
    for key in keys:
        files.put(key, phrase(7))
    return sorted(folder.iterdir())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:-3],
        lambda data: data[:-1] + b"\xff",
        lambda data: data.replace(b'"word"', b'"wort"'),
        lambda data: b"RIFF" + data,
        lambda data: b"\x00" * 5000,
    ],
)
def test_broken_files_are_removed(tmp_path, spoil):
    (path,) = stored(tmp_path, "a")
    path.write_bytes(spoil(path.read_bytes()))
    assert PhraseFiles(tmp_path, 1 << 20).get("a") is None
    assert not path.exists()


def test_a_file_under_another_name_is_not_believed(tmp_path):
    (path,) = stored(tmp_path, "a")
    path.rename(tmp_path / "b.phrase")
    assert PhraseFiles(tmp_path, 1 << 20).get("b") is None
    assert not list(tmp_path.iterdir())


def test_half_written_files_go_and_other_peoples_stay(tmp_path):
    (tmp_path / "a.1.phrase.tmp").write_bytes(b"visavis")
    (tmp_path / "holiday.jpg").write_bytes(b"beach")
    files = PhraseFiles(tmp_path, 1)
    files.scan()
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_only_the_owner_can_read_them(tmp_path):
    (path,) = stored(tmp_path / "new", "a")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


async def test_a_disk_that_fails_is_told_once_and_stops_nobody(cached, tmp_path, caplog):
    (tmp_path / "phrases").write_bytes(b"a file where the folder should be")
    voice = cached(disk=1 << 20, memory_bytes=0)
    for _ in range(2):
        assert await say(voice, "hello")
        await asyncio.gather(*voice._writing)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_long_hit_lets_others_run(cached):
    voice = cached()
    await say(voice, "a b c d")
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    pieces = await say(voice, "a b c d")
    task.cancel()
    assert turns >= len(pieces) == 1.0 / phrases.PIECE_SECONDS
