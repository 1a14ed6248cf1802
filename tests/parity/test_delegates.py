"""What delegates are said to take: their rules, what they answer, and what a user is shown."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mobilesam.emulators import htp
from mobilesam.errors import MissingDependencyError
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.table import RUNNERS
from parity.delegates import DELEGATES, ask_delegates, litert_gpu, qualcomm_htp
from parity.delegates.records import Answer, Found, Outside, reasons
from parity.delegates.tflite_graph import Op, Value
from tests.conftest import is_here

GetBundle = Callable[..., Bundle]
needs_htp = pytest.mark.skipif(not is_here("qnn_htp"), reason=htp.missing() or "no ONNX Runtime")


@pytest.fixture
def without_htp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compiled: that takes long."""
    monkeypatch.setattr(htp, "missing", lambda: "no HTP here: get one")


def answers(bundle: Bundle) -> dict[tuple[str, str], Found]:
    return {(each.delegate, each.component): each.found for each in ask_delegates(bundle)}


def test_delegates_take_files_of_known_runtimes() -> None:
    for delegate in DELEGATES.values():
        assert set(delegate.runtimes) <= set(RUNNERS)


@pytest.mark.usefixtures("without_htp")
def test_float_tflite_files_are_taken_whole(tiny_bundle: GetBundle) -> None:
    found = answers(tiny_bundle("tflite"))
    assert len(found) == 6
    for component in ("encoder", "decoder"):
        cpu = found["XNNPACK (CPU)", component]
        assert cpu.verdict == "whole" and cpu.partitions == 1 and cpu.taken == cpu.total
        assert cpu.how.startswith("asked LiteRT 2.")
        npu = found["Qualcomm HTP (NPU)", component]
        assert npu == Found.unknown("no HTP here: get one") and npu.taken is None


@pytest.mark.usefixtures("without_htp")
def test_int16_leaves_xnnpack_and_the_gpu(tiny_bundle: GetBundle) -> None:
    found = answers(tiny_bundle("tflite", "w8a16"))
    for delegate, why in (("XNNPACK (CPU)", "int16"), ("LiteRT GPU", "INT16")):
        answer = found[delegate, "decoder"]
        assert answer.verdict == "partly"
        outside = {each.op: each for each in answer.outside}
        assert why in outside["FULLY_CONNECTED"].reason
        assert answer.taken is not None and answer.total is not None
        assert answer.taken == answer.total - sum(each.count for each in answer.outside)


def test_xnnpack_s_answer_is_the_runtime_s_own_count(tiny_bundle: GetBundle) -> None:
    """Every op is either covered by one of the delegate's nodes or is run by the interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    from parity.delegates.xnnpack import ask

    bundle = tiny_bundle("tflite", "w8a16")
    record = next(each for each in bundle.manifest.files if each.component == "decoder")
    path = bundle.file("decoder", "litert")
    plain = Interpreter(str(path), num_threads=1)
    plain.allocate_tensors()
    nodes = plain._get_ops_details()
    found = ask(path, record)
    assert found.partitions == sum(node["op_name"] == "DELEGATE" for node in nodes)
    assert found.partitions is not None
    assert found.total == len(nodes) - found.partitions


def test_executorch_s_kernels_are_read_from_the_program(tiny_bundle: GetBundle) -> None:
    written_for_it = answers(tiny_bundle("executorch"))["XNNPACK (CPU)", "encoder"]
    assert written_for_it.verdict == "partly" and written_for_it.partitions == 1
    as_torch_has_it = answers(tiny_bundle("executorch", "w8a8"))["XNNPACK (CPU)", "encoder"]
    left = {each.op for each in as_torch_has_it.outside}
    assert "aten::native_layer_norm" in left - {each.op for each in written_for_it.outside}


def test_float32_leaves_the_neural_engine(tiny_bundle: GetBundle) -> None:
    whole = answers(tiny_bundle("coreml"))
    half = answers(tiny_bundle("coreml", "fp16"))
    for component in ("encoder", "decoder"):
        wide = whole["Apple Neural Engine", component]
        assert wide.taken is not None and wide.total
        assert wide.taken <= 2  # of the decoder, what only copies booleans
        assert "computes in float32" in reasons(wide.outside)
        found = half["Apple Neural Engine", component]
        assert found.verdict == "partly" and found.taken and found.total
        assert found.taken > 0.8 * found.total
    # The coordinates stay float32: float16 has no half pixels at 1024.
    kept = half["Apple Neural Engine", "decoder"].outside
    assert {"sin", "cos"} & {each.op for each in kept}


def value(dtype: str = "FLOAT32", rank: int = 4, constant: bool = False) -> Value:
    return Value(dtype, (8, 7, 6, 5, 4)[:rank], constant)


def meeting(computed: tuple[int, ...], constant: tuple[int, ...]) -> Op:
    one, other = Value("FLOAT32", computed, False), Value("FLOAT32", constant, True)
    return Op("ADD", (one, other), (value(),))


def product(one: tuple[int, ...], other: tuple[int, ...], made: tuple[int, ...]) -> Op:
    given = (Value("INT8", one, False), Value("INT8", other, False))
    return Op("BATCH_MATMUL", given, (Value("INT8", made, False),))


MISREAD = "broadcasts wrongly"


@pytest.mark.parametrize(
    ("op", "why"),
    [
        (Op("ADD", (value(), value()), (value(),)), ""),
        (Op("CONV_2D", (value(), value("INT8", constant=True)), (value(),)), ""),
        (Op("RELU_0_TO_1", (value(),), (value(),)), "no such op"),
        (Op("CUSTOM Other", (value(),), (value(),)), "no such op"),
        (Op("RESHAPE", (value(),), (value(rank=5),)), "5 axes, it takes 4"),
        (Op("ADD", (value("INT16"), value("INT16")), (value("INT16"),)), "INT16"),
        (Op("CAST", (value("INT32"),), (value(),)), ""),
        (Op("LESS", (value(), value()), (value("BOOL"),)), ""),
        (Op("GATHER", (value(), value("INT32", 1, True)), (value(),)), ""),
        (Op("GATHER", (value(), value("INT32", 2)), (value(),)), "indices of 2 axes"),
        (Op("GATHER", (value(constant=True), value("INT32", 1, True)), (value(),)), "a constant"),
        # What the accelerator answered for ADD, with the constant on either side.
        (meeting((2, 8, 4), (1, 2, 8, 4)), MISREAD),
        (meeting((2, 8, 4), (2, 8, 4)), MISREAD),
        (meeting((1, 8, 4), (2, 8, 4)), MISREAD),
        (meeting((2, 8, 4), (2, 1, 1)), MISREAD),
        (meeting((8, 4), (1, 8, 4)), MISREAD),
        (meeting((8, 4), (8, 1)), MISREAD),
        (meeting((1, 4), (3, 2, 4)), MISREAD),
        (meeting((8,), (8,)), MISREAD),
        (meeting((1,), (8,)), MISREAD),
        (meeting((1, 2, 8, 4), (3, 1, 1, 4)), MISREAD),
        (meeting((3, 2, 8, 4), (3, 2, 8, 4)), ""),
        (meeting((3, 2, 8, 4), (2, 8, 4)), ""),
        (meeting((2, 8, 4), (1, 8, 4)), ""),
        (meeting((2, 8, 4), (8, 1)), ""),
        (meeting((2, 8, 4), (1, 1, 1)), ""),
        (meeting((8, 4), (1, 4)), ""),
        (meeting((8,), (1,)), ""),
        (meeting((8,), ()), ""),
        (meeting((8, 4), (8, 4))._replace(name="LESS_EQUAL"), MISREAD),
        (Op("SUB", meeting((8,), (8,)).inputs[::-1], (value(rank=1),)), MISREAD),
        (Op("SUB", (value(rank=1), value(rank=3)), (value(rank=3),)), ""),
        # The decoder's attention at 1024, as it is, transposed, and row by row; and at 512.
        (product((1, 8, 7, 4096), (1, 8, 4096, 16), (1, 8, 7, 16)), "sums of 4096 products"),
        (product((1, 8, 7, 4096), (1, 8, 16, 4096), (1, 8, 7, 16)), "sums of 4096 products"),
        (product((1, 512, 7, 64), (1, 512, 64, 16), (1, 512, 7, 16)), ""),
        (product((8, 7, 1024), (8, 1024, 16), (8, 7, 16)), ""),
        (product((8, 4096, 16), (8, 16, 7), (8, 4096, 7)), ""),
        (Op("DEQUANTIZE", (value("INT8", 4, True),), (value(),)), ""),
        (Op("DEQUANTIZE", (value("INT8", 2, True),), (value(rank=2),)), "int8 weights of a linear"),
        (Op("DEQUANTIZE", (value("INT8", 2),), (value(rank=2),)), ""),
        (Op("DEQUANTIZE", (value("FLOAT16", 2, True),), (value(rank=2),)), ""),
        (Op("FULLY_CONNECTED", (value(), value("INT4", 2, True)), (value(),)), ""),
        (
            Op("FULLY_CONNECTED", (value(), Value("INT4", (8, 8), True, blocks=True)), (value(),)),
            "blocks of weights",
        ),
    ],
)
def test_rules_of_the_gpu(op: Op, why: str) -> None:
    said = litert_gpu.refusal(op)
    assert why in said if why else said == ""


def test_a_file_that_cannot_be_read_is_one_answer(
    tiny_bundle: GetBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tiny_bundle("tflite")
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"Not Found\n" * 100)
    monkeypatch.setattr(htp, "missing", lambda: "no HTP here")
    monkeypatch.setattr(Bundle, "file", lambda *_: broken)
    for answer in ask_delegates(bundle):
        assert answer.found.verdict == "unknown"
        assert "cannot be read" in answer.found.note or "no HTP" in answer.found.note


def test_the_compiler_s_words_are_understood() -> None:
    said = (
        "     0.0ms [ ERROR ]   <E> unexpected GraphHtpSettings option 66\n"
        "QNN op validation failed: 'DepthWiseConv2d_43' (type=DepthWiseConv2d)\n"
        '    [0] name="0" dtype=QNN_DATATYPE_SFIXED_POINT_16 dims=[1,64,64,1] per-tensor-quant\n'
        '    [1] name="4" dtype=QNN_DATATYPE_SFIXED_POINT_8 dims=[2,2,1,4] per-channel-quant\n'
        '    [2] name="2" dtype=QNN_DATATYPE_INT_64 dims=[4] per-tensor-quant\n'
        "     0.0ms [ ERROR ]   <E> Op Dequantize does not support per-channel quant tensor\n"
        "     0.0ms [ ERROR ]   <E> Failed to construct common node for graph 256\n"
    )
    (outside,) = qualcomm_htp._outside(said).items()
    assert outside == (
        (
            "DepthWiseConv2d",
            "the HTP does not take SFIXED_POINT_16, SFIXED_POINT_8 per channel, INT_64 together",
        ),
        1,
    )
    wrong = "Op Dequantize does not support per-channel quant tensor"
    assert qualcomm_htp._last_error(3, said) == wrong
    assert qualcomm_htp._last_error(-11, said) == "Qualcomm's compiler crashed (signal 11)"
    assert "status 6" in qualcomm_htp._last_error(6, "")


@needs_htp
@pytest.mark.parametrize("scheme", ["fp32", "w8a8", "w8a16"])
def test_schemes_that_compile_whole_for_the_htp(tiny_bundle: GetBundle, scheme: str) -> None:
    bundle = tiny_bundle("tflite", scheme)
    for component in ("encoder", "decoder"):
        found = qualcomm_htp.compiled(bundle.file(component, "litert"))
        assert found.verdict == "whole", f"{component}: {reasons(found.outside)} {found.note}"
        assert found.partitions == 1 and found.taken == found.total


@needs_htp
def test_a_scheme_that_the_htp_refuses_says_why(tiny_bundle: GetBundle) -> None:
    found = qualcomm_htp.compiled(tiny_bundle("tflite", "w8").file("decoder", "litert"))
    assert found.verdict == "refused" and found.taken is None
    assert found.note == "Op Dequantize does not support per-channel quant tensor"


@needs_htp
def test_onnx_files_are_asked_too(tiny_bundle: GetBundle) -> None:
    found = answers(tiny_bundle("onnx"))["Qualcomm HTP (NPU)", "decoder"]
    assert found.verdict == "whole" and found.partitions == 1
    refused = qualcomm_htp._onnx(tiny_bundle("onnx", "w8a8").file("decoder", "onnxruntime"))
    assert refused.verdict == "partly"
    assert "DequantizeLinear" in {each.op for each in refused.outside}


def test_reasons_are_said_once() -> None:
    outside = (Outside("GATHER", 10, "no kernel"), Outside("CAST", 2, "no kernel"))
    assert reasons(outside) == "10 GATHER, 2 CAST (no kernel)"
    answer = Answer("XNNPACK (CPU)", "encoder", "e.tflite", Found.of("asked", 20, {("A", "b"): 5}))
    described = answer.as_dict()
    assert (described["ops"], described["taken"], described["verdict"]) == (20, 15, "partly")


def test_without_the_libraries_it_says_how_to_get_them(
    tiny_bundle: GetBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(htp, "missing", lambda: "not installed: pip install it")
    record = tiny_bundle("tflite").manifest.files[0]
    with pytest.raises(MissingDependencyError, match="pip install it"):
        qualcomm_htp.ask(Path("nowhere.tflite"), record)
