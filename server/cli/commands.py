"""The commands of ``visavis`` and their arguments; what is wrong is told in one line, with what was probably meant."""

from __future__ import annotations

import argparse
import asyncio
import math
import re
import sys
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from pipelines.engines.registry import Stage, named
from pipelines.errors import PipelineError
from pipelines.models.weights.placement import LEGAL as DEVICE_MAPS
from pipelines.models.weights.quantization import LEGAL
from pipelines.text import nearest
from pipelines.vision.detectors import DETECTORS
from server.cli.at_once import ended_at_once
from server.cli.error_reports import add_errors, run_errors
from server.cli.evaluation import add_evaluation, run_evaluation
from server.cli.models import add_models, run_models
from server.cli.pipelines import add_pipelines, run_pipelines
from server.cli.serve_engines import add_serve_engines, run_serve_engines
from server.cli.stopping import end_on_signals, leave
from server.cli.terminal import tell_failure
from server.settings import Settings, SettingsError, load_settings


class Parser(argparse.ArgumentParser):
    """An :class:`argparse.ArgumentParser` for people who mistype."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As of old, but nothing is left over: here the command is known that it was meant for."""
        options, extra = super().parse_known_args(args, namespace)
        if extra:
            words = [word for word in extra if word.startswith("-")] or extra
            flag = words[0].partition("=")[0]
            setting = flag.removeprefix("--").replace("-", "_")
            known = re.findall(r"(?<![\w-])--[a-z-]+", self.format_help())
            if "--config" in known and setting in Settings.model_fields and flag.replace("_", "-") not in known:
                where = f"VISAVIS_{setting.upper()} in the environment, or {setting} in the file of --config"
                self.error(f"there is no flag {flag}; the setting is {where}")
            meant = nearest(flag, known)
            self.error(f"there is no {words[0]} here" + (f"; did you mean {meant}?" if meant else ""))
        return options, extra

    def error(self, message: str) -> NoReturn:
        """End with one line instead of the usage."""
        message = message.removeprefix("argument ")
        if choice := re.fullmatch(r"(.*): invalid choice: '(.*)' \(choose from (.*)\)", message):
            legal = choice[3].replace("'", "").split(", ")
            meant = nearest(choice[2], legal)
            guess = f"; did you mean {meant}? Legal values" if meant else "; legal values"
            message = f"{choice[1]}: there is no {choice[2]!r}{guess} are {', '.join(legal)}"
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def whole(least: int) -> Callable[[str], int]:
    """A type of arguments: a whole number of at least ``least``."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,18}", text.strip()) or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text!r}")
        return int(text)

    return parse


def number(least: float, most: float = math.inf, *, above: bool = False) -> Callable[[str], float]:
    """A type of arguments: a number from ``least`` (or ``above`` it) to ``most``."""
    legal = f"{'above' if above else 'of at least'} {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not least <= value <= most or (above and value == least):
            raise argparse.ArgumentTypeError(f"must be a number {legal}, not {text!r}")
        return value

    return parse


_EPILOG = """\
Every setting can also be given as VISAVIS_NAME in the environment or as `name: value` in the --config file
(flags win over the environment, the environment over the file). docs/reference/settings.md lists all of them.
"""


_MODELS: tuple[tuple[str, str, Stage, str], ...] = (
    ("--stt-model", "listens", "stt", "a model or its folder"),
    ("--chat-model", "thinks", "llm", "a model, its folder or GGUF file, OWNER/NAME-GGUF[:QUANTISATION]"),
    ("--tts-model", "speaks", "tts", "a model"),
)
"""Flag, what the engine does, its stage, and what may be named beside engines."""
SYSTEM_NEEDS = "visavis needs libraries of the system: apt-get install libgl1 libglib2.0-0 libegl1 libgles2"


def run(arguments: Sequence[str]) -> int:
    """Do what ``arguments`` say and return the status to exit with; argparse exits by itself."""
    end_on_signals()
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        if options.command == "models":
            return _models(options)
        if options.command == "pipelines":
            return run_pipelines(options, Console())
        if options.command == "serve-engines":
            return run_serve_engines(options, Console())
        if options.command == "errors":
            return run_errors(options, Console())
        return _run(_COMMANDS[options.command](options, Console()))
    except (SettingsError, PipelineError) as error:
        tell_failure(Console(stderr=True), error)
        return 2


async def _serve(options: argparse.Namespace, console: Console) -> int:
    with ended_at_once():
        from server.cli.preflight import check

        names = set(Settings.model_fields)
        flags = {name: value for name, value in vars(options).items() if name in names and value is not None}
        if options.tls is not None:
            flags["tls_self_signed"] = True
        settings = load_settings(flags, options.config)
        check(settings)
        try:
            from server.cli.serve import ServerConsole, serve  # a second of imports, for those who may begin
            from server.cli.serve_workers import serve_workers
        except ImportError as error:  # OpenCV, mostly, which needs libraries that a bare system lacks
            raise SettingsError(f"{error}; {SYSTEM_NEEDS}") from error

    await (serve if settings.workers == 1 else serve_workers)(settings, ServerConsole())
    leave(0)


async def _talk(options: argparse.Namespace, console: Console) -> int:
    from server.cli.talk import TalkOptions, talk

    key = options.api_key
    wanted = TalkOptions(
        options.wav, options.out, options.url, key, options.wait, options.json, options.pipeline, options.relay
    )
    return 1 if (await talk(wanted, console)).problem else 0


async def _eval(options: argparse.Namespace, console: Console) -> int:
    return await run_evaluation(options, console)


async def _doctor(options: argparse.Namespace, console: Console) -> int:
    from server.cli.doctor.report import doctor

    flags = {name: getattr(options, name) for name in ("host", "port", "models") if getattr(options, name) is not None}
    return await doctor(load_settings(flags, options.config, serves=False), console, as_json=options.json)


def _models(options: argparse.Namespace) -> int:
    return run_models(options, Console())  # without an event loop: Ctrl-C ends a download at once


_COMMANDS: dict[str, Callable[[argparse.Namespace, Console], Coroutine[Any, Any, int]]] = {
    "serve": _serve,
    "talk": _talk,
    "eval": _eval,
    "doctor": _doctor,
}


def _run(work: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def _parser() -> Parser:
    parser = Parser(
        prog="visavis", description="A self-hosted voice-and-vision assistant: open the page, speak, be answered."
    )
    parser.add_argument("--version", action="version", version=f"visavis {version('visavis')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_serve(commands)
    _add_talk(commands)
    add_evaluation(commands, whole)
    _add_doctor(commands)
    add_models(commands)
    add_pipelines(commands)
    add_serve_engines(commands)
    add_errors(commands)
    return parser


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser(
        "serve",
        help="run the server",
        description="Run the server and print its URL and the engines in use.",
        epilog=f"A session may look for: {', '.join(DETECTORS)}.\n\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1: this machine only)")
    serve.add_argument("--port", help="port to listen on (default 8080; 0 takes a free one)")
    serve.add_argument("--grpc-port", metavar="PORT", help="speak gRPC on this port, too (needs the extra grpc)")
    serve.add_argument(
        "--workers",
        metavar="N",
        help="processes that share the sessions (default 1; auto: as many as processors and memory allow)",
    )
    serve.add_argument(
        "--profile",
        choices=["auto", "embedded", "bench"],
        help="auto: the best engines present (default). embedded: no model server and no large models. "
        "bench: stubs and a test tone, for measuring only",
    )
    _add_media(serve)
    serve.add_argument("--bench-tone-seconds", metavar="S", help="length of the bench tone (default 3)")
    serve.add_argument(
        "--bench-echo",
        action="store_const",
        const=True,
        help="with --profile bench: send the incoming audio straight back, to measure the media path",
    )
    serve.add_argument("--config", type=Path, metavar="FILE", help="YAML file with settings")
    serve.add_argument("--api-key", metavar="KEY", help="clients must send this key; required off loopback")
    _add_tls(serve)
    serve.add_argument("--pipeline", metavar="FILE", help="pipeline definition of the conversation")
    serve.add_argument("--pipelines", metavar="DIR", help="folder with further pipeline definitions")
    serve.add_argument("--tools", metavar="FILE", help="tools that the language model may have run here")
    serve.add_argument("--llm-url", metavar="URL", help="OpenAI-compatible server (default: Ollama's usual port)")
    serve.add_argument("--llm-model", metavar="NAME", help="model to ask that server for (default: its first)")
    serve.add_argument(
        "--device", choices=["auto", "cpu", "cuda", "igpu", "npu"], help="where models run (default auto)"
    )
    for flag, does, stage, models in _MODELS:
        legal = ", ".join(("auto", *named(stage), models))
        serve.add_argument(flag, metavar="MODEL", help=f"who {does}: {legal}")
    _add_weights(serve)
    _add_manners(serve)
    serve.add_argument("--ray-address", metavar="HOST:PORT", help="Ray cluster with engines (visavis serve-engines)")
    serve.add_argument("--ray-application", metavar="NAME", help="name under which they were deployed")
    serve.add_argument("--remote-stages", metavar="STAGES", help="who is asked there first, such as stt,llm,tts")
    serve.add_argument("--language", metavar="CODE", help="language that is spoken, such as en")
    serve.add_argument(
        "--no-download",
        dest="download",
        action="store_const",
        const=False,
        help="fetch nothing: use only models that are here",
    )
    serve.add_argument("--models", metavar="DIR", help="folder with model files, tried before downloads")
    serve.add_argument("--log-level", choices=["debug", "info", "warning", "error"], help="default info")


def _add_media(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--ice-address",
        action="append",
        metavar="ADDR",
        help="local address offered to peers; repeatable (default: on loopback 127.0.0.1 and one for Firefox, "
        "else every interface's)",
    )
    serve.add_argument("--external-address", metavar="ADDR", help="address peers see when behind a 1:1 NAT")
    serve.add_argument("--ice-port-range", metavar="A-B", help="UDP ports for media, such as 50000-50100")


def _add_manners(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--voice", metavar="NAME", help="voice of new sessions")
    serve.add_argument("--instructions", metavar="TEXT", help="who the assistant is, and how it is to answer")
    serve.add_argument("--greeting", metavar="TEXT", help="what it says first in every conversation")
    serve.add_argument("--recordings", metavar="DIR", help="where sessions may be recorded (default: not)")


def _add_weights(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--chat-adapter",
        dest="chat_adapters",
        action="append",
        metavar="NAME=PATH",
        help="a LoRA adapter of the chat model, asked for as MODEL:NAME; repeatable",
    )
    serve.add_argument("--quantization", dest="chat_quantization", choices=LEGAL, help="of a model on transformers")
    serve.add_argument("--device-map", dest="chat_device_map", choices=DEVICE_MAPS, help="of one too large for a GPU")


def _add_tls(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--tls-cert", metavar="FILE", help="serve HTTPS with this certificate (PEM)")
    serve.add_argument("--tls-key", metavar="FILE", help="and this private key (PEM)")
    serve.add_argument(
        "--tls",
        choices=["self-signed"],
        help="serve HTTPS with a certificate made here, which browsers warn of once",
    )
    serve.add_argument("--tls-self-signed", action="store_const", const=True, help="the same")


def _add_talk(commands: Any) -> None:
    talk = commands.add_parser(
        "talk",
        help="speak a WAV file to a running server and save the answer",
        description="Play a sound file into a running server as if spoken into a microphone; print what was "
        "understood, what was answered and how long each answer took.",
    )
    talk.add_argument("wav", type=Path, help="sound file to say (WAV, FLAC, MP3, …)")
    talk.add_argument("--out", type=Path, metavar="WAV", help="save what came back")
    talk.add_argument("--url", default="http://127.0.0.1:8080", help="server (default %(default)s)")
    talk.add_argument("--api-key", metavar="KEY", help="the server's key, if it has one")
    talk.add_argument(
        "--wait",
        type=number(0, above=True),
        default=10.0,
        metavar="S",
        help="seconds to wait for an answer (default %(default)s)",
    )
    talk.add_argument("--pipeline", metavar="ID", help="talk to this pipeline of the server (visavis pipelines list)")
    talk.add_argument(
        "--relay", action="store_true", help="send media through the server's TURN server, and no other way"
    )
    talk.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="examine this machine",
        description="Look at packages, devices, system libraries, ports, folders and models; say whether visavis can "
        "serve (exit status 0, else 1) and which commands would make it better.",
    )
    doctor.add_argument("--host", help="address that the server is to listen on (default 127.0.0.1)")
    doctor.add_argument("--port", help="port that the server is to listen on (default 8080)")
    doctor.add_argument("--models", metavar="DIR", help="folder with model files")
    doctor.add_argument("--config", type=Path, metavar="FILE", help="YAML file with settings")
    doctor.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
