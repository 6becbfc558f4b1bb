"""The files of ``deploy``: read, and every flag and variable in them compared with the settings. Nothing is built."""

from __future__ import annotations

import http.server
import importlib.util
import json
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from server.cli.commands import _parser
from server.http.tls.context import made_here
from server.settings import Settings, load_settings
from server.settings_sources import PREFIX, check_environment

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "visavis"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
NOT_SETTINGS = {"VISAVIS_TARGET", "VISAVIS_NAME", "VISAVIS_PUBLISH"}
"""Variables of the compose file alone."""


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def test_each_file_says_that_it_was_not_built_or_run_here() -> None:
    said = re.compile(r"[Nn]ot (built|run|installed) here|None of this has been built or run here")
    silent = {path.name for path in FILES if not said.search(path.read_text())}
    templates = {path.name for path in (CHART / "templates").iterdir()}
    assert silent <= templates | {"values.yaml", "env.example", "Dockerfile.dockerignore", "healthcheck.py", "drain.py"}


def test_every_variable_is_a_setting() -> None:
    for path in FILES:
        names = set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", path.read_text())) - NOT_SETTINGS
        check_environment(dict.fromkeys(names, "x"), Settings.model_fields)


def test_every_flag_is_one_of_serve() -> None:
    known = set(re.findall(r"--[a-z-]+", _parser()._subparsers._group_actions[0].choices["serve"].format_help()))
    for path in FILES:
        for line in path.read_text().splitlines():
            if found := re.search(r"visavis serve (.*)", line):
                assert set(re.findall(r"--[a-z-]+", found[1])) <= known, path


def test_the_values_in_the_files_are_legal() -> None:
    environment = compose()["services"]["visavis"]["environment"]
    given = {name: value for name, value in environment.items() if value is not None and not value.startswith("${")}
    values = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    for settings in ({name.removeprefix(PREFIX).lower(): value for name, value in given.items()}, values):
        assert str(load_settings(settings).ice_port_range) == "50000-50100"
    unit = (DEPLOY / "systemd" / "visavis.service").read_text()
    assert "--ice-port-range 50000-50100" in unit


def test_the_compose_file_holds_together() -> None:
    whole = compose()
    services = whole["services"]
    assert {profile for one in services.values() for profile in one.get("profiles", ())} == {
        "ollama",
        "turn",
        "monitor",
        "tls",
    }
    assert "profiles" not in services["visavis"]
    assert services["visavis"]["read_only"] is True
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            known = (DEPLOY / source).exists() if source.startswith(".") else source in whole["volumes"]
            assert known, volume
        assert set(service.get("secrets", ())) <= set(whole["secrets"])
    ports = services["visavis"]["environment"]["VISAVIS_ICE_PORT_RANGE"]
    assert f"{ports}:{ports}/udp" in services["visavis"]["ports"]
    yaml.safe_load((DEPLOY / "compose.cuda.yaml").read_text())
    listed = set(re.findall(r"^#?([A-Z_]+)=", (DEPLOY / "env.example").read_text(), re.MULTILINE))
    told = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", (DEPLOY / "compose.yaml").read_text()))
    assert listed <= told, "the compose file passes on what .env may hold"
    required = set(re.findall(r"\$\{([A-Z_]+):\?", (DEPLOY / "compose.yaml").read_text()))
    assert required <= listed


def test_what_is_mounted_for_monitoring_is_read() -> None:
    scraped = yaml.safe_load((DEPLOY / "monitor" / "prometheus.yaml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"][0]["targets"] == ["visavis:8080"]
    for name in ("datasources", "dashboards"):
        assert yaml.safe_load((DEPLOY / "monitor" / f"{name}.yaml").read_text())["apiVersion"] == 1
    assert json.loads((ROOT / "docs" / "grafana" / "visavis.json").read_text())["uid"] == "visavis"


def stages(text: str) -> dict[str, list[str]]:
    """Name of a stage → its instructions, each on one line."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    found: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, joined.splitlines())):
        if named := re.fullmatch(r"FROM \S+ AS (\S+)", line):
            found[named[1]] = []
        elif found:
            found[list(found)[-1]].append(line)
    return found


def test_the_images_are_made_as_they_should_be() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    made = stages(text)
    assert set(made) == {"build-cpu", "cpu", "build-cuda", "cuda"}
    legal = {
        "RUN",
        "COPY",
        "ENV",
        "USER",
        "WORKDIR",
        "VOLUME",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    for name, lines in made.items():
        assert {line.split()[0] for line in lines} <= legal, name
        for line in lines:
            if line.startswith("COPY") and "--from=" not in line:
                for source in [word for word in line.split()[1:-1] if not word.startswith("--")]:
                    assert (ROOT / source).exists(), line
                    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
                    assert f"!{source}" in ignored, f"{source} is not in what is built from"
            if "apt-get install" in line:
                assert "--no-install-recommends" in line
                assert "rm -rf /var/lib/apt/lists/*" in line
    for name in ("cpu", "cuda"):
        words = [line.split()[0] for line in made[name]]
        assert "USER visavis" in made[name], "not as root"
        assert words.index("USER") < words.index("ENTRYPOINT")
        assert {"VOLUME /data", "STOPSIGNAL SIGTERM", 'ENTRYPOINT ["visavis"]', 'CMD ["serve"]'} <= set(made[name])
        assert any(line.startswith("HEALTHCHECK") and "healthcheck.py" in line for line in made[name])
    torch = re.search(r"sed -n '([^']*)'", text)
    assert torch is not None
    pinned = subprocess.run(
        ["sed", "-n", torch[1], ROOT / "constraints.txt"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"torch==\S+\n", pinned.stdout)


def plain(template: str) -> str:
    """The YAML of a template with ``x`` for every value, and with both sides of every condition."""
    control = re.compile(r"\s*\{\{-? *(?:\$|(?:if|with|range|else|end)\b).*\}\}")
    lines = [line for line in template.splitlines() if not control.fullmatch(line)]
    return re.sub(r"\{\{.*?\}\}", "x", re.sub(r"\{\{-[^}]*nindent \d+ *\}\}", " {}", "\n".join(lines)))


def test_every_value_of_the_chart_is_there_and_used() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["apiVersion"] == "v2"
    used: set[str] = set()
    for path in (CHART / "templates").iterdir():
        text = path.read_text()
        assert "{{" not in re.sub(r"\{\{.*?\}\}", "", text), path
        if path.suffix == ".yaml":
            documents = list(yaml.safe_load_all(plain(text)))
            assert all({"apiVersion", "kind", "metadata"} <= one.keys() for one in documents if one), path
        opened = len(re.findall(r"\{\{-? *(?:if|with|range|define) ", text))
        assert opened == len(re.findall(r"\{\{-? *end *-?\}\}", text)), path
        used |= set(re.findall(r"\.Values\.([\w.]+)", text))
    for name in used:
        place: Any = values
        for word in name.split("."):
            assert word in place, name
            place = place[word]
    assert {name.split(".")[0] for name in used} == set(values)


def test_settings_of_the_chart_are_written_by_what_they_are() -> None:
    """What helm makes of it is in test_chart."""
    workload = (CHART / "templates" / "workload.yaml").read_text()
    assert 'value: {{ include "visavis.setting" $value | quote }}' in workload
    assert "$value | toString" not in workload


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_knows_every_word_of_the_unit(tmp_path: Path) -> None:
    unit = (DEPLOY / "systemd" / "visavis.service").read_text()
    (tmp_path / "visavis.service").write_text(unit.replace("/opt/visavis/bin/visavis", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "visavis.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    about = [line for line in done.stderr.splitlines() if "visavis.service" in line]
    assert not about


@contextmanager
def answering(status: int, body: dict[str, str], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that answers everything so."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *about: None  # type: ignore[method-assign]  # who asks for the other scheme
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "healthy"),
    [(200, "ready", True), (503, "full", True), (503, "busy", True), (503, "starting", False), (500, "", False)],
)
def test_a_container_is_healthy_unless_it_loads_or_fails(status: int, body: str, healthy: bool) -> None:
    module = script("healthcheck")
    with answering(status, {"status": body}) as port:
        assert module.healthy({"VISAVIS_PORT": str(port)}) is healthy
    assert module.healthy({"VISAVIS_PORT": str(port)}) is False, "nobody is there"


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    made = made_here(load_settings({"cache": str(tmp_path), "tls_self_signed": True}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.path)
    return context


@pytest.mark.parametrize("told", [{}, {"VISAVIS_TLS_SELF_SIGNED": "true"}, {"VISAVIS_TLS_CERT": ""}])
def test_https_is_found_whoever_was_told_of_it(certificate: ssl.SSLContext, told: dict[str, str]) -> None:
    health, drain = script("healthcheck"), script("drain")
    for context in (certificate, None):
        with answering(503, {"status": "busy"}, context) as port:
            assert health.healthy({**told, "VISAVIS_PORT": str(port)})
        with answering(200, {"status": ""}, context) as port:
            assert drain.sessions({**told, "VISAVIS_PORT": str(port)}) == 0.0


@pytest.mark.parametrize("status", [401, 500])
def test_a_server_that_does_not_say_is_not_gone(status: int) -> None:
    drain = script("drain")
    with answering(status, {}) as port:
        assert drain.drain({"VISAVIS_PORT": str(port)}, 0.0) is None
    assert drain.drain({"VISAVIS_PORT": str(port)}, 60.0) == 0.0


@pytest.fixture(autouse=True)
def beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where they are run: Python puts the folder of a script first."""
    monkeypatch.syspath_prepend(DEPLOY)


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_pod_that_is_to_stop_waits_for_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    drain, looked = script("drain"), []
    answers = [2.0, 1.0, 0.0]

    def sessions(environment: dict[str, str]) -> float:
        looked.append(environment)
        return answers[len(looked) - 1]

    monkeypatch.setattr(drain, "sessions", sessions)
    monkeypatch.setattr(drain.time, "sleep", lambda seconds: None)
    assert drain.drain({}, 60.0) == 0.0
    assert len(looked) == 3
    looked.clear()
    assert drain.drain({}, 0.0) == 2.0, "no longer than it is told"


def test_one_of_several_nodes_lets_its_calls_go_on_at_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    drain, asked = script("drain"), []

    def ask(environment: dict[str, str], method: str, path: str) -> str:
        asked.append((method, path))
        if method == "POST":
            raise ConnectionResetError
        return "visavis_sessions 0.0"

    monkeypatch.setattr(drain, "ask", ask)
    assert drain.drain({"VISAVIS_CLUSTER_URL": "redis://redis"}, 60.0) == 0.0
    assert asked == [("POST", "/v1/node/drain"), ("GET", "/metrics")]
    asked.clear()
    drain.drain({}, 60.0)
    assert asked == [("GET", "/metrics")], "one that is alone has nowhere to send them"


def test_it_counts_the_calls_of_its_own_server() -> None:
    drain = script("drain")
    with answering(200, {"x": "\nvisavis_sessions 3.0\n"}) as port:  # as JSON the line ends are escaped
        assert drain.sessions({"VISAVIS_PORT": str(port)}) == 0.0
    told = '# HELP\nvisavis_sessions 3.0\nvisavis_sessions{worker="1"} 2\nvisavis_viewers 9\n'
    assert drain._SESSIONS.findall(told) == ["3.0", "2"]
    assert drain.drain({"VISAVIS_PORT": str(port)}, 60.0) == 0.0, "nobody is there any more"
