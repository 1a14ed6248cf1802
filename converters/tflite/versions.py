"""Operator versions that say what a TFLite file needs, so that an older runtime refuses it.

A runtime opens a file only if it has every operator in the version that the file asks for.
ai-edge-quantizer changes an operator's types and leaves its version as it was, so that a runtime
whose kernel does not know those types opens the file, and crashes or gives wrong masks. Which
runtimes do was measured with :mod:`benchmarks.old_runtimes`; which has which version of an
operator is in TensorFlow's and LiteRT's ``tools/versioning/runtime_version.cc``.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from converters.tflite.file import builtin_of, read_model, write_model

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT, OperatorT

RUNTIME_KEY = b"min_runtime_version"
RUNTIME_BYTES = 16
"""Size of that entry of a file's metadata: text, filled up with zeros."""


class Need(NamedTuple):
    """What a kind of operation needs of a runtime.

    Attributes:
        operator: whose version makes an older runtime refuse the file. It may be another than the
            operation's own, where that has had no new version since: then no operation uses it.
        version: of it.
        runtime: TFLite runtime that first has this version, numbered as TensorFlow is.
    """

    operator: str
    version: int
    runtime: str


BLOCKS = Need("FULLY_CONNECTED", 14, "2.21.0")
"""Weights with a scale for each block of inputs. LiteRT 2.1.0 has it; 2.0.3 and older crash or
compute garbage, all but 1.3.0."""

DYNAMIC = Need("FULLY_CONNECTED", 12, "2.17.0")
"""Float inputs beside integer weights with a scale for each output channel. LiteRT 1.0.1 has it;
tflite-runtime 2.14 takes the first channel's scale for all."""

SINCE_1_1 = Need("CAST", 7, "2.17.0")
"""Int16 inputs beside int8 weights, and convolutions of float inputs with int4 weights. LiteRT
1.1.2 has it; 1.0.1 computes garbage. The kernels have no later version of their own."""


def stamped(content: bytes) -> bytes:
    """A file whose operators and metadata ask for the oldest runtime that computes it rightly.

    A file without quantized operations is returned as it is.
    """
    model = read_model(content)
    needs: dict[Need, None] = {}
    for operator in model.subgraphs[0].operators:
        need = _need(model, operator)
        if need is not None:
            needs[need] = None
            if need.operator == _kind(model, operator):
                operator.opcodeIndex = _code(model, need)
    if not needs:
        return content
    for need in needs:
        _code(model, need)
    _state(model, max((need.runtime for need in needs), key=_numbers))
    return write_model(model)


def _need(model: "ModelT", operator: "OperatorT") -> Need | None:
    """What an operation needs; None: every runtime that has its operator computes it rightly."""
    from ai_edge_litert.schema_py_generated import BlockwiseQuantizationT, TensorType

    kind = _kind(model, operator)
    if kind not in ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"):
        return None
    data, weights = (model.subgraphs[0].tensors[index] for index in operator.inputs[:2])
    if data.type == TensorType.INT16:
        return SINCE_1_1
    if data.type != TensorType.FLOAT32 or weights.type == TensorType.FLOAT32:
        return None
    if kind != "FULLY_CONNECTED":
        return SINCE_1_1 if weights.type == TensorType.INT4 else None
    quantization = weights.quantization
    blocks = quantization and isinstance(quantization.details, BlockwiseQuantizationT)
    return BLOCKS if blocks else DYNAMIC


def _kind(model: "ModelT", operator: "OperatorT") -> str:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    names = {code: name for name, code in vars(BuiltinOperator).items() if isinstance(code, int)}
    code = model.operatorCodes[operator.opcodeIndex]
    return names[builtin_of(code)]


def _code(model: "ModelT", need: Need) -> int:
    """Place of an operator's version among the model's operator codes, added where it is not."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator, OperatorCodeT

    builtin = getattr(BuiltinOperator, need.operator)
    for place, code in enumerate(model.operatorCodes):
        if (code.builtinCode, code.version) == (builtin, need.version):
            return place
    added = OperatorCodeT()
    added.builtinCode = builtin
    # One byte, for readers that are older than the 127th operator.
    added.deprecatedBuiltinCode = min(builtin, BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    added.version = need.version
    model.operatorCodes.append(added)
    return len(model.operatorCodes) - 1


def _state(model: "ModelT", runtime: str) -> None:
    """Raise what the file's metadata states as its least runtime."""
    for entry in model.metadata or ():
        if entry.name == RUNTIME_KEY:
            buffer = model.buffers[entry.buffer]
            stated = bytes(buffer.data).rstrip(b"\0").decode()
            text = max(stated, runtime, key=_numbers).encode()
            buffer.data = np.frombuffer(text.ljust(RUNTIME_BYTES, b"\0"), np.uint8)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
