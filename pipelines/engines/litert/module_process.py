"""One ``.tflite`` model in a process of its own (https://ai.google.dev/edge/litert, Apache-2.0).

LiteRT's ``CompiledModel`` keeps the interpreter locked while it computes, which would stop the server's event loop, and
its drivers for GPUs and NPUs are native code that may crash. This file runs as a script beside the server and imports
nothing of it::

    module_process.py FILE DEVICE THREADS [WEIGHT_CACHE]

``DEVICE`` is ``cpu``, ``gpu`` or ``npu``. Both ways a message is two lengths (4 bytes each, little endian), a head in
JSON and the bytes of its tensors behind each other. The first one from here is ``{"device", "runner"}`` when the model
is loaded. A request is ``{"signature", "inputs": [{"dtype", "shape"}]}`` in the order of the signature, its answer
``{"outputs": [{"dtype", "shape"}]}``. ``{"error"}`` in place of an answer says what failed; after it the process goes
on, but for one at the start. It ends when stdin does, so it cannot outlive the server.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Sequence
from typing import IO, Any, Protocol

import numpy as np

LENGTHS = struct.Struct("<II")
_CARRIED = ("float32", "float16", "int32", "int8", "uint8", "bool")
"""Types of the tensors that CompiledModel can be given and asked for in Python."""


def write(pipe: IO[bytes], head: dict[str, Any], tensors: Sequence[Any] = ()) -> None:
    """Send one message. Raises :class:`OSError`."""
    told = json.dumps(head).encode()
    data = [np.ascontiguousarray(one) for one in tensors]
    pipe.write(LENGTHS.pack(len(told), sum(one.nbytes for one in data)) + told)
    for one in data:
        pipe.write(one.data.cast("B") if one.nbytes else b"")
    pipe.flush()


def read(pipe: IO[bytes], rows: str) -> tuple[dict[str, Any], list[Any]] | None:
    """The next message, with the tensors that its field ``rows`` tells; ``None`` at the end of the stream."""
    begin = pipe.read(LENGTHS.size)
    if len(begin) < LENGTHS.size:
        return None
    sizes = LENGTHS.unpack(begin)
    told, data = pipe.read(sizes[0]), pipe.read(sizes[1])
    if len(told) + len(data) < sum(sizes):
        return None
    head: dict[str, Any] = json.loads(told)
    tensors, place = [], 0
    for row in head.get(rows, ()):
        dtype = np.dtype(row["dtype"])
        count = int(np.prod(row["shape"], dtype=np.int64))
        tensors.append(np.frombuffer(data, dtype, count, place).reshape(row["shape"]))
        place += count * dtype.itemsize
    return head, tensors


def row_of(tensor: Any) -> dict[str, Any]:
    """Type and shape of a tensor, for a head."""
    return {"dtype": tensor.dtype.str, "shape": list(tensor.shape)}


class Runner(Protocol):
    """What computes."""

    name: str

    def run(self, signature: int, inputs: list[Any]) -> list[Any]:
        """The outputs, in the order of the signature."""
        ...


class Compiled:
    """LiteRT's CompiledModel: XNNPACK on the processor; what a GPU cannot do, the processor does."""

    name = "compiled model"

    def __init__(self, file: str, device: str, threads: int, cache: str) -> None:
        from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, GpuOptions, HardwareAccelerator, Options

        where = {
            "cpu": HardwareAccelerator.CPU,
            "gpu": HardwareAccelerator.GPU | HardwareAccelerator.CPU,
            "npu": HardwareAccelerator.NPU,  # alone: beside the processor it would fall back without a word
        }[device]
        options = Options(
            hardware_accelerators=where,
            cpu_options=CpuOptions(num_threads=threads, xnnpack_weight_cache_path=cache),
            gpu_options=GpuOptions(enforce_f32=True),
        )
        self._model = CompiledModel.from_file(file, options=options)
        self._keys = list(self._model.get_signature_list())
        self._buffers: dict[int, tuple[list[Any], list[Any]]] = {}
        self._shapes: dict[int, list[list[int]]] = {
            n: [list(one["shape"]) for one in self._details(n, inputs=True)] for n in range(len(self._keys))
        }
        carried = [
            one["dtype"] for n in self._shapes for into in (True, False) for one in self._details(n, inputs=into)
        ]
        if other := [kind for kind in carried if kind not in _CARRIED]:
            raise TypeError(f"CompiledModel cannot hand over {other[0]}")

    def _details(self, signature: int, *, inputs: bool) -> list[dict[str, Any]]:
        key = self._keys[signature]
        names = self._model.get_signature_list()[key]["inputs" if inputs else "outputs"]
        told = self._model.get_input_tensor_details(key) if inputs else self._model.get_output_tensor_details(key)
        return [told[name] for name in names]

    def run(self, signature: int, inputs: list[Any]) -> list[Any]:
        """See :class:`Runner`."""
        model, shapes = self._model, self._shapes[signature]
        for n, one in enumerate(inputs):
            if list(one.shape) != shapes[n]:
                model.resize_input_tensor(n, list(one.shape), signature)
                shapes[n] = list(one.shape)
                self._buffers.pop(signature, None)
        if signature not in self._buffers:
            self._buffers[signature] = model.create_input_buffers(signature), model.create_output_buffers(signature)
        into, out = self._buffers[signature]
        for buffer, one, told in zip(into, inputs, self._details(signature, inputs=True), strict=True):
            if one.dtype != np.dtype(told["dtype"]) or list(one.shape) != list(told["shape"]):
                raise TypeError(f"{told['name']} takes {told['dtype']} {told['shape']}")  # LiteRT itself does not check
            buffer.write(one)
        model.run_by_index(signature, into, out)
        told_outputs = self._details(signature, inputs=False)
        return [
            buffer.read(int(np.prod(told["shape"], dtype=np.int64)), np.dtype(told["dtype"])).reshape(told["shape"])
            for buffer, told in zip(out, told_outputs, strict=True)
        ]


class Interpreted:
    """LiteRT's interpreter, on the processor: for types that CompiledModel cannot hand over."""

    name = "interpreter"

    def __init__(self, file: str, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._model = Interpreter(file, num_threads=threads)
        self._signatures = self._model.get_signature_list()
        self._model.allocate_tensors()

    def run(self, signature: int, inputs: list[Any]) -> list[Any]:
        """See :class:`Runner`."""
        if self._signatures:
            key = list(self._signatures)[signature]
            names = self._signatures[key]
            runner = self._model.get_signature_runner(key)
            done = runner(**dict(zip(names["inputs"], inputs, strict=True)))
            return [done[name] for name in names["outputs"]]
        model = self._model
        for told, one in zip(model.get_input_details(), inputs, strict=True):
            if list(told["shape"]) != list(one.shape):
                model.resize_tensor_input(told["index"], list(one.shape))
        model.allocate_tensors()
        for told, one in zip(model.get_input_details(), inputs, strict=True):
            model.set_tensor(told["index"], one)
        model.invoke()
        return [model.get_tensor(told["index"]) for told in model.get_output_details()]


def load(file: str, device: str, threads: int, cache: str) -> Runner:
    """The model, ready to compute."""
    try:
        return Compiled(file, device, threads, cache)
    except TypeError:
        if device != "cpu":
            raise
        return Interpreted(file, threads)


def main(arguments: list[str]) -> int:
    """Serve one model until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process in time
    told = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # native code that prints does not get between the messages
    file, device, threads, *cache = arguments
    try:
        runner = load(file, device, int(threads), *(cache or [""]))
    except Exception as error:  # noqa: BLE001 - told to the server
        write(told, {"error": _words(error)})
        return 1
    write(told, {"device": device, "runner": runner.name})
    while (request := read(sys.stdin.buffer, "inputs")) is not None:
        head, inputs = request
        try:
            outputs = runner.run(head["signature"], inputs)
        except Exception as error:  # noqa: BLE001 - told to the server
            write(told, {"error": _words(error)})
        else:
            write(told, {"outputs": [row_of(one) for one in outputs]}, outputs)
    return 0


def _words(error: Exception) -> str:
    lines = [line.strip(" └") for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
