"""A runner asked as an app asks a file that lays its photos and prompts into the same arrays again.

Beside a photo the frame holds something, and what was given must lie there unchanged afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from mobilesam.bundle.contract import Component
from mobilesam.errors import BundleError
from mobilesam.runtimes.base import Arrays, BundleRunner, Decoded

WHITE = 255.0
"""Of a pixel beside the photo: furthest from the black that is easiest to get right."""


def photo_inputs(runner: BundleRunner, rgb: np.ndarray) -> dict[str, np.ndarray]:
    """The encoder's inputs for an image HxWx3 uint8 RGB.

    Where the graph makes zeros of what is beside the photo, it is white there. Of variant ``uint8``
    it is so already.
    """
    inputs = runner.prepare_image(rgb)
    if runner.contract.input_variant != "pixels" or "valid_size" not in inputs:
        return inputs
    image = inputs["image"].copy()
    height, width = (int(side) for side in inputs["valid_size"])
    image[:, :, height:] = image[:, :, :, width:] = WHITE
    return inputs | {"image": image}


def encode(runner: BundleRunner, rgb: np.ndarray) -> np.ndarray:
    """Image HxWx3 uint8 RGB to image embedding [1, 256, S/16, S/16] float32.

    Raises:
        BundleError: the file writes into its inputs.
    """
    inputs = photo_inputs(runner, rgb)
    with _unwritten(runner, "encoder", inputs):
        return runner.run("encoder", inputs)["image_embeddings"]


def decode(runner: BundleRunner, embedding: np.ndarray, prompt: Arrays) -> Decoded:
    """Image embedding and the decoder's other inputs to the masks.

    Raises:
        BundleError: the file writes into its inputs, or its masks are not of the photo's size.
    """
    with _unwritten(runner, "decoder", {"image_embeddings": embedding, **prompt}):
        return runner.decode_prepared(embedding, prompt)


@contextmanager
def _unwritten(runner: BundleRunner, component: Component, inputs: Arrays) -> Iterator[None]:
    before = {name: array.copy() for name, array in inputs.items()}
    yield
    for name, array in inputs.items():
        if not np.array_equal(array, before[name], equal_nan=True):
            raise BundleError(
                f"the {component} of {runner.bundle.path} writes into its input '{name}', which an "
                "app may use again: export the bundle again"
            )
