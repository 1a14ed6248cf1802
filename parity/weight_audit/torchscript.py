"""Constants of a frozen TorchScript program, packed int8 layers unpacked.

A ``.ptl`` file holds the program twice, for both of PyTorch's interpreters, with one copy of the
tensors: they are read by way of the first.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mobilesam.errors import BundleError
from mobilesam.runtimes.checked import first_line
from parity.weight_audit.constants import Constant

PACKED = "LinearPackedParamsBase"
"""In the name of the type of an int8 layer's weight and bias."""


def read_constants(path: Path) -> list[Constant]:
    """The floating-point constants that a program's operations compute with.

    Raises:
        BundleError: the file cannot be read.
    """
    try:
        graph = torch.jit.load(str(path), map_location="cpu").graph
        return list(_constants(graph))
    except Exception as error:  # torch raises RuntimeError and others of a damaged archive
        raise BundleError(
            f"the constants of {path} cannot be read ({first_line(error)}), export the bundle again"
        ) from error


def _constants(graph: Any) -> Iterator[Constant]:
    taken: set[str] = set()
    for place, node in enumerate(graph.nodes()):
        for position, given in enumerate(node.inputs()):
            source, name = given.node(), given.debugName()
            if source.kind() != "prim::Constant" or name in taken:
                continue
            taken.add(name)
            if PACKED in str(given.type()):
                yield from _unpacked(given.toIValue(), name, place)
                continue
            value = given.toIValue()
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                reader = f"{node.kind()} {position}"
                values = value.detach().numpy()
                yield Constant(name, values, np.zeros(1), place, reader=reader)


def _unpacked(layer: Any, name: str, place: int) -> Iterator[Constant]:
    """Weight and bias of an int8 layer."""
    weight, bias = torch.ops.quantized.linear_unpack(layer)
    if weight.qscheme() == torch.per_channel_affine:
        scale = weight.q_per_channel_scales().numpy().reshape(-1, 1)
    else:
        scale = np.full((1, 1), weight.q_scale())
    values = weight.dequantize().numpy()
    rounding = np.asarray(scale / 2, np.float32)
    yield Constant(f"{name}.weight", values, rounding, place, reader=PACKED)
    if bias is not None:
        yield Constant(f"{name}.bias", bias.detach().numpy(), np.zeros(1), place)
