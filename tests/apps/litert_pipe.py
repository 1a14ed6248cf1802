"""``python -m tests.apps.litert_pipe BUNDLE``: a bundle's files run for another process's tests.

A question is a line of JSON, ``{"component": …, "inputs": [{"name": …, "shape": […], "dtype": …},
…]}``, and then the inputs' values in that order, little-endian float32 or uint8. The answer is
``{"outputs": […]}`` and their values, in the same way. It ends with its input.
"""

import json
import sys
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mobilesam.runtimes import open_runner
from mobilesam.runtimes.bundle import Bundle


def serve(folder: Path, questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the questions end."""
    bundle = Bundle(folder)
    # A runner's outputs are float32, whatever the file has.
    dtypes = {
        name: {tensor.name: np.dtype(tensor.dtype).newbyteorder("<") for tensor in own.outputs}
        for name, own in bundle.manifest.signatures.items()
    }
    with open_runner(bundle, "litert") as runner:
        while line := questions.readline():
            asked = json.loads(line)
            inputs = {}
            for each in asked["inputs"]:
                dtype = np.dtype(each["dtype"]).newbyteorder("<")
                content = questions.read(dtype.itemsize * prod(each["shape"]))
                inputs[each["name"]] = np.frombuffer(content, dtype).reshape(each["shape"])
            outputs = {
                name: value.astype(dtypes[asked["component"]][name])
                for name, value in runner.run(asked["component"], inputs).items()
            }
            named = [
                {"name": name, "shape": value.shape, "dtype": value.dtype.name}
                for name, value in outputs.items()
            ]
            answers.write(json.dumps({"outputs": named}).encode() + b"\n")
            for value in outputs.values():
                answers.write(value.tobytes())
            answers.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
