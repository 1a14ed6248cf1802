"""Int8 ONNX files: what is int8 in them, what is not, and what ONNX Runtime makes of them."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from converters.lookup import schemes_of
from converters.onnx.quantization import SCHEMES, channel_axis, quantize, rounded
from converters.onnx.tables import shrink_tables
from converters.schemes import SMALL, TARGETS
from converters.tables import distinct_columns
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.errors import ExportError
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from tests.specs import make_job

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

GetBundle = Callable[[str, str], Bundle]

RANDOM = np.random.default_rng(0)


def load(get: GetBundle, scheme: str, component: Component) -> Any:
    return onnx.load(str(get("onnx", scheme).file(component, "onnxruntime")))


def constants(model: Any) -> dict[str, np.ndarray]:
    return {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}


def optimized(path: Path, folder: Path) -> Counter[str]:
    """How often ONNX Runtime executes each type of op."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = onnx.load(options.optimized_model_filepath)
    return Counter(node.op_type for node in found.graph.node)


def test_every_scheme_but_the_float_ones_quantizes() -> None:
    assert set(schemes_of("onnx")) == {"fp32", "fp16", *SCHEMES}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_weight_is_int8_and_nothing_small_is(scheme: str, tiny_bundle: GetBundle) -> None:
    for component in COMPONENTS:
        found = constants(load(tiny_bundle, scheme, component))
        before = constants(load(tiny_bundle, "fp32", component))
        weights = {name: a for name, a in before.items() if a.size > SMALL and a.ndim > 1}
        whole = [a for a in found.values() if a.dtype == np.int8 and a.size > SMALL]
        tables = sum(f"{name}_table" in found for name in weights)
        assert len(whole) + tables + ("image_position" in weights) == len(weights)
        assert len(whole) >= {"encoder": 3, "decoder": 4}[component]
        assert not [n for n, a in found.items() if a.dtype == np.float32 and a.size > SMALL]
        assert all(np.abs(a.astype(int)).max() == 127 for a in whole)
    quantized, original = tiny_bundle("onnx", scheme), tiny_bundle("onnx", "fp32")
    # In so small a model, graph structure weighs much.
    assert quantized.size_bytes("onnxruntime") < 0.6 * original.size_bytes("onnxruntime")


def test_w8_multiplies_in_float32(tiny_bundle: GetBundle, tmp_path: Path) -> None:
    for component in COMPONENTS:
        executed, before = (
            optimized(tiny_bundle("onnx", scheme).file(component, "onnxruntime"), tmp_path)
            for scheme in ("w8", "fp32")
        )
        if component == "encoder":  # fp32's decoder is written in fewer multiplications
            assert executed == before
        assert "Gemm" in executed or "MatMul" in executed or "FusedMatMul" in executed
        assert not any(
            "Integer" in kind or "Quantize" in kind or "NBits" in kind for kind in executed
        )


@pytest.mark.parametrize(
    ("scheme", "product"), [("w8d", "DynamicQuantizeMatMul"), ("w8a8", "MatMulIntegerToFloat")]
)
def test_linear_layers_multiply_integers(
    scheme: str, product: str, tiny_bundle: GetBundle, tmp_path: Path
) -> None:
    for component in COMPONENTS:
        before = load(tiny_bundle, "fp32", component)
        weights = {name for name, a in constants(before).items() if a.size > SMALL}
        layers = [n for n in before.graph.node if n.op_type == "MatMul" and n.input[1] in weights]
        path = tiny_bundle("onnx", scheme).file(component, "onnxruntime")
        executed = optimized(path, tmp_path)
        assert layers
        assert executed[product] == len(layers)


def test_what_is_concatenated_is_not_rounded_statically() -> None:
    """OpenVINO does not compile a product of a concatenation that is quantized after it."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = [
        onnx.numpy_helper.from_array(RANDOM.normal(size=(64, 64)).astype(np.float32), name)
        for name in ("w1", "w2", "own")
    ]
    nodes = [
        helper.make_node("Concat", ["own", "x"], ["tokens"], axis=0),
        helper.make_node("MatMul", ["tokens", "w1"], ["first"], "first"),
        helper.make_node("Relu", ["first"], ["kept"]),
        helper.make_node("MatMul", ["kept", "w2"], ["y"], "second"),
    ]
    given = helper.make_tensor_value_info("x", kind, [8, 64])
    made = helper.make_tensor_value_info("y", kind, [72, 64])
    graph = helper.make_graph(nodes, "decode", [given], [made], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    sample = {"x": RANDOM.normal(size=(8, 64)).astype(np.float32)}
    calibration = SimpleNamespace(method="min-max", samples=lambda _: iter([sample]))
    job: Any = SimpleNamespace(scheme="w8a8", component="decoder", calibration=calibration)
    found = quantize(model, job)
    rounds = [n.input[0] for n in found.graph.node if n.op_type == "QuantizeLinear"]
    assert rounds == ["kept"]
    assert {c.name for c in found.graph.initializer} >= {"w1_int8", "w1_scale"}


@pytest.mark.parametrize("scheme", ["w8d", "w8a8"])
def test_coordinates_are_not_rounded(scheme: str, tiny_bundle: GetBundle) -> None:
    model = load(tiny_bundle, scheme, "decoder")
    made = {name: node for node in model.graph.node for name in node.output}
    behind = {name for node in model.graph.node if node.op_type == "Sin" for name in node.input}
    seen: list[str] = []
    while behind:
        node = made.get(behind.pop())
        if node is not None:
            seen.append(node.op_type)
            behind |= set(node.input)
    assert "MatMul" in seen
    assert not [kind for kind in seen if "Quantize" in kind or "Integer" in kind]


def test_what_is_calibrated_is_told(tiny_bundle: GetBundle, tiny_model: MobileSAM) -> None:
    for scheme in SCHEMES:
        record = tiny_bundle("onnx", scheme).manifest.calibration
        assert (record is not None) == (scheme in TARGETS["onnx"].calibrated)
    assert TARGETS["onnx"].calibrated == ("w8a8",)


def test_a_scheme_that_needs_photos_is_refused_without(
    tiny_model: MobileSAM, tmp_path: Path
) -> None:
    job = make_job(tiny_model, "decoder", tmp_path, "onnx", "w8a8")
    with pytest.raises(ExportError, match="'w8a8' needs photos to be calibrated on"):
        quantize(onnx.ModelProto(), job)


def values_of(names: list[str], model: Any) -> list[np.ndarray]:
    """What ONNX Runtime computes of constants alone."""
    made = {name: node for node in model.graph.node for name in node.output}
    needed, open_names = [], [*names]
    while open_names:
        node = made.get(open_names.pop())
        if node is not None:
            needed.append(node.name)
            open_names += node.input
    nodes = [node for node in model.graph.node if node.name in needed]
    read = {name for node in nodes for name in node.input}
    graph = onnx.helper.make_graph(
        nodes,
        "tables",
        [],
        [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names],
        [c for c in model.graph.initializer if c.name in read],
    )
    alone = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10
    )
    found: list[np.ndarray] = ort.InferenceSession(alone.SerializeToString()).run(names, {})
    return found


def test_relative_biases_keep_their_values(tiny_bundle: GetBundle) -> None:
    before = constants(load(tiny_bundle, "fp32", "encoder"))
    biases = [name for name in before if "baked_attention_biases" in name]
    assert len(biases) == 3
    model = load(tiny_bundle, "w8", "encoder")
    assert not set(biases) & set(constants(model))
    for name, values in zip(biases, values_of(biases, model), strict=True):
        assert np.array_equal(values, before[name])


def test_the_positional_encoding_keeps_its_values(tiny_model: MobileSAM, tmp_path: Path) -> None:
    job = make_job(tiny_model, "decoder", tmp_path, "onnx")
    position = job.module.get_buffer("image_position").numpy()
    constant = onnx.numpy_helper.from_array(position, "image_position")
    model = onnx.helper.make_model(onnx.helper.make_graph([], "decode", [], [], [constant]))
    shrink_tables(model, job)
    assert sum(a.nbytes for a in constants(model).values()) < position.nbytes / 10
    (values,) = values_of(["image_position"], model)
    assert values.shape == position.shape
    assert np.abs(values - position).max() < 2e-5


def test_tables_of_one_structure_share_an_index() -> None:
    index = RANDOM.integers(0, 50, (20, 20))
    one, other = (distinct_columns(RANDOM.normal(size=(3, 50))[:, index]) for _ in range(2))
    assert np.array_equal(one[1], other[1])
    assert one[1].dtype == np.uint8
    assert not np.array_equal(one[0], other[0])
    values = RANDOM.normal(size=(2, 17, 17))
    table, wide = distinct_columns(values)
    assert np.array_equal(table[:, wide], values)
    assert wide.dtype == np.uint16


@pytest.mark.parametrize("axis", [0, 1])
def test_rounding_is_within_half_a_step_of_the_channel(axis: int) -> None:
    values = RANDOM.normal(size=(6, 5, 3)).astype(np.float32)
    values[2], values[:, 3] = 0, 0
    whole, scales = rounded(values, axis)
    assert scales.shape == tuple(n if i == axis else 1 for i, n in enumerate(values.shape))
    assert (np.abs(whole * scales - values) <= scales * 0.5001).all()
    assert whole.dtype == np.int8 and whole.min() >= -127


@pytest.mark.parametrize(
    ("node", "axis"),
    [
        (("Conv", {}), 0),
        (("ConvTranspose", {}), 1),
        (("MatMul", {}), 1),
        (("Gemm", {"transB": 1}), 0),
        (("Gemm", {}), 1),
    ],
)
def test_scales_follow_output_channels(node: tuple[str, dict[str, int]], axis: int) -> None:
    kind, attributes = node
    assert channel_axis(onnx.helper.make_node(kind, ["x", "w"], ["y"], **attributes)) == axis
