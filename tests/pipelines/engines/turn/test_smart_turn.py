"""The turn detector: its changed network says what the file says, alone and in a batch; what becomes of its jobs."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from pipelines.engines.onnx_session import open_session
from pipelines.engines.turn import smart_turn
from pipelines.engines.turn.log_mel import log_mel
from pipelines.engines.turn.smart_turn import SmartTurn, together
from pipelines.engines.turn.smart_turn_network import SmartTurnNetwork
from pipelines.errors import EngineBusyError, EngineStuckError, STTError
from pipelines.interfaces.vad import VAD_RATE
from pipelines.runtime.worker import session
from tests.assets import speech_16k
from tests.fakes import tiny_smart_turn
from tests.fakes.clock import FakeClock
from tests.fakes.sounds import voiced
from tests.patience import PATIENCE
from tests.real_models import real_folder


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_smart_turn.write(tmp_path_factory.mktemp("turn") / "smart-turn.onnx")


@pytest.fixture(scope="module")
def network(path):
    return SmartTurnNetwork(path)


def by_the_file(path: Any, samples: np.ndarray) -> float:
    """What the file says of the whole window, padding and all."""
    (chance,) = open_session(path).run(None, {"input_features": log_mel(samples, 800)[None]})
    return float(np.ravel(chance)[0])


@pytest.mark.parametrize("length", [127_800, 128_000, 200_000])
def test_where_nothing_can_be_merged_it_says_what_the_file_does(path, network, length):
    assert network.judge([voiced(length)]) == [pytest.approx(by_the_file(path, voiced(length)), abs=1e-4)]


@pytest.mark.parametrize("length", [5_000, 20_000, 42_000, 90_000])
def test_merged_padding_changes_hardly_anything(path, network, length):
    assert network.judge([voiced(length)]) == [pytest.approx(by_the_file(path, voiced(length)), abs=0.02)]


def test_a_glance_is_close(path, network):
    assert network.judge([voiced(120_000)], glance=True) == [pytest.approx(by_the_file(path, voiced(120_000)), abs=0.1)]


def test_a_batch_says_what_each_turn_alone_gets(network):
    turns = [voiced(length) for length in (42_000, 8_000, 130_000, 64_000)]
    alone = [network.judge([turn])[0] for turn in turns]
    assert len({round(chance, 4) for chance in alone}) == len(turns)
    np.testing.assert_allclose(network.judge(turns), alone, atol=1e-4)


def test_a_file_that_is_no_such_model_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(STTError, match=r"model\.onnx is no usable Smart Turn model"):
        SmartTurn(path)
    with pytest.raises(STTError, match="it has no table of 400 places"):
        SmartTurn(tiny_smart_turn.write(path, places=200))


@pytest.mark.parametrize(("each", "turns"), [(0.1, 4), (0.7, 1), (1.0, 1)])
def test_turns_are_judged_together_where_that_pays(monkeypatch, each, turns):
    spent = [0.0]

    class Costly:
        def judge(self, turns, glance=False):
            spent[0] += 1.0 if len(turns) == 1 else each * len(turns)

    monkeypatch.setattr(smart_turn.time, "perf_counter", lambda: spent[0])
    assert together(Costly()) == turns


class Held:
    """A network that waits until it is let go, and fails for a turn that begins with 1."""

    def __init__(self) -> None:
        self.begun, self.gate = threading.Event(), threading.Event()
        self.judged: list[tuple[list[int], bool]] = []

    def judge(self, turns, glance=False):
        self.judged.append(([int(turn[0]) for turn in turns], glance))
        self.begun.set()
        self.gate.wait()
        if any(turn[0] == 1 for turn in turns):
            raise ValueError("cannot be judged")
        return [float(turn[0]) / 100 for turn in turns]


@pytest.fixture
def held(monkeypatch):
    held = Held()
    monkeypatch.setattr(smart_turn, "SmartTurnNetwork", lambda *_: held)
    yield held
    held.gate.set()


def ask(detector: SmartTurn, mark: int) -> asyncio.Task[float]:
    async def asking() -> float:
        session.set(f"session {mark}")
        return await detector.completeness(np.full(VAD_RATE, mark, np.int16))

    return asyncio.create_task(asking())


async def busy(detector: SmartTurn, held: Held, *marks: int) -> list[asyncio.Task[float]]:
    """The first mark is being judged, the others wait."""
    tasks = [ask(detector, marks[0])]
    assert await asyncio.to_thread(held.begun.wait, PATIENCE)
    tasks += [ask(detector, mark) for mark in marks[1:]]
    await asyncio.sleep(0)
    return tasks


async def test_while_others_wait_it_only_glances(tmp_path, held):
    detector = SmartTurn(tmp_path, batch=1)
    tasks = await busy(detector, held, 10, 20, 30)
    held.gate.set()
    assert await asyncio.gather(*tasks) == [0.1, 0.2, 0.3]
    assert held.judged == [([10], False), ([20], True), ([30], False)]
    await detector.close()


async def test_one_that_cannot_be_judged_fails_alone_in_its_batch(tmp_path, held):
    detector = SmartTurn(tmp_path, batch=4)
    tasks = await busy(detector, held, 10, 20, 1, 30)
    held.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [answers[0], answers[1], answers[3]] == [0.1, 0.2, 0.3]
    assert isinstance(answers[2], ValueError)
    assert held.judged[1][0] == [20, 1, 30], "they were one batch"
    await detector.close()


async def test_who_leaves_is_not_judged_and_disturbs_nobody(tmp_path, held):
    detector = SmartTurn(tmp_path, batch=4)
    tasks = await busy(detector, held, 10, 20, 30, 40)
    tasks[2].cancel()
    await asyncio.gather(tasks[2], return_exceptions=True)
    held.gate.set()
    assert [await tasks[0], await tasks[1], await tasks[3]] == [0.1, 0.2, 0.4]
    assert held.judged[1:] == [([20, 40], False)]
    await detector.close()


async def test_what_nobody_has_begun_with_in_time_is_told_so(tmp_path, held, monkeypatch):
    monkeypatch.setattr(smart_turn, "PATIENCE", 0.01)
    detector = SmartTurn(tmp_path, batch=1)
    (tasks) = await busy(detector, held, 10, 20)
    with pytest.raises(EngineBusyError) as refused:
        await tasks[1]
    assert refused.value.code == "deadline"
    assert detector.worker.counts().expired == 1
    held.gate.set()
    assert await tasks[0] == 0.1
    await detector.close()


async def test_a_judgement_that_hangs_is_given_up(tmp_path, held):
    detector = SmartTurn(tmp_path, batch=1)
    detector.worker.crew.clock = FakeClock()
    (first,) = await busy(detector, held, 75)
    gate, held.gate = held.gate, threading.Event()
    held.gate.set()
    detector.worker.crew.clock.advance(5.0)
    detector.worker.crew.look()
    with pytest.raises(EngineStuckError):
        await first
    assert await ask(detector, 50) == 0.5
    gate.set()
    await detector.close()


def test_the_real_network_says_what_its_file_does_where_that_is_sure() -> None:
    """Its numbers are rounded to 8 bits: where it is in two minds, that moves it as much as merging does, at times by a
    half. With speech that breaks off in a word it is sure of little, with what was said to its end of all."""
    (path,) = real_folder("smart-turn").glob("*.onnx")
    network = SmartTurnNetwork(path)
    speech = speech_16k("audio/LJ001-0002.wav")
    cut = [speech[: int(seconds * VAD_RATE)] for seconds in (0.5, 1.0, 1.2, 1.4, 1.6)]
    turns = [*cut, speech, np.concatenate([speech] * 5)]
    alone = np.array([network.judge([turn])[0] for turn in turns])
    filed = np.array([by_the_file(path, turn) for turn in turns])
    np.testing.assert_allclose(network.judge(turns), alone, atol=0.1)
    assert np.abs(alone - filed).mean() < 0.2
    sure = np.abs(filed - 0.5) > 0.3
    assert sure.sum() >= 5
    np.testing.assert_array_equal(alone[sure] > 0.5, filed[sure] > 0.5)
