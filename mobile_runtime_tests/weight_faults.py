"""Damage to the weights in a file of any format and scheme, written over the file's own bytes."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mobile_runtime_tests.stored_values import OpenedFile, Stored, constants_of
from mobilesam.bundle.contract import Component
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from parity.weight_audit.matching import Found

WEIGHT = "mask_decoder.transformer.layers.1.mlp.lin2.weight"
OTHER_WEIGHT = "mask_decoder.transformer.layers.0.mlp.lin2.weight"
SQUARE = "mask_decoder.transformer.layers.1.self_attn.q_proj.weight"
BIAS = "mask_decoder.transformer.layers.1.mlp.lin1.bias"
IOU_BIAS = "mask_decoder.iou_prediction_head.layers.2.bias"
QKV = "image_encoder.layers.3.blocks.0.attn.qkv.weight"
TABLES = "attention_biases"

DAMAGED = 4096
"""Bytes, or a quarter of the constant where it is smaller."""


class Weights:
    """An opened file with the constants that hold the model's parts."""

    def __init__(self, file: OpenedFile, found: Mapping[str, Found], model: MobileSAM) -> None:
        self.file, self.found, self._model = file, found, model

    def part(self, name: str) -> Found:
        """What holds the part whose name begins so."""
        for part, found in self.found.items():
            if part.startswith(name):
                return found
        raise LookupError(f"no constant holds {name} alone")

    def stored(self, name: str) -> Stored:
        """Where it lies."""
        return self.file.find(self.part(name).constant)

    def tables(self) -> list[Stored]:
        """Where the attention biases lie, as they are looked up or as the model has them."""
        made = []
        for name, found in self.found.items():
            if TABLES not in name:
                continue
            try:
                made.append(self.file.find(found.constant))
            except LookupError:
                parameter = self._model.get_parameter(found.part.parameters[0])
                made.append(self.file.find_array(parameter.detach().numpy()))
        return made


def _damaged(weights: Weights, name: str = WEIGHT) -> None:
    content = weights.stored(name).data.reshape(-1).view(np.uint8)
    count = min(DAMAGED, len(content) // 4)
    part = content[len(content) // 8 :][:count]
    part[:] = np.random.default_rng(0).permutation(part)


def _damaged_encoder(weights: Weights) -> None:
    _damaged(weights, QKV)


def _zeroed_bias(weights: Weights) -> None:
    weights.stored(BIAS).data[...] = 0


def _zeroed_weight(weights: Weights) -> None:
    weights.stored(WEIGHT).data[...] = 0


def _doubled_channel(weights: Weights) -> None:
    """Of a palette, its largest entry."""
    found, stored = weights.part(WEIGHT), weights.stored(WEIGHT)
    if stored.step is None:
        channels = found.part.values.shape[found.part.axis]
        np.moveaxis(stored.data, stored.data.shape.index(channels), 0)[3] *= 2
        return
    steps = stored.step.reshape(-1)
    steps[np.argmax(steps) if _is_palette(steps) else 3] *= 2


def _flipped_signs(weights: Weights) -> None:
    """Of every tenth value; of packed numbers every bit."""
    flat = weights.stored(WEIGHT).data.reshape(-1)
    flat[::10] = ~flat[::10] if flat.dtype.kind == "u" else -flat[::10]


def _infinite(weights: Weights) -> None:
    """One value, or the scale of one channel."""
    stored = weights.stored(WEIGHT)
    where = stored.data if stored.step is None else stored.step
    where.reshape(-1)[1] = np.inf


def _exchanged(weights: Weights) -> None:
    one, other = weights.stored(WEIGHT), weights.stored(OTHER_WEIGHT)
    for a, b in ((one.data, other.data), (one.step, other.step)):
        if a is not None and b is not None:
            a[...], b[...] = b.copy(), a.copy()


def _transposed(weights: Weights) -> None:
    data = weights.stored(SQUARE).data
    if data.ndim != 2 or data.shape[0] != data.shape[1]:
        raise LookupError(f"{SQUARE} is packed")
    data[...] = data.T.copy()


def _zeroed_tables(weights: Weights) -> None:
    for table in weights.tables():
        table.data[...] = 0


def _iou_head_off(weights: Weights) -> None:
    stored, constant = weights.stored(IOU_BIAS), weights.part(IOU_BIAS).constant
    if stored.data.dtype.kind == "f":
        stored.data.reshape(-1)[1] += 0.06
    else:
        step = 2 * np.broadcast_to(constant.rounding, constant.values.shape).reshape(-1)[1]
        stored.data.reshape(-1)[1] += round(0.06 / float(step))


def _is_palette(steps: np.ndarray) -> bool:
    return bool(np.any(steps < 0))


WEIGHT_FAULTS: Mapping[str, tuple[Component, Callable[[Weights], None]]] = {
    "4 KB of damage inside a weight of the decoder": ("decoder", _damaged),
    "a quarter of an encoder's weight damaged": ("encoder", _damaged_encoder),
    "one bias zeroed": ("decoder", _zeroed_bias),
    "one weight zeroed": ("decoder", _zeroed_weight),
    "the scale of one channel doubled": ("decoder", _doubled_channel),
    "every tenth sign flipped": ("decoder", _flipped_signs),
    "one value infinite": ("decoder", _infinite),
    "two layers exchanged": ("decoder", _exchanged),
    "a square matrix transposed": ("decoder", _transposed),
    "every table of attention biases zeroed": ("encoder", _zeroed_tables),
    "the IoU head's bias off by 0.06": ("decoder", _iou_head_off),
}
"""By name: the component, and what writes the fault.

Raises ``LookupError`` where a file does not store the tensor as an array of its own.
"""


def weight_fault(bundle: Bundle, model: MobileSAM, name: str) -> Callable[[Path], None]:
    """An edit of a component's file that plants a fault of :data:`WEIGHT_FAULTS`."""
    component, plant = WEIGHT_FAULTS[name]
    found = constants_of(bundle, model, component)

    def edit(path: Path) -> None:
        file = OpenedFile(path)
        plant(Weights(file, found, model))
        file.save()

    return edit
