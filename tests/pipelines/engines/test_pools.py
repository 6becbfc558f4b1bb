"""Engines that grow and shrink: real processes come and go as a pool says."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from pipelines.engines.litert.modules import LiteRtLoader, LiteRtOptions, Request
from pipelines.engines.litert.pool import LiteRtPool
from pipelines.engines.litert.tensors import stored
from tests.fakes.tiny_tflite import int8_layer


async def test_litert_keeps_no_more_modules_than_its_pool_has(tmp_path):
    pytest.importorskip("ai_edge_litert")
    loader = LiteRtLoader(LiteRtOptions(threads=1, modules=2))
    pool = LiteRtPool(loader)
    assert (pool.size, pool.bounds.least, pool.bounds.most) == (2, 1, 2)
    with closing(loader.load(int8_layer(tmp_path / "q.tflite"), "cpu", "float32")) as model:
        request = Request(0, [stored(model.description.signatures[0].inputs[0], np.zeros((1, 4)))])
        model.run([request, request])
        assert len(model.modules) == 2
        await pool.resize(1)
        assert (len(model.modules), pool.size) == (1, 1)
        model.run([request, request])
        assert len(model.modules) == 1
        work = pool.work()
        assert work.jobs == 4
        assert work.waited > 0, "the last request had to wait for the one before"
        assert work.busy > 0
        await pool.resize(2)
        model.run([request, request])
        assert len(model.modules) == 2


async def test_decoders_that_idle_end_and_others_start_when_they_are_needed():
    pytest.importorskip("pocketsphinx")
    from pipelines.engines.stt.pocketsphinx_recognizer import DecoderPool, PocketSphinxRecognizer

    recognizer = PocketSphinxRecognizer(2)
    pool = DecoderPool(recognizer, 2)
    try:
        one, two = await recognizer.open(), await recognizer.open()
        await one.close()
        assert len(recognizer.pids) == 2
        await pool.resize(1)
        assert len(recognizer.pids) == 1, "the idle one has ended"
        await two.close()
        assert len(recognizer.pids) == 1
        again = await recognizer.open()
        assert pool.size == 1
        await again.close()
        assert pool.work().jobs == 3
    finally:
        await recognizer.close()
