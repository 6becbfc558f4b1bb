"""Train the starter chat model from nothing, or examine one.

    python -m training.starter train --compile          # into starter-chat/; --resume goes on, --device cuda
    python -m training.starter evaluate --failures      # the one that visavis brings; --model starter-chat: another

Run from a checkout: the installed package has the weights only. Data are made while it trains; Ctrl-C keeps the last
checkpoint. 7,000 steps take an hour and three quarters on a free core.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from pipelines.errors import ModelError, PipelineError
from pipelines.starter import model_files
from server.cli.commands import Parser, number, whole
from server.cli.terminal import Steps, foreign, tell, tell_failure, tell_foreign, waiting
from training.starter.evaluate import evaluate, failures, table
from training.starter.heap import keep_memory
from training.starter.train import Progress, Trainer, Training, resume, steps_in

SEED = 1
TELL_STEPS = 10
"""Of a training, between two lines about it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exits 0, 2 with one line on what was wrong, or 130 when it was interrupted."""
    options = _parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    try:
        if options.command == "train":
            _train(options, Console())
        else:
            _evaluate(options, Console())
    except PipelineError as error:
        tell_failure(Console(stderr=True), error)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m training.starter", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    train = commands.add_parser("train", help="train a model from nothing")
    length = train.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes", type=number(0, above=True), metavar="N", help="about so long (default: as many steps as needed)"
    )
    length.add_argument("--steps", type=whole(1), metavar="N", help="so many steps: gives the same model each time")
    train.add_argument("--out", type=Path, metavar="DIR", default=Path("starter-chat"), help="default %(default)s")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    train.add_argument("--seed", type=whole(0), metavar="N", help=f"default {SEED}")
    train.add_argument("--threads", type=whole(1), default=1, metavar="N", help="of the CPU (default %(default)s)")
    train.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu (default) or cuda")
    train.add_argument("--compile", action="store_true", help="fuse operations (needs a C++ compiler)")
    examine = commands.add_parser("evaluate", help="ask a model held-out questions and print how it did")
    examine.add_argument(
        "--model", type=Path, metavar="DIR", default=model_files.FOLDER, help="default: the shipped one"
    )
    examine.add_argument("--failures", action="store_true", help="print each answer that did not pass")
    return parser


def _check_resumed(options: argparse.Namespace) -> None:
    """Raise :class:`ModelError` for what the checkpoint says already."""
    for flag, value in (("--minutes", options.minutes), ("--seed", options.seed)):
        if options.resume and value is not None:
            message = f"{flag}: is in the checkpoint that --resume goes on from; --steps alone may be another"
            raise ModelError("invalid_value", message)


def _train(options: argparse.Namespace, console: Console) -> None:
    _check_resumed(options)
    keep_memory()
    _check_device(options.device)
    if not options.resume:
        _make(options.out)
    with waiting(Console(stderr=True), "making the tokenizer, the network and the first data …"):
        trainer = _trainer(options)
    tell(Console(stderr=True), f"training; a line every {TELL_STEPS} steps, of about a second each on a free core")

    def show(progress: Progress) -> None:
        pace = f"{progress.tokens_per_second:.0f} tokens/s"
        tell_foreign(console, f"step {progress.step} of {progress.steps}: loss {progress.loss:.3f}, {pace}")

    trainer.run(show, every=TELL_STEPS)
    tell(console, f"the model is in {foreign(options.out)}")


def _check_device(device: str) -> None:
    """Raise :class:`ModelError` for a device that torch does not have."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ModelError("unknown_device", f"--device: there is no {device!r}; legal values are cpu, cuda, cuda:N")
    if device != "cpu":
        import torch

        cards = torch.cuda.device_count()
        if int(device.partition(":")[2] or 0) >= cards:
            legal = ", ".join(("cpu", *(f"cuda:{n}" for n in range(cards))))
            raise ModelError("device_unavailable", f"--device: torch has no {device} here; legal values are {legal}")


def _make(folder: Path) -> None:
    """Raise :class:`ModelError` when nothing can be saved in ``folder``, before hours are spent on it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ModelError("folder_unusable", f"--out: {folder}: {error.strerror or error}") from error


def _trainer(options: argparse.Namespace) -> Trainer:
    machine = {"threads": options.threads, "device": options.device, "compile": options.compile}
    if options.resume:
        return resume(options.out, **machine, **({"steps": options.steps} if options.steps else {}))
    seed = SEED if options.seed is None else options.seed
    training = Training(seed=seed, **machine)
    steps = options.steps or (
        steps_in(60 * options.minutes, training, options.out) if options.minutes else training.steps
    )
    return Trainer(Training(steps=steps, seed=seed, **machine), options.out)


def _evaluate(options: argparse.Namespace, console: Console) -> None:
    with Steps(Console(stderr=True)) as steps:
        report = evaluate(options.model, tell=steps)
    text = table(report)
    console.print(Markdown(text) if console.is_terminal else text)
    for line in failures(report) if options.failures else ():
        tell_foreign(console, line)


if __name__ == "__main__":
    main()
