"""What goes wrong with Ray, in words: not installed, no cluster, another version, nothing deployed."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.engines.remote import library
from pipelines.engines.remote.calls import app_name, connect, deployed, failure, found
from pipelines.engines.remote.messages import Deployed
from pipelines.engines.remote.wire import RemoteError
from tests.pipelines.engines.remote.conftest import needs_ray

VERSIONS = "Version mismatch: The cluster was started with:\n    Ray: 2.50.0\n    Python: 3.12.1\nThis process: …"


class Ray:
    """The library, which fails as the test says."""

    def __init__(self, error: Exception | None = None, *, joined: bool = True) -> None:
        self.error = error
        self.joined = joined

    def init(self, **options: Any) -> None:
        assert options["log_to_driver"] is False
        if self.error is not None:
            raise self.error

    def is_initialized(self) -> bool:
        return self.joined


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RuntimeError(VERSIONS), "wrong_version", "Python: 3.12.1"),
        (ConnectionError("Could not find any running Ray instance."), "unreachable", "ray start --address"),
        (RuntimeError("no shared memory"), "unreachable", "no shared memory"),
    ],
)
def test_why_a_cluster_cannot_be_joined(
    error: Exception, code: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "ray", lambda: Ray(error))
    with pytest.raises(RemoteError) as caught:
        connect("head:6379")
    assert caught.value.code == code
    assert words in caught.value.message
    assert "head:6379" in caught.value.message


def test_without_the_library_its_extra_is_named() -> None:
    with pytest.raises(RemoteError) as caught:
        library.module("nothing.of.this.name")
    assert caught.value.code == "not_installed"
    assert ".[ray]" in caught.value.message


def test_no_cluster_is_begun_by_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "ray", lambda: Ray(joined=False))
    monkeypatch.setattr(library, "serve", lambda: SimpleNamespace())
    with pytest.raises(RemoteError, match="joined no cluster"):
        found("visavis", "stt")


@needs_ray
def test_what_is_not_deployed_is_told_with_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = library.module("serve.exceptions").RayServeException

    def get(name: str) -> None:
        raise absent(f"Application '{name}' does not exist.")

    status = SimpleNamespace(applications={"other-stt": None, "other-llm": None})
    monkeypatch.setattr(library, "ray", lambda: Ray())
    monkeypatch.setattr(library, "serve", lambda: SimpleNamespace(get_app_handle=get, status=lambda: status))
    with pytest.raises(RemoteError) as caught:
        found("visavis", "stt")
    assert caught.value.code == "not_deployed"
    assert "no application visavis-stt; there are other-llm, other-stt" in caught.value.message


def test_how_deployments_are_is_read_off_the_status_of_ray_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    def row(status: str, **states: int) -> SimpleNamespace:
        inner = SimpleNamespace(replica_states=states, message="out of memory")
        return SimpleNamespace(
            status=SimpleNamespace(value=status), message="", deployments={"stt": inner}, last_deployed_time_s=7.0
        )

    apps = {app_name("visavis", "stt"): row("UNHEALTHY", RUNNING=1, STARTING=2), "other-stt": row("RUNNING")}
    monkeypatch.setattr(library, "serve", lambda: SimpleNamespace(status=lambda: SimpleNamespace(applications=apps)))
    assert deployed("visavis") == {"stt": Deployed("UNHEALTHY", 1, 3, "out of memory", 7.0)}


@needs_ray
def test_every_end_of_a_replica_is_a_way_that_is_gone() -> None:
    exceptions, serving = library.module("exceptions"), library.module("serve.exceptions")
    gone = [exceptions.ActorDiedError(), exceptions.WorkerCrashedError(), exceptions.NodeDiedError("node")]
    assert {failure(error, "stt").code for error in gone} == {"unreachable"}
    full = failure(serving.BackPressureError(9, 8), "stt")
    assert (full.code, full.busy) == ("busy", True)
    assert failure(ValueError("secret of a traceback " * 50), "stt").code == "failed"
    assert len(failure(ValueError("x" * 5000), "stt").message) < 300


@pytest.mark.parametrize(
    ("kept", "given", "mode"),
    [
        (False, {}, None),
        (True, {}, "token"),
        (False, {"RAY_AUTH_TOKEN": "secret"}, "token"),
        (True, {"RAY_AUTH_MODE": "disabled"}, "disabled"),
    ],
)
def test_the_token_of_the_machine_is_shown_unless_told_otherwise(kept, given, mode, monkeypatch, tmp_path):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(library.Path, "home", lambda: tmp_path)
    (tmp_path / ".ray").mkdir()
    if kept:
        (tmp_path / ".ray" / "auth_token").write_text("a token")
    library.show_token()
    assert os.environ.get("RAY_AUTH_MODE") == mode
