"""Int8 schemes of ONNX files: what each makes of the float32 program.

Weights are constants of more than ``SMALL`` elements and more than one dimension: int8,
symmetric, with one float32 scale for each output channel. Biases, norms and what is small stay
float32, and so the positional encoding's matrix. :mod:`converters.onnx.tables` has already written
what is larger than it need be in fewer bytes.

A weight that is multiplied in float32 is written as ``Cast`` and ``Mul``, which every runtime
computes once, at loading. ONNX Runtime 1.31 keeps ``DequantizeLinear``, and makes its own
``MatMulNBits`` of it and a ``MatMul``: 0.8 times the speed of float32, against 1.0 times.

Measured with earlier demo weights at 512 (encoder: relative L2 of the embedding, speed against
float32 on one thread of an x86 with VNNI; decoder: mean mask IoU, 5th percentile in brackets):

- w8d, linear layers alone: 1.3 times as fast. With convolutions, as ``ConvInteger``: 0.4 times.
- w8a8, linear layers alone: 0.005, 1.3 times. Convolutions after the first stage too: 0.020, 1.3 to
  1.4 times; all but the first: 0.028, 1.25 times.
- ranges of w8a8 by min-max: 0.983 (0.957); the 99.999th percentile, 0.984 (0.960), would hold every
  activation of a photo in memory; entropy: 0.966 (0.889).
- w8a8 with either direction of the decoder's cross-attention in float32: 0.984 and 0.985.

Source: ONNX operator set 20; onnxruntime.quantization.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from converters.base import Conversion
from converters.schemes import SMALL
from converters.spec import MIN_MAX
from mobilesam.errors import ExportError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def quantize(model: "ModelProto", job: Conversion) -> "ModelProto":
    """The program of the job's scheme, made of the float32 program, which may be changed.

    Raises:
        ExportError: the scheme needs a calibration and the job has none.
    """
    constants = {constant.name for constant in model.graph.initializer}
    # What the exporter says of constants would not hold after their shapes change.
    declared = [value for value in model.graph.value_info if value.name not in constants]
    del model.graph.value_info[:]
    model.graph.value_info.extend(declared)
    made = SCHEMES[job.scheme](model, job)
    _store_int8(made)
    return made


def _weights_alone(model: "ModelProto", job: Conversion) -> "ModelProto":
    return model


def _dynamic(model: "ModelProto", job: Conversion) -> "ModelProto":
    """Linear layers as ``MatMulInteger``; the range of their input is found at each run."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    return _through_files(
        model,
        lambda source, target: quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=_linear_layers(model),
            per_channel=True,
            weight_type=QuantType.QInt8,
        ),
    )


def _static(model: "ModelProto", job: Conversion) -> "ModelProto":
    """``QuantizeLinear`` and ``DequantizeLinear`` around the input of linear layers."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantType,
        quantize_static,
    )

    if job.calibration is None:
        raise ExportError(f"scheme '{job.scheme}' needs photos to be calibrated on")

    class Samples(CalibrationDataReader):
        def __init__(self, samples: Iterable[Mapping[str, np.ndarray]]) -> None:
            self.samples = iter(samples)

        def get_next(self) -> Mapping[str, np.ndarray] | None:
            return next(self.samples, None)

    methods = {MIN_MAX: CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy}
    method = methods[job.calibration.method]
    samples = Samples(job.calibration.samples(job.component))
    layers = _linear_layers(model, of_concatenations=False)
    _keep_biases_apart(model, layers)
    return _through_files(
        model,
        lambda source, target: quantize_static(
            source,
            target,
            samples,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=layers,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=method,
            # What a layer gives is added to, normalised or goes into a GELU: it stays float32.
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
        ),
    )


SCHEMES: Mapping[str, Callable[["ModelProto", Conversion], "ModelProto"]] = MappingProxyType(
    {"w8": _weights_alone, "w8d": _dynamic, "w8a8": _static}
)


def _linear_layers(model: "ModelProto", *, of_concatenations: bool = True) -> list[str]:
    """Names of the products of activations and a weight.

    Args:
        of_concatenations: also where the activations are a concatenation, which are the tokens of
            the first self-attention. OpenVINO 2026.4 moves a static quantization in front of it,
            with a zero point for each token, and then cannot compile the product.
    """
    # A constant of three axes is a table of positions, for which the runtime has no such kernel.
    weights = {
        c.name for c in model.graph.initializer if np.prod(c.dims) > SMALL and len(c.dims) == 2
    }
    joined = {name for n in model.graph.node if n.op_type == "Concat" for name in n.output}
    return [
        n.name
        for n in model.graph.node
        if n.op_type == "MatMul"
        and n.input[1] in weights
        and (of_concatenations or n.input[0] not in joined)
    ]


def _keep_biases_apart(model: "ModelProto", layers: list[str]) -> None:
    """Give the biases of layers a rank of three.

    ONNX Runtime makes a ``Gemm`` of ``MatMul`` and a bias of rank one, and leaves that in float32.
    """
    constants = {c.name: c for c in model.graph.initializer}
    products = {n.output[0] for n in model.graph.node if n.name in layers}
    for node in model.graph.node:
        if node.op_type == "Add" and products.intersection(node.input):
            for constant in (constants[name] for name in node.input if name in constants):
                if len(constant.dims) == 1:
                    constant.dims[:] = [1, 1, *constant.dims]


def _through_files(model: "ModelProto", change: Callable[[Path, Path], None]) -> "ModelProto":
    """Apply a change that reads a file and writes another.

    A library given a model would note how it was called, or leave files behind.
    """
    import onnx

    with tempfile.TemporaryDirectory(prefix="mobilesam-onnx-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save_model(model, str(source))
        change(source, target)
        return onnx.load(str(target))


def _store_int8(model: "ModelProto") -> None:
    """Store every weight that is still float32 as int8, in place.

    Its name goes to the product with the scales, so that what reads it stays as it is.
    """
    from onnx import TensorProto, helper, numpy_helper

    readers = {name: node for node in model.graph.node for name in node.input}
    nodes, constants = [], []
    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        if values.dtype != np.float32 or values.size <= SMALL or values.ndim < 2:
            constants.append(constant)
            continue
        name = constant.name
        whole, scales = rounded(values, channel_axis(readers[name]))
        constants.append(numpy_helper.from_array(whole, f"{name}_int8"))
        constants.append(numpy_helper.from_array(scales, f"{name}_scale"))
        steps = f"{name}_steps"
        nodes += [
            helper.make_node("Cast", [f"{name}_int8"], [steps], steps, to=TensorProto.FLOAT),
            helper.make_node("Mul", [steps, f"{name}_scale"], [name], f"{name}_from_int8"),
        ]
    nodes += model.graph.node
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(constants)
    model.graph.node.extend(nodes)


def rounded(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Int8 from -127 to 127 and the float32 scales that it is to be multiplied with.

    Args:
        values: float32, finite.
        axis: along it each index has its own scale; the scales have size 1 along the others.
    """
    others = tuple(i for i in range(values.ndim) if i != axis)
    peak = np.abs(values).max(axis=others, keepdims=True)
    # A channel of nothing but zeros needs a scale all the same.
    scales = np.where(peak > 0, peak / np.float32(127), np.float32(1)).astype(np.float32)
    return np.rint(values / scales).astype(np.int8), scales


def channel_axis(reader: "NodeProto") -> int:
    """Axis of the output channels of the weight that a node reads; 0 for a table."""
    if reader.op_type == "Gemm":
        return 0 if any(a.name == "transB" and a.i for a in reader.attribute) else 1
    return 1 if reader.op_type in ("MatMul", "ConvTranspose") else 0
