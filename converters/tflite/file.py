"""TFLite files as objects to be changed, and back."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT


def read_model(content: bytes) -> "ModelT":
    """The flatbuffer as an object tree."""
    from ai_edge_litert.tools.flatbuffer_utils import read_model_from_bytearray

    return read_model_from_bytearray(bytearray(content))


def write_model(model: "ModelT") -> bytes:
    """The object tree as a flatbuffer."""
    from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray

    for buffer in model.buffers:
        if buffer.data is not None:
            # Anything but an array is packed byte by byte: a minute instead of a moment.
            buffer.data = np.frombuffer(bytes(buffer.data), np.uint8)
    return bytes(convert_object_to_bytearray(model))
