"""Faults that only quantized files can have turn the verdict to FAIL, and the good file passes."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
from ai_edge_litert.schema_py_generated import ModelT, TensorT, TensorType  # noqa: E402

from converters import calibration  # noqa: E402
from converters.activation_ranges import activation_ranges  # noqa: E402
from converters.base import Conversion  # noqa: E402
from converters.calibration import Calibration, calibration_record  # noqa: E402
from converters.lookup import meaning_of  # noqa: E402
from converters.spec import CalibrationOptions  # noqa: E402
from converters.tflite.convert import convert  # noqa: E402
from converters.tflite.file import read_model, write_model  # noqa: E402
from mobile_runtime_tests import faults  # noqa: E402
from mobile_runtime_tests.helpers import SIZE, Judge, failed  # noqa: E402
from mobilesam.bundle.contract import COMPONENTS, Component  # noqa: E402
from mobilesam.bundle.manifest import MANIFEST_NAME  # noqa: E402
from mobilesam.model.build import load_model  # noqa: E402
from mobilesam.runtimes.bundle import Bundle  # noqa: E402
from parity.audits import add_audits  # noqa: E402
from tests.specs import make_job  # noqa: E402

Wanted = Callable[[TensorT], bool]


def quantize(bundle: Path, folder: Path, name: str, photos: Path | None) -> Path:
    """A bundle of the demo weights in scheme w8a8, calibrated on photos, as the exporter makes it.

    Args:
        bundle: the same in float32.
        folder: where the bundle goes, into one of that name, and what several have in common.
    """
    model = load_model("demo", image_size=SIZE)
    contract = Bundle(bundle).manifest.contract
    calibration = Calibration(model, contract, photos)
    work = folder / "conversions"
    work.mkdir(exist_ok=True)

    def job(component: Component) -> Conversion:
        return make_job(
            model, component, work, "tflite", "w8a8", contract=contract, calibration=calibration
        )

    copy = bundle
    for component in COMPONENTS:
        made = job(component)
        convert(made)
        copy = faults.rewritten(
            copy, folder / name / component, component, partial(copyfile, made.path(".tflite"))
        )
    manifest = json.loads((copy / MANIFEST_NAME).read_text())
    manifest["scheme"] = {"name": "w8a8", "meaning": meaning_of("tflite", "w8a8")}
    manifest["calibration"] = calibration_record(contract, CalibrationOptions(folder=photos))
    for component in COMPONENTS:
        manifest["activation_ranges"][component] = activation_ranges(job(component), calibration)
    (copy / MANIFEST_NAME).write_text(json.dumps(manifest))
    return copy


@pytest.fixture(scope="module")
def static(bundles: dict[str, Path], folder: Path) -> Path:
    """Calibrated as an export is."""
    return quantize(bundles["tflite-fp32"], folder, "static", None)


def changed(
    bundle: Path,
    folder: Path,
    component: Component,
    wanted: Wanted,
    change: Callable[[TensorT], None],
) -> Path:
    """A copy of a bundle with the first tensor of a kind changed, and digests that fit."""

    def edit(path: Path) -> None:
        model: ModelT = read_model(path.read_bytes())
        change(next(t for t in model.subgraphs[0].tensors if wanted(t)))
        path.write_bytes(write_model(model))

    return faults.rewritten(bundle, folder, component, edit)


def weights_of(layer: str) -> Wanted:
    """Tells int8 weights, with one scale or one a channel, by the layer that they are named after.

    Unlike an activation's, their values lie in the file.
    """
    return lambda tensor: (
        tensor.type == TensorType.INT8
        and layer in tensor.name.decode()
        and tensor.quantization.scale is not None
        and tensor.buffer != 0
    )


def activation_of(layer: str) -> Wanted:
    """Tells an int8 activation, which has one scale."""
    return lambda tensor: (
        tensor.type == TensorType.INT8
        and layer in tensor.name.decode()
        and tensor.quantization.scale is not None
        and len(tensor.quantization.scale) == 1
        and tensor.buffer == 0
    )


def test_the_good_file_passes(static: Path, judge: Judge) -> None:
    report = judge(static, "litert")
    add_audits(report, Bundle(static), "litert", load_model("demo", image_size=SIZE))
    assert report.verdict == "PASS", report.reasons
    assert all(audit.held for audit in report.activation_audits)


@pytest.mark.parametrize(
    ("layer", "component"),
    [("ConvStage_0/MBConv_1", "encoder"), ("AttentionStage_3/TinyViTBlock_1/mlp/fc1", "encoder"),
     ("TwoWayBlock_1/mlp", "decoder")],
)  # fmt: skip
def test_a_wrong_zero_point_is_caught(
    static: Path, judge: Judge, scratch: Path, layer: str, component: Component
) -> None:
    def shift(tensor: TensorT) -> None:
        # Half of the range away, as where uint8 is taken for int8.
        points = np.array(tensor.quantization.zeroPoint)
        tensor.quantization.zeroPoint = np.where(points > 0, points - 128, points + 127)

    broken = changed(static, scratch, component, activation_of(layer), shift)
    report = judge(broken, "litert")
    add_audits(report, Bundle(broken), "litert", load_model("demo", image_size=SIZE))
    assert report.verdict == "FAIL"
    # Where values are few and small the masks bear it; the ranges of the calibration do not.
    assert ("integrity", "activation_ranges") in failed(report)


@pytest.mark.parametrize(
    ("layer", "component"),
    [("patch_embed", "encoder"), ("neck/Conv2d_2", "encoder"),
     ("output_upscaling/ConvTranspose2d_3", "decoder")],
)  # fmt: skip
def test_a_weight_s_largest_scale_doubled_is_caught(
    static: Path, judge: Judge, scratch: Path, layer: str, component: Component
) -> None:
    def double(tensor: TensorT) -> None:
        scales = np.array(tensor.quantization.scale)
        scales[np.argmax(scales)] *= 2
        tensor.quantization.scale = scales

    broken = changed(static, scratch, component, weights_of(layer), double)
    report = judge(broken, "litert")
    # One channel of 32, in the demo weights' first layer, moves no mask beyond what int8 does.
    assert failed(report) or layer == "patch_embed", "the masks tell"
    add_audits(report, Bundle(broken), "litert", load_model("demo", image_size=SIZE))
    assert ("integrity", "weights_in_file") in failed(report)
    wrong = {audit.component for audit in report.weight_audits if audit.wrong}
    assert wrong == {component}


def test_calibration_on_black_images_alone_is_caught(
    bundles: dict[str, Path], folder: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Strips and a white image, which are added to any photos, would save the file.
    monkeypatch.setattr(calibration, "made_images", lambda _: [])
    black = folder / "black"
    black.mkdir()
    for number in range(2):
        Image.fromarray(np.zeros((96, 128, 3), np.uint8)).save(black / f"{number}.png")
    made = quantize(bundles["tflite-fp32"], folder, "on-black", black)
    assert "encoder" in {stage for stage, _ in failed(judge(made, "litert"))}
