"""DeepFilterNet 3: noise out of speech at 48 kHz, frame by frame.

Schröter et al., "DeepFilterNet: Perceptually Motivated Real-Time Speech Enhancement" (2023, arXiv:2305.08227). A short
Fourier transform (20 ms windows, 10 ms steps) is looked at twice: energies in 32 bands as wide as the ear's (ERB), and
the complex values of the lowest 96 bins. An encoder makes features of both; one decoder gives each band a gain, the
other gives each low bin a filter over five frames, two of which are still to come. So the output is 30 ms late.

The three published networks are whole-clip graphs: they pad the past with zeros and begin with empty recurrent states.
Here both become inputs and outputs, so that a stream in pieces of any length gives what the whole clip gives.
"""

from __future__ import annotations

import configparser
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.onnx_session import open_session
from pipelines.errors import ModelError
from pipelines.tasks.audio.sounds import Wave, only_file

RATE = 48_000
FILE = "DeepFilterNet3_onnx.tar.gz"
LARGEST = 64 << 20
"""Bytes of one file in the archive."""
_FFT, _HOP = 960, 480
_BANDS, _LOW = 32, 96
"""ERB bands, and bins that are filtered."""
_ORDER, _AHEAD = 5, 2
"""Frames that a filter spans, and how many of them lie ahead."""
LATENCY = _HOP * (1 + _AHEAD)
"""Samples by which the output is late."""
_STEP = 100
"""Frames that are computed together at most: one second, which bounds memory."""
_SMOOTHING = 0.99
"""Of the running means that features are measured against: exp(-10 ms / 1 s), rounded as in training."""
_NARROWEST = 2
"""Bins of a band."""
_PAST = {"feat_erb": 2, "feat_spec": 2, "c0": 4}
"""Frames of the past that the convolutions over time look back on, by the input that they begin with."""

Complex = NDArray[np.complex64]
Feed = dict[str, NDArray[np.float32]]


class DeepFilterNet:
    """The three networks. One object serves all streams; what a stream remembers is in :class:`Stream`."""

    def __init__(self, networks: Mapping[str, bytes], threads: int = 1) -> None:
        self.encoder = _Network(networks["enc.onnx"], threads)
        self.gains = _Network(networks["erb_dec.onnx"], threads)
        self.filters = _Network(networks["df_dec.onnx"], threads)

    def open(self, attenuation_limit_db: float = 100.0) -> Stream:
        """A stream from its beginning; noise is lowered by at most so many decibels."""
        return Stream(self, attenuation_limit_db)

    def clean(self, sound: Wave, attenuation_limit_db: float = 100.0) -> Wave:
        """A whole sound, without the delay."""
        stream = self.open(attenuation_limit_db)
        made = np.concatenate([stream.push(sound), stream.finish()])
        return made[: len(sound)]


class Stream:
    """One sound on its way. One caller at a time."""

    def __init__(self, model: DeepFilterNet, attenuation_limit_db: float) -> None:
        self._model = model
        self._noise_left = 10.0 ** (-attenuation_limit_db / 20.0) if attenuation_limit_db < 100.0 else 0.0
        self._states: Feed = {**model.encoder.blank, **model.gains.blank, **model.filters.blank}
        self._waiting: Wave = np.zeros(0, np.float32)
        self._heard: Wave = np.zeros(_HOP, np.float32)
        self._overlap: Wave = np.zeros(_HOP, np.float32)
        self._spectra: Complex = np.zeros((_ORDER - 1, _FFT // 2 + 1), np.complex64)
        self._energy = np.linspace(-60.0, -90.0, _BANDS, dtype=np.float32)
        self._size = np.linspace(0.001, 0.0001, _LOW, dtype=np.float32)
        self._skip = LATENCY
        self._missing = 0

    def push(self, sound: Wave) -> Wave:
        """The next samples in, those that are ready out; of the first :data:`LATENCY` none are given back."""
        self._waiting = np.concatenate([self._waiting, sound])
        self._missing += len(sound)
        parts: list[Wave] = []
        while (frames := min(len(self._waiting) // _HOP, _STEP)) > 0:
            block, self._waiting = self._waiting[: frames * _HOP], self._waiting[frames * _HOP :]
            parts.append(self._cleaned(block.reshape(frames, _HOP)))
        made = np.concatenate([np.zeros(0, np.float32), *parts])
        skipped = min(self._skip, len(made))
        self._skip -= skipped
        made = made[skipped:]
        self._missing -= len(made)
        return made

    def finish(self) -> Wave:
        """The rest, so that as many samples have come out as went in. Nothing may follow."""
        missing = self._missing
        silence = np.zeros(LATENCY + _HOP, np.float32)
        return self.push(silence)[:missing]

    def _cleaned(self, hops: Wave) -> Wave:
        spectra = self._analysed(hops)
        erb, low = self._features(spectra)
        states, model = self._states, self._model
        seen = model.encoder.run({"feat_erb": erb, "feat_spec": low}, states)
        shared = {name: seen[name] for name in ("emb", "e0", "e1", "e2", "e3")}
        gains = model.gains.run(shared, states)["m"][0, 0]
        filters = model.filters.run({"emb": seen["emb"], "c0": seen["c0"]}, states)["coefs"][0]
        reach = np.concatenate([self._spectra, spectra])
        self._spectra = reach[-(_ORDER - 1) :]
        noisy = reach[_ORDER - 1 - _AHEAD : len(reach) - _AHEAD]
        out = noisy * np.repeat(gains, _WIDTHS, axis=1)
        taps = filters.reshape(len(filters), _LOW, _ORDER, 2)
        weights = taps[..., 0] + 1j * taps[..., 1]
        spans = np.stack([reach[n : n + len(filters), :_LOW] for n in range(_ORDER)], axis=2)
        out[:, :_LOW] = (spans * weights).sum(axis=2)
        if self._noise_left:
            out = out * (1.0 - self._noise_left) + noisy * self._noise_left
        return self._synthesised(out.astype(np.complex64))

    def _analysed(self, hops: Wave) -> Complex:
        before = np.concatenate([self._heard[None], hops[:-1]])
        self._heard = hops[-1]
        windows = np.concatenate([before, hops], axis=1) * _WINDOW
        return (np.fft.rfft(windows, axis=1) / _FFT).astype(np.complex64)

    def _synthesised(self, spectra: Complex) -> Wave:
        windows = (np.fft.irfft(spectra, _FFT, axis=1) * _FFT * _WINDOW).astype(np.float32)
        first, second = windows[:, :_HOP], windows[:, _HOP:]
        made = first + np.concatenate([self._overlap[None], second[:-1]])
        self._overlap = second[-1]
        return np.asarray(made.reshape(-1), np.float32)

    def _features(self, spectra: Complex) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Shapes ``(1, 1, frames, bands)`` and ``(1, 2, frames, bins)``, both against their running means."""
        power = np.add.reduceat(np.abs(spectra) ** 2, _STARTS, axis=1) / _WIDTHS
        decibels = (10.0 * np.log10(power + 1e-10)).astype(np.float32)
        low = spectra[:, :_LOW]
        sizes = np.abs(low)
        means, norms = np.empty_like(decibels), np.empty_like(sizes)
        for n in range(len(spectra)):
            self._energy = decibels[n] * (1 - _SMOOTHING) + self._energy * _SMOOTHING
            self._size = sizes[n] * (1 - _SMOOTHING) + self._size * _SMOOTHING
            means[n], norms[n] = self._energy, self._size
        normal = low / np.sqrt(norms)
        parts = np.stack([normal.real, normal.imag])[None].astype(np.float32)
        return ((decibels - means) / 40.0)[None, None].astype(np.float32), parts


class _Network:
    """One graph whose past is an input and an output."""

    def __init__(self, graph: bytes, threads: int) -> None:
        data, self.blank, self._carried = _with_states(graph)
        self._session = open_session(data, threads)
        self._outputs = [one.name for one in self._session.get_outputs()]
        self._states = [one.name for one in self._session.get_inputs() if one.name.startswith("state:")]

    def run(self, given: Feed, states: Feed) -> Feed:
        """What the graph makes of the next frames; ``states`` becomes what it remembers."""
        feed: Feed = {name: states[name] for name in self._states}
        for name, value in given.items():
            if name in self._carried:
                value = np.concatenate([states[f"past:{name}"], value], axis=2)
                states[f"past:{name}"] = value[:, :, -_PAST[name] :]
            feed[name] = value
        made = dict(zip(self._outputs, self._session.run(self._outputs, feed), strict=True))
        for name in self._states:
            states[name] = made.pop(f"next-{name}")
        return made


def _with_states(graph: bytes) -> tuple[bytes, Feed, frozenset[str]]:
    """The graph without its padding of the past, with recurrent states that go in and out; how all of them begin, and
    which inputs are given with their past."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_model_from_string(graph)
    body = model.graph
    shapes = {one.name: [axis.dim_value for axis in one.type.tensor_type.shape.dim] for one in body.input}
    del body.value_info[:]
    blank: Feed = {}
    padded = frozenset(node.input[0] for node in body.node if node.op_type == "Pad")
    if not padded <= _PAST.keys():
        raise ValueError(f"it pads {sorted(padded)}, which DeepFilterNet3 does not")
    for node in [node for node in body.node if node.op_type == "Pad"]:
        name = node.input[0]
        for user in body.node:
            user.input[:] = [name if one == node.output[0] else one for one in user.input]
        body.node.remove(node)
        blank[f"past:{name}"] = np.zeros((1, shapes[name][1], _PAST[name], shapes[name][3]), np.float32)
    for n, node in enumerate(node for node in body.node if node.op_type == "GRU"):
        width = next(one.i for one in node.attribute if one.name == "hidden_size")
        name = f"state:{body.output[0].name}{n}"
        node.input[5] = name
        while len(node.output) < 2:
            node.output.append("")
        node.output[1] = f"next-{name}"
        body.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, width]))
        body.output.append(helper.make_tensor_value_info(f"next-{name}", TensorProto.FLOAT, [1, 1, width]))
        blank[name] = np.zeros((1, 1, width), np.float32)
    for one in body.input:
        if one.name in padded:
            one.type.tensor_type.shape.dim[2].dim_param = "frames_with_past"
    return model.SerializeToString(), blank, padded


def _band_widths() -> NDArray[np.int64]:
    """How many bins each ERB band has (Glasberg and Moore, 1990), none less than :data:`_NARROWEST`."""
    edges = np.linspace(0.0, 9.265 * np.log1p(RATE / 2 / (24.7 * 9.265)), _BANDS + 1)[1:]
    bins = np.rint(24.7 * 9.265 * np.expm1(edges / 9.265) / (RATE / _FFT)).astype(int)
    widths, before, owed = [], 0, 0
    for last in bins:
        width = last - before - owed
        owed = max(0, _NARROWEST - width)
        widths.append(max(width, _NARROWEST))
        before = last
    widths[-1] += _FFT // 2 + 1 - sum(widths)
    return np.asarray(widths, np.int64)


_WIDTHS = _band_widths()
_STARTS = np.concatenate([[0], np.cumsum(_WIDTHS)[:-1]])
_WINDOW = np.sin(np.pi / 2 * np.sin(np.pi / 2 * (np.arange(_FFT) + 0.5) / _HOP) ** 2).astype(np.float32)
"""Of Vorbis: its square and that of its neighbour add up to one."""


def load_deep_filter(folder: Path, threads: int = 1) -> DeepFilterNet:
    """Load the archive in ``folder``; nothing of it is written anywhere. Blocking.

    Raises :class:`~pipelines.errors.ModelError` (``model_broken``).
    """
    file = only_file(folder, FILE)
    try:
        parts = _unpacked(file)
        config = configparser.ConfigParser()
        config.read_string(parts.pop("config.ini").decode())
        made = {name: config.getint("df", name) for name in ("sr", "fft_size", "hop_size", "nb_erb", "nb_df")}
        if list(made.values()) != [RATE, _FFT, _HOP, _BANDS, _LOW]:
            raise ValueError(f"it was made for {made}")
        return DeepFilterNet(parts, threads)
    except Exception as error:  # tarfile, configparser, onnx and onnxruntime have no common base
        raise ModelError("model_broken", f"{file.name} cannot be loaded as a DeepFilterNet3: {error}") from error


def _unpacked(file: Path) -> dict[str, bytes]:
    wanted = {"enc.onnx", "erb_dec.onnx", "df_dec.onnx", "config.ini"}
    parts: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(file.read_bytes()), mode="r:gz") as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            if name in wanted and member.isfile() and member.size <= LARGEST:
                opened: Any = archive.extractfile(member)
                parts[name] = opened.read()
    if missing := wanted - parts.keys():
        raise ValueError(f"there is no {', '.join(sorted(missing))} in it")
    return parts
