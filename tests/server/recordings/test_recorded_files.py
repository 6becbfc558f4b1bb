"""What is written of a recording: two sides in step, files that are whole at any time, and no others' files."""

from __future__ import annotations

import errno
import json
import os
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from media.video_files import Reading, read
from server.recordings import files as recorded
from server.recordings.files import Batch, DiskFullError, RecordingFiles
from server.recordings.stereo import MOST_SECONDS, RATE, WAIT_SECONDS, Sides, mono
from server.recordings.store import Limits, Recordings
from server.workers.ids import ids_of


def test_both_sides_are_written_as_far_as_both_have_come():
    sides = Sides()
    sides.user.push(np.full(RATE // 10, 1, np.int16), RATE)
    sides.assistant.push(np.full(RATE // 20, 2, np.int16), RATE)
    written = sides.take()
    assert written.shape == (RATE // 20, 2)
    assert written[:, 0].tolist() == [1] * (RATE // 20)
    assert len(sides.rest()) == RATE // 20, "the rest, with silence for who said nothing"


@pytest.mark.parametrize("late", ["user", "assistant"])
def test_a_side_that_stays_away_is_not_waited_for_and_what_it_then_brings_too_much_is_left_out(late):
    sides = Sides()
    there, away = (sides.assistant, sides.user) if late == "user" else (sides.user, sides.assistant)
    there.push(np.full(RATE, 5, np.int16), RATE)
    assert len(sides.take()) == pytest.approx(RATE * (1 - WAIT_SECONDS), abs=1)
    away.push(np.full(3 * RATE // 2, 7, np.int16), RATE)
    assert len(away) - len(there) > MOST_SECONDS * RATE
    written = sides.take()
    assert len(written) + len(away) == RATE * (1.5 - (1 - WAIT_SECONDS))
    assert mono(np.array([[30000, 30000], [-1, 2]], np.int16)).tolist() == [32767, 1]


def test_the_files_can_be_read_while_they_are_written(tmp_path):
    files = RecordingFiles(tmp_path / "folder" / "sess_1", sound=True, video=True)
    tone = np.full(1600, 3000, np.int16)
    files.write(Batch((tone,), 16_000, (np.full(4800, -2000, np.int16),), ((0.05, {"type": "a"}),)))
    with wave.open(str(tmp_path / "folder" / "sess_1.wav")) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (2, RATE)
        heard = np.frombuffer(sound.readframes(10**6), "<i2").reshape(-1, 2)
    assert len(heard) > 2000
    assert (np.median(heard[:, 0]), np.median(heard[:, 1])) == (3000, -2000)
    lines = (tmp_path / "folder" / "sess_1.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"at": 0.05, "type": "a"}]
    frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), 90, np.uint8), format="rgb24")
    for n in range(6):
        files.picture(frame, n / 12)
        files.write(Batch((tone,), 16_000, (np.full(4800, -2000, np.int16),)))
    files.close()
    files.close()
    pictures = list(read((tmp_path / "folder" / "sess_1.webm").read_bytes(), Reading(10.0, fps=30.0, sound=False)))
    assert len(pictures) >= 5
    assert files.size == sum(path.stat().st_size for path in (tmp_path / "folder").iterdir()) - 44
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "folder").iterdir())


def test_a_full_disk_ends_it_and_leaves_what_was_written(tmp_path, monkeypatch):
    files = RecordingFiles(tmp_path / "sess_1", sound=True, video=False)
    files.write(Batch((np.ones(16_000, np.int16),), 16_000, (np.ones(48_000, np.int16),)))
    monkeypatch.setattr(recorded, "LEAST_FREE_MB", 1 << 40)
    with pytest.raises(DiskFullError, match="less than"):
        files.write(Batch())
    files.close()
    with wave.open(str(tmp_path / "sess_1.wav")) as sound:
        assert sound.getnframes() == pytest.approx(RATE, abs=50)
    with pytest.raises(DiskFullError):
        RecordingFiles(tmp_path / "sess_2", sound=True, video=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
def test_where_the_last_of_a_file_cannot_be_written_the_others_are_closed_too(tmp_path):
    files = RecordingFiles(tmp_path / "sess_1", sound=True, video=True)
    opened = list(files._open)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, files._events.fileno())
    os.close(full)
    files._events.write(b"waits to be written")
    with pytest.raises(OSError, match="No space"):
        files.close()
    assert [file.closed for file in opened] == [True] * 3
    files.close()


def test_what_cannot_be_begun_leaves_no_file_open(tmp_path, monkeypatch):
    opened, new = [], RecordingFiles._new

    def refuses(files, ending):
        if ending == ".webm":
            raise OSError(errno.EMFILE, "too many open files")
        opened.append(new(files, ending))
        return opened[-1]

    monkeypatch.setattr(RecordingFiles, "_new", refuses)
    with pytest.raises(OSError, match="too many"):
        RecordingFiles(tmp_path / "sess_1", sound=True, video=True)
    assert [file.closed for file in opened] == [True, True]


def test_only_the_files_of_a_session_are_its_own(tmp_path):
    recordings = Recordings(tmp_path, Limits(60, 1 << 20))
    for name in ("sess_12345678.wav", "sess_12345678-2.wav", "sess_123456789.wav", "sess_12345678.txt", "other"):
        (tmp_path / name).write_bytes(bytes(44 + 4 * RATE))
    found = recordings.files("sess_12345678")
    assert [file.name for file in found] == ["sess_12345678.wav", "sess_12345678-2.wav"]
    assert recordings.seconds(found) == 2.0
    for name in ("../other", "sess_", "*", "sess_12345678*", ""):
        assert recordings.files(name) == []
    assert recordings.delete("sess_12345678") == 2
    assert recordings.files("sess_12345678") == []
    assert (tmp_path / "sess_123456789.wav").exists()
    recordings.close()


def test_a_session_of_one_worker_of_several_is_found_and_deleted(tmp_path):
    recordings = Recordings(tmp_path, Limits(60, 10_000_000))
    session = ids_of(3)("sess")
    for name in (f"{session}.wav", f"{session}.jsonl", f"{ids_of(3)('sess')}.wav"):
        (tmp_path / name).write_bytes(b"x")
    assert [file.name for file in recordings.files(session)] == [f"{session}.jsonl", f"{session}.wav"]
    assert recordings.delete(session) == 2
    for odd in ("sess_3w*", "sess_w12345678", "sess_3w../12345678", "sess_12345678\n"):
        assert recordings.files(odd) == []
    recordings.close()
