"""``visavis train-starter`` and ``visavis evaluate``: making and examining small models of one's own."""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markdown import Markdown

from pipelines.errors import ModelError
from server.arguments import number, whole
from server.terminal import Steps, foreign, tell, tell_foreign, waiting

if TYPE_CHECKING:
    from pipelines.starter.speech_train import SpeechProgress, SpeechTrainer
    from pipelines.starter.train import Progress, Trainer

TELL_STEPS = 10
"""Of a training, between two lines about it."""
COMMANDS = ("train-starter", "evaluate")


def add_starter(commands: Any) -> None:
    """The arguments."""
    train = commands.add_parser(
        "train-starter",
        help="train a small chat model or a small Whisper from nothing",
        description="Train a starter model from nothing, on data that is made while it trains. Ctrl-C keeps the last "
        "checkpoint; --resume goes on from it.",
    )
    train.add_argument("model", choices=["chat", "whisper"])
    length = train.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes",
        type=number(0, above=True),
        metavar="N",
        help="train about so long (default: as many steps as needed)",
    )
    length.add_argument(
        "--steps", type=whole(1), metavar="N", help="train so many steps: gives the same model each time"
    )
    train.add_argument("--out", type=Path, metavar="DIR", help="default starter-chat or starter-whisper")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    train.add_argument("--seed", type=whole(0), default=1, metavar="N", help="default %(default)s")
    train.add_argument("--threads", type=whole(1), default=1, metavar="N", help="of the CPU (default %(default)s)")
    train.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu (default) or cuda")
    train.add_argument("--compile", action="store_true", help="fuse operations (chat only; needs a C++ compiler)")
    examine = commands.add_parser(
        "evaluate",
        help="examine a model that was trained so",
        description="Ask the starter chat model held-out questions, let the starter Whisper hear held-out sentences "
        "and print tables of how they did.",
    )
    examine.add_argument("what", choices=["starter"])
    examine.add_argument("only", nargs="?", choices=["chat", "whisper"], help="one of the two (default: both)")
    examine.add_argument("--model", type=Path, metavar="DIR", help="a chat model (default: the one that ships)")
    examine.add_argument("--whisper", type=Path, metavar="DIR", help="a Whisper (default: the one that ships)")
    examine.add_argument("--failures", action="store_true", help="print each answer that did not pass")


def run_starter(options: argparse.Namespace, console: Console) -> int:
    """Do it and return the exit status. Blocks. Raises :class:`~pipelines.errors.ModelError`."""
    return _train(options, console) if options.command == "train-starter" else _evaluate(options, console)


def _train(options: argparse.Namespace, console: Console) -> int:
    from pipelines.starter.heap import keep_memory
    from pipelines.starter.train import Trainer

    keep_memory()
    options.out = options.out or Path(f"starter-{options.model}")
    _check_device(options.device)
    if not options.resume:
        _make(options.out)
    with waiting(Console(stderr=True), "making the tokenizer, the network and the first data …"):
        trainer = _speech_trainer(options) if options.model == "whisper" else _trainer(options)
    tell(Console(stderr=True), f"training; a line every {TELL_STEPS} steps, of about a second each on a free core")
    if not isinstance(trainer, Trainer):
        seconds = 60 * options.minutes if options.minutes else None
        trainer.run(lambda progress: tell_foreign(console, _heard(progress)), seconds, every=TELL_STEPS)
        tell(console, f"the model is in {foreign(options.out / 'model')}")
        return 0

    def show(progress: Progress) -> None:
        pace = f"{progress.tokens_per_second:.0f} tokens/s"
        tell_foreign(console, f"step {progress.step} of {progress.steps}: loss {progress.loss:.3f}, {pace}")

    trainer.run(show, every=TELL_STEPS)
    tell(console, f"the model is in {foreign(options.out)}")
    return 0


def _check_device(device: str) -> None:
    """Raise :class:`ModelError` for a device that torch does not have."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ModelError("unknown_device", f"--device: there is no {device!r}; legal are cpu, cuda, cuda:N")
    if device != "cpu":
        import torch

        cards = torch.cuda.device_count()
        if int(device.partition(":")[2] or 0) >= cards:
            legal = ", ".join(("cpu", *(f"cuda:{n}" for n in range(cards))))
            raise ModelError("device_unavailable", f"--device: torch has no {device} here; legal are {legal}")


def _make(folder: Path) -> None:
    """Raise :class:`ModelError` when nothing can be saved in ``folder``, before hours are spent on it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ModelError("folder_unusable", f"--out: {folder}: {error.strerror or error}") from error


def _heard(progress: SpeechProgress) -> str:
    return (
        f"step {progress.step} ({100 * progress.gone:.0f} %): loss {progress.text:.3f}, "
        f"of sounds {progress.sounds:.3f}, of places {progress.places:.3f}, {progress.seconds_per_step:.2f} s per step"
    )


def _trainer(options: argparse.Namespace) -> Trainer:
    from pipelines.starter.train import Trainer, Training, resume, steps_in

    machine = {"threads": options.threads, "device": options.device, "compile": options.compile}
    if options.resume:
        return resume(options.out, **machine, **({"steps": options.steps} if options.steps else {}))
    training = Training(seed=options.seed, **machine)
    steps = options.steps or (
        steps_in(60 * options.minutes, training, options.out) if options.minutes else training.steps
    )
    return Trainer(Training(steps=steps, seed=options.seed, **machine), options.out)


def _speech_trainer(options: argparse.Namespace) -> SpeechTrainer:
    from pipelines.starter.speech_train import SpeechTrainer, SpeechTraining, resume

    if options.compile:
        raise ModelError("not_compiled", "--compile: only the chat model can be fused")
    machine = {"threads": options.threads, "device": options.device}
    wanted = machine | ({"steps": options.steps} if options.steps else {})
    if options.resume:
        return resume(options.out, **wanted)
    return SpeechTrainer(SpeechTraining(seed=options.seed, **wanted), options.out)


def _evaluate(options: argparse.Namespace, console: Console) -> int:
    with Steps(Console(stderr=True)) as steps:
        tables, wrong = _examined(options, steps)
    text = "\n\n".join(tables)
    console.print(Markdown(text) if console.is_terminal else text)
    for line in wrong if options.failures else ():
        tell_foreign(console, line)
    return 0


def _examined(options: argparse.Namespace, steps: Steps) -> tuple[list[str], list[str]]:
    """The tables, and a line for each answer that did not pass."""
    tables: list[str] = []
    wrong: list[str] = []
    if options.only != "whisper":
        from pipelines.starter import model_files
        from pipelines.starter.evaluate import evaluate, failures, table

        report = evaluate(options.model or model_files.FOLDER, tell=steps)
        tables.append(table(report))
        wrong += failures(report)
    from pipelines.starter.speech_model_files import is_shipped

    if options.only == "whisper" or (options.only is None and (options.whisper or is_shipped())):
        from pipelines.starter.speech_evaluate import evaluate_speech, speech_table

        heard = evaluate_speech(options.whisper, tell=steps)
        tables.append(speech_table(heard))
        wrong += heard.failures
    return tables, wrong
