"""All recordings of a server: which session has one, its files on the disk, and who is recording now."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.runtime.worker import Worker
from server.recordings.stereo import RATE
from server.workers.ids import NODE

CONTENT_TYPES = {".wav": "audio/wav", ".webm": "video/webm", ".jsonl": "application/jsonl"}
_SESSION = re.compile(rf"sess_(?:{NODE}\.)?(?:\d{{1,9}}w)?[0-9a-f]{{8,64}}")
"""Also of one worker of several (:mod:`server.workers.ids`); nothing in it means anything to a folder or a pattern."""
WAVE_HEAD = 44
"""Bytes of a WAV before its samples."""
WRITE_SECONDS = 10.0
"""A disk that takes longer for a moment of sound is given up."""


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """One file."""

    name: str
    path: Path
    size: int

    @property
    def content_type(self) -> str:
        """As browsers know it."""
        return CONTENT_TYPES[self.path.suffix]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of the recording of one session."""

    seconds: float
    size: int
    """Bytes."""


class Recording(Protocol):
    """A session that may be recording."""

    @property
    def on(self) -> bool:
        """Whether it is."""
        ...

    @property
    def seconds(self) -> float:
        """How long it has been recorded."""
        ...

    async def stop(self) -> None:
        """End it; returns when the files are whole."""
        ...


class Recordings:
    """``folder`` need not be there yet."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.limits = limits
        self.worker = Worker("recordings", inbox=256, limit=WRITE_SECONDS)
        """Writes all of them."""
        self.reader = Worker("recordings read", inbox=64, limit=WRITE_SECONDS)
        """Reads files for those who ask for them."""
        self._folder = folder
        self._live: dict[str, Recording] = {}

    def begins(self, session_id: str, recording: Recording) -> Callable[[], None]:
        """A session may record from now on, until what is returned is called."""
        self._live[session_id] = recording

        def over() -> None:
            self._live.pop(session_id, None)

        return over

    def live(self, session_id: str) -> Recording | None:
        """The session, while it lives."""
        return self._live.get(session_id)

    def stem(self, session_id: str, part: int) -> Path:
        """Where the files of its recording go, without their endings; each time that it is switched on is a part."""
        return self._folder / (session_id if part == 1 else f"{session_id}-{part}")

    def files(self, session_id: str) -> list[RecordedFile]:
        """What has been recorded of a session, the first part first. Blocking."""
        if _SESSION.fullmatch(session_id) is None or not self._folder.is_dir():
            return []
        own = re.compile(re.escape(session_id) + r"(?:-(\d+))?")
        found = [
            (int(match[1] or 1), RecordedFile(path.name, path, path.stat().st_size))
            for path in self._folder.glob(f"{session_id}*")
            if path.suffix in CONTENT_TYPES and (match := own.fullmatch(path.stem)) is not None and path.is_file()
        ]
        return [file for _, file in sorted(found, key=lambda one: (one[0], one[1].name))]

    def seconds(self, files: Sequence[RecordedFile]) -> float:
        """How long a recording is whose session is over, by its sound. Blocking."""
        heard = sum(max(0, file.size - WAVE_HEAD) for file in files if file.path.suffix == ".wav")
        return heard / (4 * RATE)

    def delete(self, session_id: str) -> int:
        """Delete its files; how many there were. Blocking."""
        files = self.files(session_id)
        for file in files:
            file.path.unlink(missing_ok=True)
        return len(files)

    def close(self) -> None:
        """End the workers. Idempotent."""
        self.worker.close()
        self.reader.close()
