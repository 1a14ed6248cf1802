"""The thresholds file: complete, strict, and every mistake in one sentence."""

import platform
from pathlib import Path

import pytest

from converters.lookup import combinations
from mobilesam.errors import ThresholdError
from mobilesam.runtimes.table import ARM, GPU, X86
from parity.thresholds import DEFAULT_FILE, Thresholds
from tests.rounding import products_of_model, tolerance

SHIPPED = DEFAULT_FILE.read_text()
RUNTIMES = "[fp32.runtimes]\n"


def with_runtime(line: str, shipped: str = SHIPPED) -> str:
    """The shipped file with one more line in a table that it has."""
    assert shipped.count(RUNTIMES) == 1
    return shipped.replace(RUNTIMES, f"{RUNTIMES}{line}\n")


def test_the_shipped_file_judges_every_combination_there_is() -> None:
    limits = Thresholds()
    for target, scheme in combinations():
        row = limits.row(target, scheme)
        assert row.encoder.relative_l2 <= {"fp32": 1e-4, "fp16": 5e-3}.get(scheme, 0.35)
        assert row.end_to_end.mask_iou_mean >= 0.88
        if scheme == "fp32":
            assert row.end_to_end.mask_iou_min >= 0.99


def test_float32_limits_leave_room_for_what_rounding_may_cause() -> None:
    """On every processor and with any number of threads: sums are added up in other orders."""
    encoder, decoder = products_of_model()
    for target, scheme in combinations():
        if scheme == "fp32":
            row = Thresholds().row(target, scheme)
            assert row.encoder.relative_l2 >= tolerance(encoder)
            assert row.decoder.logits_relative_l2 >= tolerance(decoder)
            assert row.decoder.iou_prediction >= tolerance(decoder)  # of IoUs, which are up to 1
            assert row.end_to_end.logits_relative_l2 >= tolerance(encoder + decoder)
            assert row.end_to_end.iou_prediction >= tolerance(encoder + decoder)


def test_a_target_overrides_single_values(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(SHIPPED + "\n[fp16.targets.coreml.encoder]\nrelative_l2 = 0.25\n")
    limits = Thresholds(path)
    own, others = limits.row("coreml", "fp16"), limits.row("tflite", "fp16")
    assert own.encoder.relative_l2 == 0.25
    assert others.encoder.relative_l2 < 0.25
    assert own.encoder.cosine == others.encoder.cosine
    assert own.decoder == others.decoder


def test_a_target_has_limits_of_its_own_where_an_arm_cpu_runs_it(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(
        with_runtime('litert = "fp16"') + "\n[fp16.arm.tflite.encoder]\nrelative_l2 = 0.25\n"
    )
    limits = Thresholds(path)
    plain = limits.row("tflite", "fp16")
    on_arm = limits.row("tflite", "fp16", "litert", ARM)
    assert (plain.encoder.relative_l2, on_arm.encoder.relative_l2) == (5e-3, 0.25)
    assert on_arm.encoder.cosine == plain.encoder.cosine and on_arm.decoder == plain.decoder
    assert limits.row("tflite", "fp16", "litert", X86) == plain
    assert limits.row("tflite", "fp16", "litert_gpu", GPU).encoder.relative_l2 < 0.25
    assert limits.row("onnx", "fp16", "onnxruntime", ARM).encoder.relative_l2 < 0.25
    assert limits.row("tflite", "fp32", "litert", ARM) == on_arm


def test_without_a_word_the_limits_are_those_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(SHIPPED + "\n[fp16.arm.tflite.encoder]\nrelative_l2 = 0.25\n")
    for machine, limit in (("aarch64", 0.25), ("arm64", 0.25), ("x86_64", 5e-3)):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert Thresholds(path).row("tflite", "fp16", "litert").encoder.relative_l2 == limit


def test_a_runtime_overrides_its_target_or_names_another_scheme(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(
        with_runtime('onnxruntime = "fp16"')
        + "[fp16.targets.coreml.encoder]\nrelative_l2 = 0.25\n"
        + "[fp16.runtimes.coreml.encoder]\ncosine = 0.5\n"
    )
    limits = Thresholds(path)
    assert limits.row("onnx", "fp32", "onnxruntime") == limits.row("onnx", "fp16")
    assert limits.row("onnx", "fp32", "litert") == limits.row("onnx", "fp32")
    own = limits.row("coreml", "fp16", "coreml")
    assert (own.encoder.relative_l2, own.encoder.cosine) == (0.25, 0.5)
    assert own.decoder == limits.row("coreml", "fp16").decoder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: "", "is empty"),
        (lambda s: "fp32 = [", "is not a TOML file"),
        (lambda s: "fp32 = 3", "'fp32' must be a table"),
        (lambda s: s.replace("[fp16.", "[fp61."), "unknown scheme; did you mean 'fp16'"),
        (lambda s: s.replace("cosine = ", "cosin = ", 1), "'fp32.encoder.cosin"),
        (lambda s: s.replace("psnr_db = 100.0", ""), "'fp32.encoder.psnr_db' is missing"),
        (lambda s: s.replace("psnr_db = 100.0", "psnr_db = 'high'"), "psnr_db' cannot be used"),
        (lambda s: s.replace("psnr_db = 100.0", "psnr_db = nan"), "psnr_db' cannot be used"),
        (lambda s: s.replace("mask_iou_min = 0.99", "mask_iou_min = 99"), "mask_iou_min' cannot"),
        (
            lambda s: s + "\n[fp16.targets.tflight.encoder]\ncosine = 0.9\n",
            "unknown target; did you mean 'tflite'",
        ),
        (
            lambda s: s + "\n[fp16.targets.tflite.encoder]\ncosin = 0.9\n",
            "'fp16.targets.tflite.encoder.cosin' is not a known key",
        ),
        (
            lambda s: s + "\n[fp16.arm.tflight.encoder]\ncosine = 0.9\n",
            "'fp16.arm.tflight' names an unknown target; did you mean 'tflite'",
        ),
        (lambda s: with_runtime('liteRT = "fp16"', s), "unknown runtime; did you mean"),
        (lambda s: with_runtime('litert = "fp61"', s), "unknown scheme; did you mean"),
        (lambda s: with_runtime("litert = 3", s), "fp32.runtimes.litert"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(change(SHIPPED))  # type: ignore[operator]
    with pytest.raises(ThresholdError) as caught:
        Thresholds(path)
    assert message in str(caught.value) and "limits.toml" in str(caught.value)


def test_a_missing_file_and_a_missing_row_are_named(tmp_path: Path) -> None:
    with pytest.raises(ThresholdError, match="gone.toml cannot be read"):
        Thresholds(tmp_path / "gone.toml")
    path = tmp_path / "limits.toml"
    path.write_text(SHIPPED[: SHIPPED.index("[fp16.encoder]")])
    with pytest.raises(ThresholdError, match="no row for scheme 'fp16', only for fp32"):
        Thresholds(path).row("coreml", "fp16")
