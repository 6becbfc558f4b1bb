"""The trainer's own command: what is mistyped is told in one line."""

from __future__ import annotations

import pytest

from training.starter.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "--model", "/nowhere"], "visavis: models: /nowhere/tokenizer_config.json: No such"),
        (["train", "--minutes", "-1"], "training.starter train: --minutes: must be a number above 0, not"),
        (["train", "--steps", "0"], "training.starter train: --steps: must be a whole number of at least 1, not '0'"),
        (["train", "--threads", "0"], "--threads: must be a whole number of at least 1, not '0'"),
        (["train", "--device", "tpu"], "visavis: models: --device: there is no 'tpu'; legal values are cpu, cuda"),
        (["train", "--device", "cuda:99"], "visavis: models: --device: torch has no cuda:99 here; legal"),
        (["train", "--out", "/dev/null/x"], "visavis: models: --out: /dev/null/x: Not a directory"),
        (["train", "--resume", "--out", "/nowhere"], "/nowhere holds no checkpoint"),
        (["train", "--resume", "--out", "/nowhere", "--seed", "1"], "--seed: is in the checkpoint that --resume goes"),
        (["train", "--resume", "--out", "/nowhere", "--minutes", "5"], "--minutes: is in the checkpoint that --res"),
    ],
)
def test_a_mistake_is_told_in_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert said in out + err
    assert (out + err).count("\n") == 1 or "making the tokenizer" in err
