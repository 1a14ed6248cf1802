"""Constants reach no axis that LiteRT's GPU accelerator takes for the batch."""

import numpy as np
import pytest

from converters.tflite.broadcasting import align_constants
from converters.tflite.file import write_model

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
litert = pytest.importorskip("ai_edge_litert.interpreter")

Shape = tuple[int, ...]


def file_of(computed: Shape, constant: Shape, *, constant_first: bool) -> tuple[bytes, np.ndarray]:
    """A file that subtracts, and its constant."""
    values = np.random.default_rng(0).standard_normal(constant).astype(np.float32)
    names = ("constant", "x") if constant_first else ("x", "constant")
    shapes = {"x": computed, "constant": constant, "y": np.broadcast_shapes(computed, constant)}
    stored = schema.BufferT()
    stored.data = np.frombuffer(values.tobytes(), np.uint8)
    tensors = []
    for name in (*names, "y"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name.encode(), list(shapes[name])
        tensor.type, tensor.buffer = schema.TensorType.FLOAT32, int(name == "constant")
        tensors.append(tensor)
    operator, code = schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SUB
    code.version = 1
    operator.inputs, operator.outputs = [0, 1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.SubOptions
    operator.builtinOptions = schema.SubOptionsT()
    graph, model = schema.SubGraphT(), schema.ModelT()
    graph.name, graph.tensors, graph.operators = b"main", tensors, [operator]
    graph.inputs, graph.outputs = [names.index("x")], [2]
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT(), stored]
    return write_model(model), values


def answer(content: bytes, x: np.ndarray) -> tuple[np.ndarray, list[tuple[str, list[Shape]]]]:
    """What a file makes of x, and its ops with the shapes of their inputs."""
    found = litert.Interpreter(model_content=content)
    found.allocate_tensors()
    found.set_tensor(found.get_input_details()[0]["index"], x)
    found.invoke()
    shapes = {t["index"]: tuple(map(int, t["shape"])) for t in found.get_tensor_details()}
    plain = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    bare = litert.Interpreter(model_content=content, experimental_op_resolver_type=plain)
    ops = [(op["op_name"], [shapes[i] for i in op["inputs"]]) for op in bare._get_ops_details()]
    return found.get_tensor(found.get_output_details()[0]["index"]), ops


@pytest.mark.parametrize("constant_first", [False, True])
@pytest.mark.parametrize(
    ("computed", "constant"),
    [
        ((2, 8, 4), (1, 2, 8, 4)),
        ((2, 8, 4), (2, 8, 4)),
        ((1, 8, 4), (2, 8, 4)),
        ((8, 4), (1, 8, 4)),
        ((8, 4), (8, 1)),
        ((8,), (8,)),
        ((1,), (8,)),
    ],
)
def test_a_constant_that_reaches_the_first_axis_gets_four(
    computed: Shape, constant: Shape, constant_first: bool
) -> None:
    content, values = file_of(computed, constant, constant_first=constant_first)
    x = np.random.default_rng(1).standard_normal(computed).astype(np.float32)
    mended = align_constants(content)
    found, ops = answer(mended, x)
    assert np.array_equal(found, values - x if constant_first else x - values)
    assert found.shape == np.broadcast_shapes(computed, constant)
    (shapes,) = (shapes for name, shapes in ops if name == "SUB")
    assert len(shapes[1 if constant_first else 0]) == 4
    assert align_constants(mended) == mended


@pytest.mark.parametrize(
    ("computed", "constant"),
    [((2, 8, 4), (1, 8, 4)), ((2, 8, 4), (4,)), ((8, 4), (1, 4)), ((3, 2, 8, 4), (3, 2, 8, 4))],
)
def test_other_files_are_left_as_they_are(computed: Shape, constant: Shape) -> None:
    content, _ = file_of(computed, constant, constant_first=False)
    assert align_constants(content) is content
