"""What a newcomer mistypes is told in one line, with what was probably meant."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from server.cli.main import main
from tests.fakes.silence import silence

ONE = "of at least 1, not"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out + err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"visavis {version('visavis')}\n")


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(capsys)
    assert status == 2
    assert all(command in said for command in ("serve", "talk", "doctor", "models"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["srve"],
            "visavis: COMMAND: there is no 'srve'; did you mean serve? Legal values are serve, talk, eval, doctor",
        ),
        (
            ["serve", "--prot", "1"],
            "visavis serve: there is no --prot here; did you mean --port? (see visavis serve --help)",
        ),
        (["serve", "--stt_model=x"], "visavis serve: there is no --stt_model=x here; did you mean --stt-model?"),
        (
            ["serve", "--cluster-url=x"],
            "visavis serve: there is no flag --cluster-url; the setting is VISAVIS_CLUSTER_URL in",
        ),
        (["serve", "fast"], "visavis serve: there is no fast here (see"),
        (
            ["serve", "--device", "gpu"],
            "visavis serve: --device: there is no 'gpu'; did you mean igpu? Legal values are auto, cpu, cuda",
        ),
        (["serve", "--port", "x"], "visavis: port: must be a valid integer, not 'x'"),
        (["serve", "--bench-tone-seconds", "x"], "visavis: bench_tone_seconds: must be a valid number, not 'x'"),
        (["doctor", "--port", "x"], "visavis: port: must be a valid integer, not 'x'"),
        (["talk"], "visavis talk: the following arguments are required: wav (see"),
        (["talk", "a.wav", "--wait", "0"], "visavis talk: --wait: must be a number above 0, not '0'"),
        (
            ["talk", "a.wav", "--url", "localhost"],
            "visavis: --url: 'localhost' is no address: it must be http://HOST[:PORT]",
        ),
        (["talk", "a.wav", "--api-key", "a\nb"], "visavis: --api-key: must be letters, digits"),
        (["talk", "nowhere.wav"], "visavis: nowhere.wav cannot be read as sound: No such file or directory"),
        (
            ["models", "lst"],
            "visavis models: list|pull|verify|check|rm|rollback|quantize|convert|merge: there is no 'lst'; "
            "did you mean list?",
        ),
        (["models", "pull", "smart-tun"], "visavis: models: there is no model 'smart-tun'; did you mean smart-turn?"),
        (["models", "pull", "smart-turn", "--server", "x"], "visavis: models: 'x' is not an address"),
    ],
)
def test_a_mistake_is_told_in_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    status, output = run(capsys, *arguments)
    assert status == 2
    assert said in output
    assert output.count("\n") == 1


def test_where_the_answer_shall_go_is_looked_at_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wav = silence(tmp_path / "a.wav", seconds=1)
    for place, said in (
        (tmp_path, "is a folder; give the name of a file"),
        (tmp_path / "b" / "c.wav", "there is no folder"),
    ):
        status, output = run(capsys, "talk", str(wav), "--out", str(place), "--url", "http://127.0.0.1:9")
        assert status == 2
        assert f"visavis: --out: {'' if 'no folder' in said else place} {said}".replace("  ", " ") in output


def test_a_sound_file_without_sound_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wav = silence(tmp_path / "a.wav", seconds=0)
    assert run(capsys, "talk", str(wav)) == (2, f"visavis: {wav} holds no sound: it is empty\n")
