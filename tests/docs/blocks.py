"""The fenced blocks of the documentation, and what makes one of them wrong. Nothing of a block is run here.

A block that is neither run by a test of its page nor can be judged here says why on the line above it:
``<!-- not run: why -->``, which ``/docs`` shows to readers.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import dropwhile, pairwise
from pathlib import Path
from typing import Any

import yaml

from pipelines.definitions.loading import read
from pipelines.engines.remote.rows import Plan
from pipelines.routing.definition import Definition
from pipelines.tasks.ensemble import read_ensembles
from pipelines.tasks.registry import TASKS
from pipelines.tools.definition import ToolsFile
from server.cli.commands import _parser
from server.cluster.node import DRAIN, NODES
from server.evaluation.scenario import Scenario
from server.http.openapi.table import OPERATIONS
from server.http.signaling.watching import WATCH
from server.settings import Settings, load_settings
from server.settings_sources import PREFIX, check_environment
from server.workers.front import RESTART, RESTART_ALL, WORKERS
from tools.doc_tables import DOCS

ROOT = DOCS.parent
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
RUN_BY = {
    "docs/how-to/clients/agents-js.md": "tests/interop/test_agents_docs.py",
    "docs/how-to/clients/grpc.md": "tests/server/grpc/test_grpc_docs.py",
    "docs/how-to/clients/pipecat.md": "tests/pipecat/test_pipecat_docs.py",
    "docs/how-to/clients/whip.md": "tests/browser/test_whip.py",
    "docs/how-to/clients/curl.md": "tests/server/http/test_curl.py",
    "docs/how-to/tools.md": "tests/server/test_tools_doc.py",
    "docs/how-to/clients/openai-python.md": "tests/server/http/test_openai_python_docs.py",
    "docs/reference/pipelines.md": "tests/server/test_pipelines_doc.py",
    "docs/reference/pipelines-http.md": "tests/server/http/pipelines/test_pipeline_docs.py",
}
"""Pages whose blocks a test of their own runs or reads: its file, which names the page."""
FENCE = re.compile(r"(?:<!-- not run: (?P<why>[^\n]+) -->\n\n?)?```(?P<kind>[\w-]*)\n(?P<text>.*?)```", re.DOTALL)
SHOWN = {"", "text", "http", "diff"}
"""Kinds that are output, or the wire: nobody is asked to run them."""
READ = {"sh", "python", "js", "html", "yaml", "json", "nginx", "caddy"}
"""Kinds that are judged."""
OF_THE_SYSTEM = set(
    ". cat cd chmod chown cp echo export getent git hostname id install ip journalctl kill ls mkdir mv node nginx npm "
    "npx openssl printf ps rm scp sleep ss ssh sudo sysctl systemctl tail tar test ufw uname unzip venv "
    "caddy apt brew wsl kubectl hf vllm nvidia-smi".split()
)
"""Programs that are not ours and whose words here are plain: bash's parser has read them."""


def name(path: Path) -> str:
    """A page as failures name it."""
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path) -> list[tuple[str, str]]:
    """Kind and text of those that are to be judged."""
    return [(found["kind"], found["text"]) for found in FENCE.finditer(path.read_text("utf-8")) if not found["why"]]


def without_blocks(path: Path) -> str:
    """Prose and headings alone."""
    return FENCE.sub("", path.read_text("utf-8"))


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command, without variables before it and what it is piped or written to."""
    text = re.sub(r"\$\([^)]*\)", "SAID", text.replace("\\\n", " "))
    begun = ""
    for line in text.splitlines():
        begun += line + "\n"
        try:
            words = shlex.split(begun, comments=True)
        except ValueError:  # a quotation that goes on in the next line
            continue
        begun = ""
        end = next((place for place, word in enumerate(words) if re.match(r"[|;&<>]", word)), len(words))
        yield list(dropwhile(re.compile(r"[A-Za-z_]+=").match, words[:end]))


# ------------------------------------------------------------------------------------------------ commands


def wrong_command(words: list[str]) -> str | None:
    """What is wrong with a command, or ``None``."""
    words = words[1:] if words[:1] == ["sudo"] else words
    if not words:
        return None
    program = Path(words[0]).name or words[0]
    judge = _JUDGES.get(program)
    if judge is not None:
        return judge(words[1:])
    return None if program in OF_THE_SYSTEM else f"nothing here judges {words[0]!r}: say why it is not run"


def _visavis(words: list[str]) -> str | None:
    try:
        _parser().parse_args(words)
    except SystemExit as end:
        return f"refused: {' '.join(words)}" if end.code else None
    return None


def _curl(words: list[str]) -> str | None:
    for word in words:
        if found := re.fullmatch(r"https?://(?:127\.0\.0\.1|localhost|\[::1\])(?::8080|:8443)?(/[^?#]*)?.*", word):
            path = found[1] or "/"
            if not any(re.fullmatch(pattern, path) for pattern in _PATHS):
                return f"{path} is no path of the server"
    return None


def _pattern(path: str) -> str:
    return "".join(".+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", path))


_PATHS = [
    _pattern(path) for path in (*(one.path for one in OPERATIONS), WORKERS, RESTART, RESTART_ALL, WATCH, NODES, DRAIN)
]


def _ray(words: list[str]) -> str | None:
    return None if words[:1] in (["start"], ["status"]) else f"ray {words[:1]} is not what this documentation needs"


def _make(words: list[str]) -> str | None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    return next((f"no target {word}" for word in words if "=" not in word and word not in targets), None)


def _python(words: list[str]) -> str | None:
    if words[:1] != ["-m"] or len(words) < 2:
        return None
    if words[1] in ("venv", "pip", "http.server"):
        return _pip(words[2:]) if words[1] == "pip" else None
    try:
        spec = find_spec(words[1])
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        return f"no module {words[1]}"
    folder = Path(spec.origin).parent
    source = "".join(file.read_text("utf-8") for file in folder.glob("*.py"))
    flags = [word.partition("=")[0] for word in words[2:] if word.startswith("--")]
    return next((f"{words[1]} has no {flag}" for flag in flags if flag not in source), None)


def _pip(words: list[str]) -> str | None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    listed = re.findall(r"(?:visavis|\.)\[([\w,]+)\]", " ".join(words))
    asked = {extra for one in listed for extra in one.split(",")}
    return next((f"no extra {extra}" for extra in asked - set(extras)), None)


def _docker(words: list[str]) -> str | None:
    files = [Path(word) for before, word in pairwise(words) if before == "-f"]
    if missing := [file for file in files if not (ROOT / file).exists()]:
        return f"{missing[0]} is not there"
    profiles = [word for before, word in pairwise(words) if before == "--profile"]
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))["services"]
    known = {profile for service in services.values() for profile in service.get("profiles", ())}
    return next((f"no profile {profile}" for profile in profiles if profile not in known), None)


def _helm(words: list[str]) -> str | None:
    values = yaml.safe_load((ROOT / "deploy/helm/visavis/values.yaml").read_text("utf-8"))
    for before, word in pairwise(words):
        if before == "--set":
            place: Any = values
            for part in word.partition("=")[0].split("."):
                if place is values.get("settings"):
                    return None if part in Settings.model_fields else f"no setting {part}"
                if not isinstance(place, dict) or part not in place:
                    return f"no value {word}"
                place = place[part]
    return None


def _pytest(words: list[str]) -> str | None:
    return next((f"{word} is not there" for word in words if "/" in word and not (ROOT / word).exists()), None)


_JUDGES: dict[str, Callable[[list[str]], str | None]] = {
    "visavis": _visavis,
    "curl": _curl,
    "make": _make,
    "python": _python,
    "python3": _python,
    "pip": _pip,
    "pytest": _pytest,
    "docker": _docker,
    "helm": _helm,
    "ray": _ray,
}

# ---------------------------------------------------------------------------------------------------- data


def wrong_variables(text: str) -> None:
    """Raises when a variable is named that is no setting."""
    names = set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", text)) - {"VISAVIS_TARGET", "VISAVIS_NAME", "VISAVIS_PUBLISH"}
    check_environment({one: "x" for one in names if not one.startswith("VISAVIS_TEST_")}, Settings.model_fields)


def judge_yaml(text: str, folder: Path) -> None:
    """Raises unless the text is a file of ours that would be taken, or one of another program."""
    for document in yaml.safe_load_all(text):
        keys = set(document)
        file = folder / "block.yaml"
        file.write_text(text, "utf-8")
        if keys == {"ensembles"}:
            read_ensembles(file, list(TASKS))
        elif keys == {"tools"}:
            read(file).validated(ToolsFile)
        elif keys <= set(Settings.model_fields):
            load_settings({}, file)
        elif "engines" in keys:
            read(file).validated(Plan)
        elif "turns" in keys:
            read(file).validated(Scenario)
        elif keys & {"pipelines", "backends"}:
            read(file).validated(Definition)
        elif keys & {"services", "apiVersion", "scrape_configs", "groups", "http", "settings", "image", "ingress"}:
            wrong_variables(text)  # Docker's, Kubernetes', Prometheus', Traefik's, and values of the chart
        else:
            raise ValueError(f"a file of nobody known: {sorted(keys)}")
