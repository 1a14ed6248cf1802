"""The tensors of SAM's own ONNX export, which annotation programs speak.

Names, shapes and conventions are those of segment-anything's ``SamOnnxModel`` with a single mask,
and of the encoder that samexporter writes with its preprocessing: the photo in, scaled to a longest
side of at most S; any number of points; the mask that SAM shows at the photo's own size.
"""

from dataclasses import replace

import numpy as np

from mobilesam.bundle.tensors import Signature, TensorSpec
from mobilesam.inference.transforms import Frame, resize_longest_side

SHOWN = "of the mask that SAM shows: for a lone point the best of three, else the single one"
"""Whose a decoder's answers are that chooses the mask itself."""


def sam_signature(own: Signature, image_size: int) -> Signature:
    """The component's function in this interface.

    Args:
        own: in this project's own interface.
        image_size: S.
    """
    if own.name == "encode":
        image = TensorSpec(
            "input_image",
            (image_size, image_size, 3),
            "float32",
            ("row", "column", "rgb"),
            f"RGB image, resized so that its longest side is {image_size} (bilinear, "
            "antialiased); values 0 to 255; the graph normalises and pads",
            open_axes=("row", "column"),
        )
        return replace(own, inputs=(image,))
    size = TensorSpec(
        "orig_im_size", (2,), "float32", ("height_width",), "height and width of the photo"
    )
    low_res, iou = own.outputs
    low = low_res.shape[-1]
    masks = TensorSpec(
        "masks",
        (1, 1, image_size, image_size),
        "float32",
        ("batch", "mask", "photo_row", "photo_column"),
        "logits at the photo's size; the mask is where they are greater than 0",
        open_axes=("photo_row", "photo_column"),
    )
    return replace(
        own,
        inputs=(*own.inputs, size),
        outputs=(
            masks,
            replace(iou, shape=(1, 1), meaning=f"predicted IoU {SHOWN}"),
            replace(low_res, shape=(1, 1, low, low), meaning=f"logits {SHOWN}"),
        ),
    )


def sam_image(image: np.ndarray, image_size: int) -> dict[str, np.ndarray]:
    """The encoder's input for an image HxWx3 uint8 RGB: hxwx3 float32, the longest side is S."""
    return {"input_image": resize_longest_side(image, image_size).astype(np.float32)}


def sam_prompt(inputs: dict[str, np.ndarray], frame: Frame) -> dict[str, np.ndarray]:
    """The decoder's inputs but for the embedding, of those of this project's own interface."""
    return inputs | {"orig_im_size": np.array(frame.original_size, np.float32)}
