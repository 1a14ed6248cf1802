"""Quantized TFLite files ask for a runtime that computes them rightly."""

import pytest

from converters.lookup import least_tested
from converters.schemes import MIXED, TARGETS
from converters.tflite import versions
from converters.tflite.file import read_model, write_model
from converters.tflite.versions import BLOCKS, DYNAMIC, SINCE_1_1, Need, stamped

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


def file_of(kind: str, data: str, weights: str, blocks: bool = False) -> bytes:
    """A file with one operation at version 1, which states runtime 2.10.0."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version = 3
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
    code.version = 1
    model.operatorCodes = [code]
    tensors = []
    for dtype in (data, weights, data):
        tensor = schema.TensorT()
        tensor.type, tensor.shape, tensor.buffer = getattr(schema.TensorType, dtype), [1, 4], 0
        tensors.append(tensor)
    if blocks:
        quantization = schema.QuantizationParametersT()
        quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
        quantization.details = schema.BlockwiseQuantizationT()
        tensors[1].quantization = quantization
    operator = schema.OperatorT()
    operator.inputs, operator.outputs, operator.opcodeIndex = [0, 1], [2], 0
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, [operator], [0], [2]
    stated = schema.BufferT()
    stated.data = b"2.10.0".ljust(versions.RUNTIME_BYTES, b"\0")
    model.buffers = [schema.BufferT(), stated]
    entry = schema.MetadataT()
    entry.name, entry.buffer = versions.RUNTIME_KEY, 1
    model.metadata, model.subgraphs = [entry], [graph]
    return write_model(model)


def asked(content: bytes) -> set[tuple[int, int]]:
    return {(code.builtinCode, code.version) for code in read_model(content).operatorCodes}


@pytest.mark.parametrize(
    ("kind", "data", "weights", "blocks", "need"),
    [
        ("FULLY_CONNECTED", "FLOAT32", "INT4", True, BLOCKS),
        ("FULLY_CONNECTED", "FLOAT32", "INT4", False, DYNAMIC),
        ("FULLY_CONNECTED", "FLOAT32", "INT8", False, DYNAMIC),
        ("FULLY_CONNECTED", "INT16", "INT8", False, SINCE_1_1),
        ("DEPTHWISE_CONV_2D", "INT16", "INT8", False, SINCE_1_1),
        ("CONV_2D", "FLOAT32", "INT4", False, SINCE_1_1),
    ],
)
def test_a_file_asks_for_what_its_operation_needs(
    kind: str, data: str, weights: str, blocks: bool, need: Need
) -> None:
    content = stamped(file_of(kind, data, weights, blocks))
    assert (getattr(schema.BuiltinOperator, need.operator), need.version) in asked(content)
    model = read_model(content)
    code = model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex]
    assert code.builtinCode == getattr(schema.BuiltinOperator, kind)
    stated = bytes(model.buffers[1].data)
    assert stated == need.runtime.encode().ljust(versions.RUNTIME_BYTES, b"\0")
    assert stamped(content) == content or asked(stamped(content)) == asked(content)


@pytest.mark.parametrize(
    ("kind", "data", "weights"),
    [
        ("FULLY_CONNECTED", "FLOAT32", "FLOAT32"),
        ("FULLY_CONNECTED", "INT8", "INT8"),
        ("CONV_2D", "FLOAT32", "INT8"),
    ],
)
def test_what_old_runtimes_compute_rightly_is_left_to_them(
    kind: str, data: str, weights: str
) -> None:
    content = file_of(kind, data, weights)
    assert stamped(content) == content


def test_every_scheme_states_its_least_tested_runtime() -> None:
    for target, row in TARGETS.items():
        for scheme in (*row.schemes, *([MIXED] if row.by_plan else [])):
            assert all(least_tested(target, scheme).values())
        for artefact in row.artefacts:
            assert set(artefact.least_tested) - {MIXED} == set(row.schemes)
