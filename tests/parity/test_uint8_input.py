"""Variant ``uint8``: an app's own pixels give the same masks, and what misreads them fails."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import converters.modules
from converters.calibration import Calibration
from converters.executorch.options import ExecuTorchOptions
from converters.modules import EncoderModule, PhotoEncoderModule, build_module, example_inputs
from converters.onnx.options import ONNXOptions
from converters.schemes import COREML, EXECUTORCH, ONNX, TARGETS
from mobilesam.bundle.contract import Contract, InputVariant, pack_image
from mobilesam.bundle.manifest import MANIFEST_NAME
from mobilesam.inference.predictor import Predictor
from mobilesam.inference.transforms import CHANNEL_ORDERS, ChannelOrder, pixels_input
from mobilesam.runtimes.bundle import Bundle
from parity import comparison
from parity.cost.worker import example
from parity.description.manifest import manifest_differences
from parity.golden import write_golden
from parity.replay.merge import merge
from parity.replay.pack import pack
from parity.schema import BundleReport
from parity.thresholds import Thresholds
from tests.parity.fakes import (
    demo_model,
    judged,
    run_modules,
    write_bundle,
    write_photos,
)
from tests.parity.replay_folders import loadable, run_script
from tests.parity.test_golden import photo
from tests.shared_bundles import exported
from tests.specs import make_job
from tests.tiny_bundles import SIZE, assert_refused, tiny_bundle, tiny_model

ORDER_OF: dict[str, ChannelOrder] = dict(
    zip(TARGETS, ("rgb", "rgba", "bgr", "rgba", "rgb", "bgr"), strict=True)
)
"""One for each target; every order is there."""

CALIBRATED = [("tflite", "w8a8"), ("onnx", "w8a8")]


def uint8_bundle(target: str, scheme: str = "fp32") -> Bundle:
    """The tiny model's, in the target's channel order; to be read only."""
    order = ORDER_OF[target]
    return exported(
        tiny_model(), f"tiny-{order}", target, [scheme], input_variant="uint8", channel_order=order
    )[scheme]


def encoded(bundle: Bundle) -> np.ndarray:
    """The photo's embedding by a bundle's files, as an app gets it."""
    with bundle.predictor(threads=1) as predictor:
        predictor.set_image(photo().load())
        return np.asarray(predictor.embedding)


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def failed(report: BundleReport) -> set[tuple[str, str]]:
    return {(check.stage, check.metric) for check in report.checks if not check.passed}


@pytest.mark.parametrize("order", CHANNEL_ORDERS)
def test_the_app_lays_pixels_side_by_side_and_may_leave_anything_beside_the_photo(
    order: ChannelOrder,
) -> None:
    contract = Contract(SIZE, 16, 32, "uint8", 8, channel_order=order)
    pixels = photo().load()
    found = pack_image(pixels, contract)
    planes, valid_size = pixels_input(pixels, SIZE)
    image, (height, width) = found["image"], valid_size.astype(int)
    assert found["valid_size"].tolist() == valid_size.tolist()
    assert image.dtype == np.uint8 and image.shape == (1, SIZE, SIZE, len(order))
    for place, channel in enumerate("rgb"):
        own = image[0, :height, :width, order.index(channel)]
        assert np.array_equal(own, planes[0, place, :height, :width])
    assert (image[0, height:] == 255).all() and (image[0, :, width:] == 255).all()
    if order == "rgba":
        assert len(np.unique(image[0, :height, :width, 3])) > 2


@pytest.mark.parametrize("order", CHANNEL_ORDERS)
def test_the_module_computes_as_that_of_float_planes(order: ChannelOrder) -> None:
    pixels = photo().load()
    contract = Contract.of(tiny_model(), input_variant="uint8", channel_order=order)
    inputs = map(torch.from_numpy, pack_image(pixels, contract).values())
    found = build_module(tiny_model(), "encoder", contract)(*inputs)
    planes = build_module(tiny_model(), "encoder", Contract.of(tiny_model()))
    wanted = planes(*map(torch.from_numpy, pixels_input(pixels, SIZE)))
    # Another layout in memory, so that sums are taken in another order.
    assert relative(found.numpy(), wanted.numpy()) < 1e-6
    for name, value in example_inputs(contract, "encoder").items():
        spec = next(s for s in contract.signature("encoder").inputs if s.name == name)
        assert (spec.shape, spec.dtype) == (tuple(value.shape), str(value.dtype)[6:])


def test_what_is_timed_are_bytes() -> None:
    contract = Contract(64, 16, 256, "uint8", 8, channel_order="rgba")
    given = example(contract.signature("encoder").inputs, "uint8")
    assert given["image"].dtype == np.uint8 and 100 < given["image"].mean() < 155
    assert given["valid_size"].tolist() == [64, 64]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_passes_parity(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = uint8_bundle(target)
    manifest = bundle.manifest
    image = manifest.signatures["encoder"].inputs[0]
    if target == COREML:
        # A pixel buffer is bytes in the app's hands, and float planes in the graph.
        assert (manifest.input_variant, manifest.options["input"]) == ("pixels", "image")
    else:
        order = ORDER_OF[target]
        assert (manifest.input_variant, manifest.channel_order) == ("uint8", order)
        assert (image.dtype, image.shape) == ("uint8", (1, SIZE, SIZE, len(order)))
        assert manifest.preprocessing["colour"] == order.upper()
    predictor = Predictor(tiny_model())
    predictor.set_image(photo().load())
    assert relative(encoded(bundle), predictor.embedding.numpy()) < 1e-5
    loadable(monkeypatch, bundle)
    photos = write_photos(tmp_path / "photos")
    (own,) = comparison.compare(
        [bundle.path], runtimes=[bundle.runtimes[0]], images=photos, measure=False, progress=False
    ).bundles
    assert own.verdict == "PASS", own.reasons


@pytest.mark.slow
@pytest.mark.parametrize(("target", "scheme"), CALIBRATED)
def test_a_static_scheme_is_calibrated_as_with_float_planes(target: str, scheme: str) -> None:
    bundle, planes = uint8_bundle(target, scheme), tiny_bundle(target, scheme)
    ranges, theirs = bundle.manifest.activation_ranges, planes.manifest.activation_ranges
    assert {c: list(of) for c, of in ranges.items()} == {c: list(of) for c, of in theirs.items()}
    for place, bounds in ranges["encoder"].items():
        assert bounds == pytest.approx(theirs["encoder"][place], rel=1e-4, abs=1e-4), place
    own, others = encoded(bundle), encoded(planes)
    predictor = Predictor(tiny_model())
    predictor.set_image(photo().load())
    wanted = predictor.embedding.numpy()
    assert relative(own, wanted) < 1.1 * relative(others, wanted)
    assert relative(own, others) < 0.02


@pytest.mark.slow
def test_executorch_is_calibrated_as_with_float_planes(tmp_path: Path) -> None:
    """As PyTorch has the quantized program: to make a file of it takes a minute."""
    quantization = pytest.importorskip("converters.executorch.quantization")
    pixels = photo().load()

    def quantized(variant: InputVariant, order: ChannelOrder) -> np.ndarray:
        contract = Contract.of(tiny_model(), input_variant=variant, channel_order=order)
        given = {"contract": contract, "calibration": Calibration(tiny_model(), contract, None)}
        job = make_job(tiny_model(), "encoder", tmp_path, EXECUTORCH, "w8a8", **given)
        inputs = map(torch.from_numpy, pack_image(pixels, contract).values())
        with torch.inference_mode():
            answer: Tensor = quantization.quantize(job).module(check_guards=False)(*inputs)
        return answer.numpy()

    predictor = Predictor(tiny_model())
    predictor.set_image(pixels)
    wanted = predictor.embedding.numpy()
    own, others = quantized("uint8", "rgba"), quantized("pixels", "rgb")
    # XNNPACK's quantizer rounds other tensors where pixels are bytes.
    assert relative(own, wanted) < 1.1 * relative(others, wanted) < 0.1


Read = Callable[[PhotoEncoderModule, Tensor, Tensor], Tensor]


def planes_of(image: Tensor) -> Tensor:
    """The first three values of each pixel, as float planes."""
    return image.float().permute(0, 3, 1, 2)[:, :3]


def inside(module: EncoderModule, valid_size: Tensor) -> Tensor:
    """One where the photo is, zero beside it."""
    rows = module._inside(valid_size[0:1], (1, 1, -1, 1))
    return rows * module._inside(valid_size[1:2], (1, 1, 1, -1))


def _reversed(module: PhotoEncoderModule, image: Tensor, valid_size: Tensor) -> Tensor:
    return EncoderModule.forward(module, planes_of(image).flip(1), valid_size)


def _as_rgb(module: PhotoEncoderModule, image: Tensor, valid_size: Tensor) -> Tensor:
    return EncoderModule.forward(module, planes_of(image), valid_size)


def _not_normalized(module: PhotoEncoderModule, image: Tensor, valid_size: Tensor) -> Tensor:
    return module.image_encoder(planes_of(image) / 255 * inside(module, valid_size))


def _padding_left(module: PhotoEncoderModule, image: Tensor, valid_size: Tensor) -> Tensor:
    return module.image_encoder((planes_of(image) - module.mean) / module.std)


def _padding_black(module: PhotoEncoderModule, image: Tensor, valid_size: Tensor) -> Tensor:
    placed = planes_of(image) * inside(module, valid_size)
    return module.image_encoder((placed - module.mean) / module.std)


def _padding_taken_for_zero(
    module: PhotoEncoderModule, image: Tensor, valid_size: Tensor
) -> Tensor:
    """Right where an app fills the frame with zeros, which it need not."""
    moved = planes_of(image) - module.mean * inside(module, valid_size)
    return module.image_encoder(moved / module.std)


def _signed(module: PhotoEncoderModule, image: Tensor, valid_size: Tensor) -> Tensor:
    values = planes_of(image)
    return EncoderModule.forward(module, values - 256 * (values > 127), valid_size)


def _premultiplied(module: PhotoEncoderModule, image: Tensor, valid_size: Tensor) -> Tensor:
    """Right where the fourth value is 255, which no app has to write."""
    opaque = image[..., 3:].float().permute(0, 3, 1, 2) / 255
    return EncoderModule.forward(module, planes_of(image) * opaque, valid_size)


FAULTS: dict[str, tuple[Read, ChannelOrder]] = {
    "BGR where RGB is promised": (_reversed, "rgb"),
    "RGB where BGR is promised": (_as_rgb, "bgr"),
    "not normalised": (_not_normalized, "rgb"),
    "padding not zeroed": (_padding_left, "rgb"),
    "padding black before it is normalised": (_padding_black, "rgb"),
    "padding taken for zeros": (_padding_taken_for_zero, "rgb"),
    "bytes with a sign": (_signed, "rgb"),
    "transparency multiplied in": (_premultiplied, "rgba"),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("uint8") / "photos")


@pytest.fixture
def judge(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[ChannelOrder], BundleReport]:
    """Judges the modules of the demo weights as if they had been read from a bundle's files."""
    run_modules(monkeypatch)

    def run(order: ChannelOrder) -> BundleReport:
        given = {"input_variant": "uint8", "channel_order": order}
        return judged(tmp_path / "b", photos, **given)

    return run


@pytest.mark.parametrize("order", CHANNEL_ORDERS)
def test_the_right_module_passes(
    judge: Callable[[ChannelOrder], BundleReport], order: ChannelOrder
) -> None:
    own = judge(order)
    assert own.verdict == "PASS", own.reasons


@pytest.mark.parametrize("name", FAULTS)
def test_a_graph_that_misreads_the_pixels_fails(
    judge: Callable[[ChannelOrder], BundleReport], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    read, order = FAULTS[name]
    monkeypatch.setattr(converters.modules.PhotoEncoderModule, "forward", read)
    own = judge(order)
    assert own.verdict == "FAIL" and ("encoder", "relative_l2") in failed(own), own.reasons


@pytest.mark.parametrize(
    "changes",
    [{"channel_order": "bgr"}, {"input_variant": "pixels"}],
    ids=["order", "variant"],
)
def test_a_manifest_that_says_something_else_fails(
    changes: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: Path
) -> None:
    bundle = write_bundle(tmp_path / "b", demo_model(), input_variant="uint8")
    path = bundle / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    problems = list(manifest_differences(Bundle(bundle), "torchscript", ()))
    assert any("signatures.encoder.inputs" in problem for problem in problems)


@pytest.mark.slow
def test_golden_vectors_and_replay_have_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: Path
) -> None:
    bundle = uint8_bundle("onnx")
    row = Thresholds().row("onnx", "fp32")
    golden = write_golden(bundle, tiny_model(), photo(), row, tmp_path / "golden")
    image, valid_size = golden.encoder.inputs
    assert (image.dtype, valid_size.dtype) == ("uint8", "float32")
    assert (golden.input_variant, golden.channel_order) == ("uint8", ORDER_OF["onnx"])
    stored = np.fromfile(tmp_path / "golden" / image.file, np.uint8).reshape(image.shape)
    assert np.array_equal(stored, pack_image(photo().load(), bundle.manifest.contract)["image"])

    loadable(monkeypatch, bundle)
    made = pack([bundle.path], tmp_path / "pack", images=photos, progress=False)
    done = run_script(sys.executable, made.folder, "--threads", "1")
    assert done.returncode == 0, done.stderr
    (own,) = merge([made.folder], progress=False).bundles
    assert own.verdict == "PASS", own.reasons


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"channel_order": "bgr"},
        "order bgr is of the input variant 'uint8', not of 'pixels'",
    ),
    ({"input_variant": "uint8", "channel_order": "argb"}, "channel_order must be one of rgb, bgr"),
    (
        {"options": {EXECUTORCH: ExecuTorchOptions(backend="coreml")}, "input_variant": "uint8"},
        "none of uint8 before iOS 26: use the input variant 'pixels', or target coreml",
    ),
    (
        {"options": {ONNX: ONNXOptions(interface="sam")}, "input_variant": "uint8"},
        "interface 'sam' .* needs the input variant 'pixels', not 'uint8'",
    ),
]


@pytest.mark.parametrize(("asked", "sentence"), REFUSED, ids=["order", "word", "coreml", "sam"])
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, asked: dict[str, Any], sentence: str
) -> None:
    (target, *_) = asked.get("options", {"torchscript": None})
    assert_refused(target, sentence, tmp_path / "out", **asked)
