"""Wrong scales and zero points of activations, written into files of calibrated schemes."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mobile_runtime_tests.planting import Package
from mobilesam.bundle.contract import Component
from mobilesam.runtimes.bundle import Bundle
from parity.activation_audit.activation import Activation
from parity.activation_audit.run import read_file
from parity.flatbuffer import root_of

Rounding = tuple[float, float]
"""Scale and zero point."""

Roundings = dict[str, Rounding]
"""By the name of the activation, as the audit gives it."""


def _one(change: Callable[[Activation], Rounding]) -> Callable[[list[Activation]], Roundings]:
    """Change the activation in the middle of those that layers read or give."""

    def changed(activations: list[Activation]) -> Roundings:
        beside_layers = [activation for activation in activations if activation.layers]
        chosen = beside_layers[len(beside_layers) // 2]
        return {chosen.name: change(chosen)}

    return changed


def _scaled(factor: float) -> Callable[[list[Activation]], Roundings]:
    return _one(lambda each: (each.scale * factor, each.zero_point))


def _shifted(by: int) -> Callable[[list[Activation]], Roundings]:
    """Up, or down where there is no room."""

    def change(each: Activation) -> Rounding:
        room = each.zero_point + by <= each.bounds[1]
        return each.scale, each.zero_point + (by if room else -by)

    return _one(change)


def _other_calibration(activations: list[Activation]) -> Roundings:
    """Ranges between half and twice as wide."""
    factors = 2 ** np.random.default_rng(0).uniform(-1, 1, len(activations))
    pairs = zip(activations, factors, strict=True)
    return {each.name: (each.scale * factor, each.zero_point) for each, factor in pairs}


def _exchanged(activations: list[Activation]) -> Roundings:
    """The widest range and the narrowest change places."""
    beside_layers = sorted((a for a in activations if a.layers), key=lambda each: each.scale)
    narrow, wide = beside_layers[0], beside_layers[-1]
    return {
        narrow.name: (wide.scale, wide.zero_point),
        wide.name: (narrow.scale, narrow.zero_point),
    }


ACTIVATION_FAULTS: Mapping[str, tuple[Component, Callable[[list[Activation]], Roundings]]] = {
    "one scale doubled": ("decoder", _scaled(2)),
    "one scale halved": ("decoder", _scaled(0.5)),
    "one scale of the encoder doubled": ("encoder", _scaled(2)),
    "one scale a tenth too large": ("decoder", _scaled(1.1)),
    "one zero point 20 off": ("decoder", _shifted(20)),
    "one zero point 128 off": ("encoder", _shifted(128)),
    "two scales and zero points exchanged": ("decoder", _exchanged),
    "ranges of another calibration": ("decoder", _other_calibration),
}
"""By name: the component, and what scales and zero points it gets."""


def activation_fault(bundle: Bundle, name: str) -> Callable[[Path], None]:
    """An edit of a component's file that plants a fault of :data:`ACTIVATION_FAULTS`."""
    component, change = ACTIVATION_FAULTS[name]
    roundings = change(read_file(bundle, bundle.runtimes[0], component))
    return partial(_WRITERS[bundle.manifest.target], roundings=roundings)


def _write_tflite(path: Path, roundings: Roundings) -> None:
    from converters.tflite.file import read_model, write_model

    model = read_model(path.read_bytes())
    for name, (scale, zero) in roundings.items():
        quantization = model.subgraphs[0].tensors[int(name.partition(":")[0])].quantization
        quantization.scale, quantization.zeroPoint = [scale], [int(zero)]
    path.write_bytes(write_model(model))


def _write_onnx(path: Path, roundings: Roundings) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    stored = {each.name: each for each in model.graph.initializer}
    for node in model.graph.node:
        for name, value in zip(node.input[1:], roundings.get(node.name, ()), strict=False):
            array = numpy_helper.to_array(stored[name])
            stored[name].CopyFrom(numpy_helper.from_array(np.array(value, array.dtype), name))
    onnx.save(model, str(path))


def _write_coreml(path: Path, roundings: Roundings) -> None:
    package = Package(path)
    for operation in package.computing():
        given = roundings.get(operation.outputs[0].name, ())
        for parameter, value in zip(("scale", "zero_point"), given, strict=False):
            constant = package.argument(operation, parameter)
            if constant is not None:
                _write_number(constant.attributes["val"], value)
    package.overwrite()


_MIL_BYTES = {10: np.float16, 21: np.int8, 31: np.uint8}
"""Dtypes whose small constants are bytes, by the number of the dtype in the program."""


def _write_number(value: Any, number: float) -> None:
    tensor, dtype = value.immediateValue.tensor, value.type.tensorType.dataType
    if dtype in _MIL_BYTES:
        tensor.bytes.values = np.array(number, _MIL_BYTES[dtype]).tobytes()
    else:
        tensor.floats.values[:] = [number]


def _write_executorch(path: Path, roundings: Roundings) -> None:
    """Over the numbers in the flatbuffers of XNNPACK's graphs, inside the program."""
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader
    from executorch.exir._serialize._program import deserialize_pte_binary

    content = bytearray(path.read_bytes())
    program = deserialize_pte_binary(bytes(content)).program
    for index, delegate in enumerate(program.execution_plan[0].delegates):
        blob = bytes(program.backend_delegate_data[delegate.processed.index].data)
        header = XNNHeader.from_bytes(blob[: XNNHeader.EXPECTED_LENGTH])
        start = content.index(blob) + header.flatbuffer_offset
        graph = root_of(blob[header.flatbuffer_offset :][: header.flatbuffer_size])
        for value in graph.tables(2):
            if value.number(0, "Uint8") != 2:
                continue
            tensor = value.table(1)
            name = f"delegate {index}, value {tensor.table(0).number(6)}"
            if name not in roundings:
                continue
            about = tensor.table(2)
            for field, number, dtype in zip((0, 1), roundings[name], ("<f4", "<i4"), strict=True):
                place = about._at(field)
                stored = np.array(number, dtype).tobytes()
                if place:
                    at = start + about._table.Pos + place
                    content[at : at + 4] = stored
                elif any(stored):
                    raise LookupError(f"{path.name} has no place for the zero point of {name}")
    path.write_bytes(bytes(content))


_WRITERS: Mapping[str, Callable[..., None]] = {
    "coreml": _write_coreml,
    "tflite": _write_tflite,
    "onnx": _write_onnx,
    "executorch": _write_executorch,
}
