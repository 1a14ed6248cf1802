"""TFLite files as objects to be changed, and back."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT, TensorT


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


def shape_of(tensor: "TensorT") -> list[int]:
    """Length of each axis; empty for one number, whose shape may be left out."""
    return [] if tensor.shape is None else [int(side) for side in tensor.shape]


def add_shape(model: "ModelT", tensor: int) -> int:
    """Index of a new constant of the first graph, the shape of one of its tensors (int32)."""
    from ai_edge_litert.schema_py_generated import BufferT, TensorT, TensorType

    tensors = model.subgraphs[0].tensors
    shape = shape_of(tensors[tensor])
    buffer, constant = BufferT(), TensorT()
    buffer.data = np.array(shape, np.int32).view(np.uint8)
    model.buffers.append(buffer)
    constant.name, constant.shape = tensors[tensor].name + b"/shape", [len(shape)]
    constant.type, constant.buffer = TensorType.INT32, len(model.buffers) - 1
    tensors.append(constant)
    return len(tensors) - 1
