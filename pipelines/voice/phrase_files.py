"""Phrases on disk: one file each, there whole or not at all; the longest unused go when there are too many.

A file is one line of text (what it is, and the CRC-32 of all that follows), one line of JSON (key, rate, words), and
the samples as little-endian PCM16. Whatever cannot be read as that is removed and made anew.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from media.frames import Samples
from pipelines.interfaces.tts import WordTiming

log = logging.getLogger(__name__)

_MAGIC = b"visavis phrase 1"
_SUFFIX = ".phrase"
_UNFINISHED = ".phrase.tmp"
_WORD_BYTES = 200
"""About what Python needs for a word with its timing."""


@dataclass(frozen=True, slots=True, eq=False)
class Phrase:
    """A clause as it was spoken. Shared by all who say it: the samples must not be written to."""

    samples: Samples
    rate: int
    """Hertz."""
    words: tuple[WordTiming, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of memory, roughly."""
        return self.samples.nbytes + _WORD_BYTES * len(self.words)


class PhraseFiles:
    """The phrases under ``folder``, ``most_bytes`` in all. Blocks: call it on a worker, one thread at a time.

    Two processes may share a folder; each knows only the files that were there when it first looked, and its own. The
    folder can be read by its owner only, for it holds what people were told. Other people's files in it are let alone.
    A disk that fails makes the cache forgetful and never stops a voice.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._sizes: OrderedDict[str, int] | None = None
        """Bytes by key, the longest unused first; ``None`` before the first look."""
        self._complained = False

    def may_hold(self, key: str) -> bool:
        """Whether asking for ``key`` is worth while. Safe from any thread, and does not block."""
        return self._sizes is None or key in self._sizes

    def scan(self) -> None:
        """Learn what is there, and remove what a killed process left half written. Tens of milliseconds at most."""
        found: list[tuple[float, str, int]] = []
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in self.folder.iterdir():
                if path.name.endswith(_UNFINISHED):
                    path.unlink(missing_ok=True)
                elif path.name.endswith(_SUFFIX) and path.is_file():
                    stat = path.stat()
                    found.append((stat.st_mtime, path.name.removesuffix(_SUFFIX), stat.st_size))
        except OSError as error:
            self._complain(error)
        self._sizes = OrderedDict((key, size) for _, key, size in sorted(found))
        self._trim()

    def get(self, key: str) -> Phrase | None:
        """The phrase, if it is there and sound; counts as a use."""
        sizes, path = self._known(), self._path(key)
        try:
            phrase = _decode(path.read_bytes(), key)
            os.utime(path)
        except FileNotFoundError:
            sizes.pop(key, None)
            return None
        except OSError as error:
            self._complain(error)
            return None
        except (ValueError, KeyError, TypeError) as error:
            log.info("%s is no phrase of ours (%s); removed", path, error)
            self._remove(key)
            return None
        if key in sizes:
            sizes.move_to_end(key)
        return phrase

    def put(self, key: str, phrase: Phrase) -> None:
        """Keep ``phrase``, unless it alone is larger than all may be."""
        data = _encode(phrase, key)
        if len(data) > self.most_bytes:
            return
        sizes, unfinished = self._known(), self.folder / f"{key}.{os.getpid()}{_UNFINISHED}"
        try:
            unfinished.touch(mode=0o600)
            unfinished.write_bytes(data)
            os.replace(unfinished, self._path(key))
        except OSError as error:
            self._complain(error)
            return
        sizes[key] = len(data)
        sizes.move_to_end(key)
        self._trim()

    def _known(self) -> OrderedDict[str, int]:
        if self._sizes is None:
            self.scan()
        assert self._sizes is not None
        return self._sizes

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _trim(self) -> None:
        sizes = self._known()
        total = sum(sizes.values())
        while total > self.most_bytes:
            oldest = next(iter(sizes))
            total -= sizes[oldest]
            self._remove(oldest)

    def _remove(self, key: str) -> None:
        self._known().pop(key, None)
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        """Say it once: a full disk would fill the log too."""
        if not self._complained:
            self._complained = True
            log.warning("the phrase cache in %s does not work: %s", self.folder, error.strerror or error)


def _encode(phrase: Phrase, key: str) -> bytes:
    words = [[word.text, word.start, word.end] for word in phrase.words]
    head = json.dumps({"key": key, "rate": phrase.rate, "words": words})
    body = head.encode() + b"\n" + phrase.samples.astype("<i2").tobytes()
    return b"%s %08x\n%s" % (_MAGIC, zlib.crc32(body), body)


def _decode(data: bytes, key: str) -> Phrase:
    """Raises ``ValueError``, ``KeyError`` or ``TypeError`` for anything but a sound phrase of this key."""
    first, _, body = data.partition(b"\n")
    if first != b"%s %08x" % (_MAGIC, zlib.crc32(body)):
        raise ValueError("the checksum is wrong")
    head, _, pcm = body.partition(b"\n")
    facts = json.loads(head)
    if facts["key"] != key:
        raise ValueError("it belongs to another phrase")
    words = tuple(WordTiming(str(text), float(start), float(end)) for text, start, end in facts["words"])
    return Phrase(np.frombuffer(pcm, "<i2").astype(np.int16, copy=False), int(facts["rate"]), words)
