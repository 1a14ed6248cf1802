"""Quantized TFLite files: what is an integer in them, and what stays as it was."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.lookup import schemes_of
from converters.plan import Plan, read_plan
from converters.schemes import TARGETS
from converters.tflite.constants import as_factors, as_table, shrink_constants
from converters.tflite.names import group_of, path_of
from converters.tflite.quantization import PLANS, calibrated, groups_of, quantized
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.errors import ExportError, InputError
from mobilesam.model.prompt_encoder import PromptEncoder
from mobilesam.runtimes.bundle import Bundle
from tests.upstream.oracle import randomize

litert = pytest.importorskip("ai_edge_litert.interpreter")
flatbuffers = pytest.importorskip("ai_edge_litert.tools.flatbuffer_utils")

GetBundle = Callable[[str, str], Bundle]
RANDOM = np.random.default_rng(0)


def content_of(get: GetBundle, scheme: str, component: Component) -> bytes:
    return get("tflite", scheme).file(component, "litert").read_bytes()


def interpreter(content: bytes) -> Any:
    return litert.Interpreter(
        model_content=content,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )


def stored(content: bytes) -> Counter[str]:
    """Elements of constants by dtype."""
    model = flatbuffers.read_model_from_bytearray(bytearray(content))
    found: Counter[str] = Counter()
    for tensor in model.subgraphs[0].tensors:
        if model.buffers[tensor.buffer].data is not None:
            found[flatbuffers.type_to_name(tensor.type)] += int(np.prod(tensor.shape))
    return found


def answers(content: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    found = interpreter(content)
    signature = found.get_signature_runner(next(iter(found.get_signature_list())))
    return dict(signature(**inputs))


def inputs_of(content: bytes) -> dict[str, np.ndarray]:
    found = interpreter(content)
    details = found.get_signature_runner(next(iter(found.get_signature_list()))).get_input_details()
    return {
        name: RANDOM.uniform(0, 1, detail["shape"]).astype(np.float32)
        for name, detail in details.items()
    }


def test_every_scheme_but_the_float_ones_has_a_plan() -> None:
    assert set(schemes_of("tflite")) == {"fp32", "fp16", *PLANS}
    assert TARGETS["tflite"].calibrated == ("w8a8", "w8a16")


@pytest.mark.parametrize(
    ("scheme", "dtypes"),
    [
        ("w8", {"INT8"}),
        ("w8d", {"INT8"}),
        ("w4", {"INT4", "INT8"}),
        ("w8a8", {"INT8", "INT32"}),
        ("w8a16", {"INT8", "INT64"}),
    ],
)
def test_weights_are_integers(scheme: str, dtypes: set[str], tiny_bundle: GetBundle) -> None:
    for component in COMPONENTS:
        before = stored(content_of(tiny_bundle, "fp32", component))
        after = stored(content_of(tiny_bundle, scheme, component))
        weights = sum(groups_of(content_of(tiny_bundle, "fp32", component)).values()) // 4
        whole = sum(after[name] for name in ("INT8", "INT4"))
        assert dtypes <= set(after)
        share = 0.94 if scheme == "w8a16" else 0.99  # its depthwise convolutions stay float
        assert whole >= share * weights > 1000
        assert after["FLOAT32"] <= before["FLOAT32"] - whole


@pytest.mark.parametrize(("scheme", "bits"), [("w8a8", np.int8), ("w8a16", np.int16)])
def test_activations_are_integers_inside_and_floats_outside(
    scheme: str, bits: type, tiny_bundle: GetBundle
) -> None:
    for component in COMPONENTS:
        found = interpreter(content_of(tiny_bundle, scheme, component))
        ops = Counter(detail["op_name"] for detail in found._get_ops_details())
        assert ops["QUANTIZE"] and ops["DEQUANTIZE"]
        types = {d["name"]: d["dtype"] for d in found.get_tensor_details()}
        assert bits in types.values()
        tensors = (*found.get_input_details(), *found.get_output_details())
        assert {tensor["dtype"] for tensor in tensors} == {np.float32}


def test_xnnpack_takes_as_few_partitions_as_before(tiny_bundle: GetBundle) -> None:
    def partitions(scheme: str, component: Component) -> int:
        content = content_of(tiny_bundle, scheme, component)
        ops = litert.Interpreter(model_content=content)._get_ops_details()
        return sum(op["op_name"] == "DELEGATE" for op in ops)

    for component in COMPONENTS:
        before = partitions("fp32", component)
        for scheme in ("w8", "w8d", "w8a8"):
            assert partitions(scheme, component) <= before + 1


def test_coordinates_are_not_rounded(tiny_bundle: GetBundle) -> None:
    for scheme in PLANS:
        found = interpreter(content_of(tiny_bundle, scheme, "decoder"))
        matrices = [t for t in found.get_tensor_details() if sorted(t["shape"]) == [2, 16]]
        assert [t["dtype"] for t in matrices] == [np.float32]


def test_shrunken_constants_change_nothing(tiny_bundle: GetBundle) -> None:
    for component in COMPONENTS:
        before = content_of(tiny_bundle, "fp32", component)
        after = shrink_constants(before)
        if component == "encoder":  # the tiny decoder's positional encoding is small as it is
            assert len(after) < len(before) - 100_000
        inputs = inputs_of(before)
        found, wanted = answers(after, inputs), answers(before, inputs)
        assert all(np.array_equal(found[name], value) for name, value in wanted.items())


def test_a_positional_encoding_is_two_products() -> None:
    encoder = PromptEncoder(channels=32, image_size=256)
    randomize(encoder, seed=0)
    grid = encoder.image_position().detach().numpy().reshape(1, 32, -1).transpose(0, 2, 1)
    factors = as_factors(np.ascontiguousarray(grid))
    assert factors is not None
    made = (factors.rows * factors.columns).sum(0).reshape(grid.shape)
    assert np.abs(made - grid).max() < 2e-6
    assert as_factors(RANDOM.normal(size=(1, 256, 8)).astype(np.float32)) is None


def test_a_bias_is_a_table() -> None:
    values = RANDOM.normal(size=(3, 7, 7)).astype(np.float32)
    rows, columns = np.divmod(np.arange(49), 7)
    apart = (np.abs(each[:, None] - each) for each in (rows, columns))
    bias = values[:, *apart][None]
    table = as_table(bias)
    assert table is not None and np.array_equal(table.values, values)
    assert np.array_equal(table.bias, bias)
    bias[0, 1, 4, 5] += 1  # no longer what the same distance has elsewhere
    assert as_table(bias) is None
    assert as_table(RANDOM.normal(size=(1, 3, 40, 40)).astype(np.float32)) is None


def test_a_layer_that_would_not_shrink_stays_float(tiny_bundle: GetBundle) -> None:
    content = content_of(tiny_bundle, "w8d", "decoder")
    kernels = [t for t in interpreter(content).get_tensor_details() if len(t["shape"]) == 4]
    small = [t["dtype"] for t in kernels if tuple(t["shape"])[:3] == (1, 2, 2)]
    assert small and set(small) == {np.float32}


def test_a_plan_decides_group_by_group(tiny_bundle: GetBundle) -> None:
    content = content_of(tiny_bundle, "fp32", "encoder")
    groups = groups_of(content)
    assert {"neck.Conv2d0", "AttentionStage2.TinyViTBlock0"} <= set(groups)
    chosen = "AttentionStage2.TinyViTBlock0"
    plan = Plan(target="tflite", default="float", groups={chosen: "w8"})
    assert stored(quantized(content, plan))["INT8"] == groups[chosen] // 4
    nothing = Plan(target="tflite", default="float")
    assert stored(quantized(content, nothing)) == stored(content)


def test_ranges_are_the_widest_or_an_average(tiny_bundle: GetBundle) -> None:
    content = content_of(tiny_bundle, "fp32", "decoder")
    samples = [inputs_of(content) for _ in range(3)]
    files = {
        quantized(content, PLANS["w8a8"], calibrated(content, samples, "decode", method))
        for method in TARGETS["tflite"].calibration_methods
    }
    assert len(files) == 2


def test_what_a_plan_cannot_be(tiny_bundle: GetBundle, tmp_path: Path) -> None:
    content = content_of(tiny_bundle, "fp32", "encoder")
    with pytest.raises(InputError, match="unknown precision 'w3' of target tflite, known: float"):
        quantized(content, Plan(target="tflite", default="w3"))
    with pytest.raises(ExportError, match="needs photos to calibrate on"):
        quantized(content, PLANS["w8a8"])
    with pytest.raises(ExportError, match="no sample to calibrate on"):
        calibrated(content, [], "encode")
    file = tmp_path / "mixed.toml"
    for text, reason in {
        "target = ": "is not TOML",
        'target = "tflite"': "default: field required",
        'target = "tflite"\ndefault = "w8"\nlayers = 1': "layers: extra inputs",
    }.items():
        file.write_text(text)
        with pytest.raises(InputError, match=reason):
            read_plan(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_plan(tmp_path / "none.toml")


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = Plan(target="tflite", default="w8d", groups={"neck.Conv2d0": "float", "MLP0": "w4"})
    file = tmp_path / "mixed.toml"
    file.write_text(plan.toml())
    assert read_plan(file) == plan


@pytest.mark.parametrize(
    ("label", "group"),
    [
        ("a.b._Named/m.EncoderModule_module/m.TinyViT_image_encoder/m.Stage_1/m.Block_0/x.L_fc;2",
         "Stage1.Block0"),
        ("m.DecoderModule_module/m.PositionEncoding_pe_layer;;m.X_pe_layer;", ""),
        ("m.DecoderModule_module;13", ""),
        ("m.A_one/m.B_two;;m.A_one/m.C_three;", "one.three"),
    ],
)  # fmt: skip
def test_groups_are_the_modules_around(label: str, group: str) -> None:
    assert group_of(label) == group
    assert all("/" not in step for step in path_of(label))
