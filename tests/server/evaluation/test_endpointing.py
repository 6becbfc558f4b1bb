"""The sweep over pauses that are written down here, and one clip through the real voice activity."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.voice.endpointing import Evidence, pause_needed
from server.evaluation.endpointing.clips import Clip, prepare
from server.evaluation.endpointing.command import HEAD, row
from server.evaluation.endpointing.drawing import svg
from server.evaluation.endpointing.spans import Heard, Span, listen
from server.evaluation.endpointing.sweep import Curve, Point, curves, ended_at, measured, pareto
from server.evaluation.playing.utterances import speech
from server.evaluation.scenario import User
from tests.fakes.engines import LoudnessVad


def span(resumed=None, *known, start=1.0):
    return Span("a", start, start + 0.064, resumed, start, tuple(known), "people")


def heard(*spans, pauses=1):
    clip = Clip("a", np.zeros(0, np.int16), ((1.0, 2.0),) * pauses, 5.0, 5.0)
    return Heard(clip, spans)


def test_a_pause_ends_a_turn_when_it_has_lasted_long_enough():
    assert ended_at(span(), lambda e: 0.6) == pytest.approx(1.6, abs=0.033)
    assert ended_at(span(1.5), lambda e: 0.6) is None
    assert ended_at(span(1.7), lambda e: 0.6) == pytest.approx(1.6, abs=0.033)


def test_what_becomes_known_later_changes_what_is_needed_from_then_on():
    known = ((1.12, Evidence(sound=0.99)), (1.3, Evidence(text="I went and")))

    def needed(evidence):
        return pause_needed(evidence, 0.3, 0.6, 1.2)

    assert ended_at(span(None, known[0]), needed) == pytest.approx(1.3, abs=0.033)
    assert ended_at(span(None, (1.12, Evidence(sound=0.0))), needed) == pytest.approx(2.2, abs=0.033)
    assert ended_at(span(None, (1.12, Evidence(sound=0.99)), (1.2, known[1][1])), needed) > 1.8, "the words trail off"


def test_cut_offs_and_latency_are_counted_apart():
    group = [heard(span(1.4), span(start=5.0)), heard(span(2.0), span(start=5.0))]
    short, long = measured(group, lambda e: 0.2, "short"), measured(group, lambda e: 0.6, "long")
    assert (short.cut, short.cut_clips, long.cut) == (1.0, 1.0, 0.5)
    assert short.latency_ms == pytest.approx(200, abs=33)
    assert long.latency_ms == pytest.approx(600, abs=33)


def test_only_what_nothing_beats_is_on_the_curve():
    points = [Point(name, latency, 0, cut, 0) for name, latency, cut in
              (("a", 100, 0.5), ("b", 200, 0.6), ("c", 300, 0.04), ("d", 300, 0.2), ("e", 900, 0.0))]  # fmt: skip
    assert [one.settings for one in pareto(points)] == ["a", "c", "e"]
    curve = Curve("x", tuple(pareto(points)), points[0])
    assert (curve.cut_at(299), curve.cut_at(300), curve.latency_at(0.05), curve.latency_at(0.0)) == (
        0.5,
        0.04,
        300,
        900,
    )
    assert curve.cut_at(50) is None
    assert len(row(curve)) == len(HEAD)


def test_all_policies_are_drawn():
    known = ((1.12, Evidence(sound=0.3)), (1.3, Evidence(text="so")))
    found = curves([heard(span(1.5, *known), span(None, (5.1, Evidence(sound=0.99)), start=5.0))])
    assert len(found) == 5
    assert all(curve.present is not None for curve in found)
    drawing = ElementTree.fromstring(svg("a <set>", found))
    assert len(drawing.findall(".//{*}polyline")) == 5


class Oracle:
    async def completeness(self, samples):
        return 0.25

    async def text(self, samples):
        return "words"


async def test_a_spoken_sentence_has_its_pause_and_its_end():
    voice = EspeakVoice()
    try:
        sound = await speech(voice, "I would like ... some milk", User(), 700)
    finally:
        await voice.close()
    clip = prepare("milk", sound / 32768, source="espeak-ng")
    assert any(0.6 < b - a < 0.9 for a, b in clip.pauses)
    told = await listen(clip, LoudnessVad(), Oracle())
    longest = max((one for one in told.spans if one.resumed is not None), key=lambda one: one.resumed - one.start)
    assert longest.resumed - longest.start == pytest.approx(0.7, abs=0.2)
    assert told.spans[-1].resumed is None
    assert [evidence.sound for _, evidence in longest.known if evidence.sound is not None] == [0.25, 0.25]
