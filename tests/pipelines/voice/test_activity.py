"""Voice activity whose model fails goes on with a fresh one, or by loudness."""

from __future__ import annotations

import numpy as np

from pipelines.interfaces.vad import VAD_WINDOW
from pipelines.voice.vad import REST_WINDOWS, LastingActivity

QUIET, LOUD = np.zeros(VAD_WINDOW, np.int16), np.full(VAD_WINDOW, 3000, np.int16)


class Fragile:
    """Its states judge ``lasts`` windows each, one after the other, and then raise; with none left it cannot open."""

    name = "fragile"

    def __init__(self, *lasts: int) -> None:
        self.lasts = list(lasts)
        self.opened = 0

    def open(self) -> Fragile:
        self.opened += 1
        self.left = self.lasts.pop(0)
        return self

    def probability(self, window: np.ndarray) -> float:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("onnxruntime: bad allocation")
        return 0.7

    def reset(self) -> None:
        pass


def test_a_failed_state_is_replaced_within_the_same_window(caplog):
    told = []
    activity = LastingActivity(Fragile(2, 9), told.append)
    assert {activity.probability(QUIET) for _ in range(5)} == {0.7}
    assert [error.code for error in told] == ["vad_failed"]
    assert len(caplog.records) == 1


def test_without_a_model_loudness_decides_and_the_model_is_tried_again_later():
    told = []
    model = Fragile(1, 0, 5)
    activity = LastingActivity(model, told.append)
    assert activity.probability(QUIET) == 0.7
    judged = [activity.probability(window) for window in [LOUD, QUIET] * (REST_WINDOWS // 2)]
    assert (judged[:2], model.opened, len(told)) == ([1.0, 0.0], 2, 1)
    activity.probability(QUIET)
    assert activity.probability(QUIET) == 0.7
    assert model.opened == 3


def test_a_model_that_cannot_even_open_is_survived():
    activity = LastingActivity(Fragile(), lambda error: None)
    assert [activity.probability(window) for window in (LOUD, QUIET)] == [1.0, 0.0]


def test_after_a_reset_the_past_is_forgotten():
    model = Fragile(5, 5)
    activity = LastingActivity(model, lambda error: None)
    activity.probability(QUIET)
    activity.reset()
    activity.probability(QUIET)
    assert model.opened == 2
