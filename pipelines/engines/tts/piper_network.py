"""A Piper network cut in two, so that a clause begins to sound before all of it has been computed.

A VITS network (Kim et al., "Conditional Variational Autoencoder with Adversarial Learning for End-to-End
Text-to-Speech", 2021) turns phonemes into latents, 256 samples each, and those into sound with HiFi-GAN, a stack of
convolutions that takes three quarters of the time. The first half is run once for a clause; the second half takes the
latents in pieces. A convolution sees only so far: with :data:`CONTEXT` latents on either side a piece is the same as
the same stretch of the whole (measured on en_US-joe-medium: 2e-6 of full scale at
most; with 8 it is 2e-3).

The first half also tells how many latents each phoneme takes, so the words' times are exact for every voice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.onnx_session import open_session

CONTEXT = 10
"""Latents on either side of a piece that its sound depends on."""
FIRST = 20
"""Latents of the first piece: a quarter of a second, for which one core takes some 15 ms."""
LARGEST = 120
"""Latents of later pieces: longer ones would make other sessions wait."""
_DECODER = "/dec/"
_DECODER_INPUT = "/dec/conv_pre/Conv"
_DURATIONS = "Ceil"
"""The one node of this kind rounds the predicted durations up."""


RunOptions = Callable[[], Any]
"""Gives what a run of onnxruntime is told, anew for each run: whether to go on."""
Feed = Mapping[str, NDArray[Any]]


class Rendered(NamedTuple):
    """A clause on its way to sound."""

    pieces: Iterator[NDArray[np.float32]]
    """Its sound in -1…1, in order; each piece is computed when it is asked for."""
    per_id: NDArray[np.int64] | None
    """How many steps of :attr:`~piper.config.PiperConfig.hop_length` samples each phoneme id takes, if known."""


class WholeNetwork:
    """A voice's network as it is: a clause is one piece."""

    def __init__(self, session: Any) -> None:
        self._session = session

    @property
    def providers(self) -> list[str]:
        """What runs it, by onnxruntime's names."""
        return list(self._session.get_providers())

    def render(self, feed: Feed, options: RunOptions) -> Rendered:
        """Run it."""
        audio, *alignment = self._session.run(None, dict(feed), options())
        per_id = np.ravel(alignment[0]).astype(np.int64) if alignment else None
        return Rendered(iter([np.ravel(audio).astype(np.float32, copy=False)]), per_id)


class SplitNetwork:
    """Both halves. ``varying`` is the name of the latents among what the second half takes."""

    def __init__(self, head: Any, tail: Any, varying: str) -> None:
        self._head = head
        self._tail = tail
        self._varying = varying
        self._names = [entry.name for entry in tail.get_inputs()]

    @property
    def providers(self) -> list[str]:
        """What runs it, by onnxruntime's names."""
        return list(self._tail.get_providers())

    def render(self, feed: Feed, options: RunOptions) -> Rendered:
        """Run the first half now, and the second one for each piece."""
        *tensors, durations = self._head.run(None, dict(feed), options())
        taken = dict(zip(self._names, tensors, strict=True))
        return Rendered(self._sound(taken, options), np.ravel(durations).astype(np.int64))

    def _sound(self, taken: dict[str, NDArray[np.float32]], options: RunOptions) -> Iterator[NDArray[np.float32]]:
        latents = taken[self._varying]
        count = latents.shape[2]
        for begin, end in pieces(count):
            first, last = max(0, begin - CONTEXT), min(count, end + CONTEXT)
            (audio,) = self._tail.run(None, {**taken, self._varying: latents[:, :, first:last]}, options())
            samples = np.ravel(audio).astype(np.float32, copy=False)
            hop = len(samples) // (last - first)
            yield samples[(begin - first) * hop : (end - first) * hop]


Network = WholeNetwork | SplitNetwork


def pieces(count: int) -> Iterator[tuple[int, int]]:
    """``count`` latents in pieces (begin, end): a short first one, then each twice as long as the one before."""
    begin, size = 0, FIRST
    while begin < count:
        end = begin + size
        if count - end < FIRST:  # a rest that short is not worth a run with its context
            end = count
        yield begin, end
        begin, size = end, min(LARGEST, 2 * size)


def split(model: Path, threads: int, providers: Sequence[Any]) -> SplitNetwork | None:
    """The network of ``model`` in two halves; ``None`` when it is not built as Piper's exporter builds them.

    Blocking: two seconds. Raises whatever onnx and onnxruntime raise for a file that is no network.
    """
    import onnx
    from onnx.utils import Extractor

    network = onnx.load(str(model))
    cut = _cut(network.graph)
    if cut is None:
        return None
    varying, inputs, durations = cut
    for name in (*inputs, durations):  # all that the extractor asks of shape inference, which would take a second
        network.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    extractor = Extractor(network)
    given = [entry.name for entry in network.graph.input]
    halves = (
        extractor.extract_model(given, [*inputs, durations]),
        extractor.extract_model(inputs, [network.graph.output[0].name]),
    )
    head, tail = (open_session(half.SerializeToString(), threads, providers) for half in halves)
    return SplitNetwork(head, tail, varying)


def _cut(graph: Any) -> tuple[str, list[str], str] | None:
    """Names of the latents, of all that the decoder takes, and of the durations; ``None`` if they are not plain."""
    decoder = [node for node in graph.node if node.name.startswith(_DECODER)]
    entry = [node for node in decoder if node.name == _DECODER_INPUT]
    durations = [node.output[0] for node in graph.node if node.op_type == _DURATIONS]
    if len(entry) != 1 or len(durations) != 1:
        return None
    made = {name for node in decoder for name in node.output} | {weight.name for weight in graph.initializer}
    constants = {node.output[0] for node in graph.node if node.op_type == "Constant"}
    taken = [name for node in decoder for name in node.input if name and name not in made | constants]
    return entry[0].input[0], list(dict.fromkeys(taken)), durations[0]
