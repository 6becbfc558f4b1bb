"""``visavis serve-engines``: what it says and how it ends, with a cluster that is made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from pipelines.engines.remote.messages import Deployed
from pipelines.engines.remote.wire import RemoteError
from server.cli.main import main
from server.engines.remote import deploying


class Cluster:
    """Runs what it is told, but for what the test says cannot be."""

    broken: ClassVar[dict[str, str]] = {}
    stages: ClassVar[list[str]] = []

    def __init__(self, address: str, say: Any) -> None:
        if address == "nowhere:1":
            raise RemoteError("unreachable", "no Ray cluster answers at nowhere:1")
        self.say = say

    def deploy(self, plan: Any, seconds: float) -> dict[str, Deployed]:
        Cluster.stages = [row.stage for row in plan.engines]
        return self.status(plan.application)

    def remove(self, application: str) -> tuple[str, ...]:
        gone, Cluster.stages = tuple(Cluster.stages), []
        return gone

    def status(self, application: str) -> dict[str, Deployed]:
        return {
            stage: Deployed("DEPLOY_FAILED", 0, 1, self.broken[stage])
            if stage in self.broken
            else Deployed("RUNNING", 1, 1)
            for stage in Cluster.stages
        }

    def close(self) -> None:
        pass


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(deploying, "Deployer", Cluster)
    monkeypatch.setattr(Cluster, "broken", {})
    monkeypatch.setattr(Cluster, "stages", [])
    made = tmp_path / "engines.yaml"
    made.write_text("engines:\n  - {stage: tts, model: espeak-ng}\n  - {stage: stt, model: pocketsphinx}\n")
    return str(made)


def status_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["serve-engines", *arguments])
    return int(caught.value.code or 0)


def test_engines_are_deployed_told_and_taken_away(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(file, "--address", "head:6379") == 0
    out = capsys.readouterr().out
    assert "visavis serve --ray-address head:6379 --remote-stages tts,stt" in " ".join(out.split())
    assert status_of("--status") == 0
    assert "1 of 1" in capsys.readouterr().out
    assert status_of("--remove") == 0
    assert "taken away: tts, stt" in capsys.readouterr().out
    assert status_of("--status") == 1


def test_an_engine_that_cannot_be_deployed_says_why(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cluster, "broken", {"stt": "model: nothing serves stt here"})
    assert status_of(file) == 1
    assert "nothing serves stt" in " ".join(capsys.readouterr().out.split())


def test_a_file_for_serve_deploy_is_printed_and_nothing_deployed(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(file, "--print-config") == 0
    told = yaml.safe_load(capsys.readouterr().out)
    assert [one["name"] for one in told["applications"]] == ["visavis-tts", "visavis-stt"]
    assert told["applications"][0]["import_path"] == "server.engines.remote.deploying:app"
    assert not Cluster.stages


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Name a file"),
        (("missing.yaml",), "missing.yaml"),
        (("--status", "--address", "nowhere:1"), "no Ray cluster answers"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    arguments: tuple[str, ...], words: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*arguments) == 2
    assert words in " ".join(capsys.readouterr().err.split())
