"""One TFLite file on LiteRT's GPU accelerator, in a process of its own.

The accelerator crashes on files that it cannot take, and the dynamic linker finds a Vulkan driver
only where it is told when a process begins. Started by :mod:`.litert_gpu` with the number of a
socket, over which it answers one message after the other: a :class:`Job`, then arrays.
"""

import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.environment import Environment
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.options import GpuOptions, Options

TIMEOUT_S = 1800.0
"""After which an answer is given up; one photo at 1024 takes a minute on an idle core."""

_STUCK = "Failed to lock"
"""Of the message with which LiteRT stops to wait for the GPU, after two minutes."""


class Job(NamedTuple):
    """What is to be run: a file, the name of its signature, and whether float32 is enforced."""

    path: str
    signature: str
    float32: bool


class Opened(NamedTuple):
    """Shape and dtype of each tensor of a signature, by name.

    Attributes:
        signatures: names of all there are; without the job's among them, the rest is empty.
        accelerated: whether the whole graph runs on the GPU.
    """

    signatures: list[str]
    inputs: dict[str, tuple[tuple[int, ...], str]]
    outputs: dict[str, tuple[tuple[int, ...], str]]
    accelerated: bool


READ, COMPILED = "read", "compiled"
"""What is told while a job is opened: the CPU's interpreter could read the file; all is ready."""


class Accelerated:
    """A file compiled for the GPU alone.

    Args:
        dtypes: of its outputs, by name.
    """

    def __init__(self, job: Job, dtypes: Mapping[str, str]) -> None:
        self._dtypes = dtypes
        self._signature = job.signature
        options = Options(
            hardware_accelerators=HardwareAccelerator.GPU,
            gpu_options=GpuOptions(enforce_f32=job.float32),
        )
        self._model = CompiledModel.from_file(
            job.path, environment=Environment.create(), options=options
        )
        self.whole = self._model.is_fully_accelerated()
        self._inputs = self._model.get_input_tensor_details(job.signature)
        self._outputs = self._model.get_output_tensor_details(job.signature)

    def run(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answers of the signature.

        Raises:
            TimeoutError: after TIMEOUT_S.
        """
        model, signature = self._model, self._signature
        inputs = {name: model.create_input_buffer_by_name(signature, name) for name in self._inputs}
        outputs = {n: model.create_output_buffer_by_name(signature, n) for n in self._outputs}
        for name, buffer in inputs.items():
            buffer.write(arrays[name])
        model.run_by_name(signature, inputs, outputs)
        self._wait()
        found = {}
        for name, buffer in outputs.items():
            shape = tuple(int(side) for side in self._outputs[name]["shape"])
            values = buffer.read(int(np.prod(shape)), self._dtypes[name])
            found[name] = np.array(values, self._dtypes[name]).reshape(shape)
        return found

    def _wait(self) -> None:
        """Return when the GPU has done what it was given.

        A buffer's read waits for that, but for two minutes only, and leaves the buffer locked for
        good. An output that was not read in time would be lost, another buffer is not.
        """
        name = min(self._inputs, key=lambda name: int(np.prod(self._inputs[name]["shape"])))
        size = int(np.prod(self._inputs[name]["shape"]))
        begun = time.monotonic()
        while True:
            buffer = self._model.create_input_buffer_by_name(self._signature, name)
            try:
                buffer.write(np.zeros(size, np.float32))
                buffer.read(size, np.float32)
                return
            except RuntimeError as error:
                if _STUCK not in str(error):
                    raise
            if time.monotonic() - begun > TIMEOUT_S:
                raise TimeoutError(f"the GPU was not done after {TIMEOUT_S:g} s")


def opened(job: Job, connection: Connection) -> tuple[Accelerated | None, Opened]:
    """A file looked at on the CPU, then compiled for the GPU, and what it declares."""
    reader = Interpreter(model_path=job.path)
    signatures = list(reader.get_signature_list())
    connection.send(READ)
    if job.signature not in signatures:
        return None, Opened(signatures, {}, {}, False)
    runner = reader.get_signature_runner(job.signature)
    types = _types(runner.get_input_details()), _types(runner.get_output_details())
    model = Accelerated(job, {name: dtype for name, (_, dtype) in types[1].items()})
    return model, Opened(signatures, *types, model.whole)


def _types(details: dict[str, Any]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {
        name: (tuple(int(side) for side in each["shape"]), np.dtype(each["dtype"]).name)
        for name, each in details.items()
    }


def serve(connection: Connection) -> None:
    """Answer until the other side is gone. An error is answered with its words."""
    model = None
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        try:
            if isinstance(question, Job):
                model, answer = opened(question, connection)
                connection.send((COMPILED, answer))
            else:
                assert model is not None
                connection.send((COMPILED, model.run(question)))
        except Exception as error:  # native code raises types of its own
            connection.send(("error", str(error) or type(error).__name__))


if __name__ == "__main__":
    # Messages are of the module's classes, and not of those of a script.
    from mobilesam.runtimes import gpu_worker

    gpu_worker.serve(Connection(int(sys.argv[1])))
