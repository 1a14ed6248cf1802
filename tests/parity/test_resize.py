"""``--resize``: the encoder scales the app's photos itself, and one that scales otherwise fails."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import converters.modules
from converters import export
from converters.executorch.options import ExecuTorchOptions
from converters.modules import Resampling, ResizingEncoderModule, build_module, example_inputs
from converters.onnx.options import ONNXOptions
from converters.schemes import COREML, EXECUTORCH, ONNX, TARGETS
from mobilesam.bundle.contract import Contract, pack_image
from mobilesam.bundle.manifest import MANIFEST_NAME
from mobilesam.bundle.prompt_types import Subject
from mobilesam.errors import ImageError, InputError
from mobilesam.inference.predictor import Predictor
from mobilesam.inference.resampling import Taps, taps
from mobilesam.inference.transforms import CHANNEL_ORDERS, ChannelOrder, resize_longest_side
from mobilesam.runtimes.bundle import Bundle
from parity import comparison
from parity.bundles import require_any_photo
from parity.cases import PromptedPhoto
from parity.description.manifest import manifest_differences
from parity.framing import framed
from parity.golden import write_golden
from parity.schema import BundleReport
from parity.thresholds import Thresholds
from tests.parity.fakes import (
    demo_model,
    judged,
    run_modules,
    write_bundle,
    write_photos,
)
from tests.parity.replay_folders import loadable
from tests.parity.test_golden import photo
from tests.shared_bundles import exported
from tests.tiny_bundles import SIZE, assert_refused, tiny_model

PHOTO = (150, 200)
"""Of the bundles; larger than their frame."""

CASES = [(150, 200), (200, 150), (400, 100), (96, SIZE), (SIZE, SIZE), (60, 45), (311, 257)]
"""Shrunk, tall, taller (Pillow takes rows first), as they are, square, enlarged, odd."""


def noise(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


def resizing(size: tuple[int, int] = PHOTO, order: ChannelOrder = "rgb") -> Contract:
    return Contract.of(tiny_model(), input_variant="uint8", channel_order=order, photo_size=size)


def resized_bundle(target: str, scheme: str = "fp32") -> Bundle:
    """The tiny model's; to be read only."""
    return exported(
        tiny_model(),
        "tiny-resize",
        target,
        [scheme],
        input_variant="uint8",
        channel_order="rgba",
        photo_size=PHOTO,
    )[scheme]


def failed(report: BundleReport) -> set[tuple[str, str]]:
    return {(check.stage, check.metric) for check in report.checks if not check.passed}


@pytest.mark.parametrize("size", CASES)
def test_the_module_scales_as_pillow_bit_for_bit(size: tuple[int, int]) -> None:
    module = build_module(tiny_model(), "encoder", resizing(size))
    assert isinstance(module, ResizingEncoderModule)
    photo = noise(size)
    planes = torch.from_numpy(photo).float().permute(2, 0, 1)[None]
    for step in module.steps:
        planes = step(planes)
    found = planes[0].permute(1, 2, 0).numpy()
    assert np.array_equal(found, resize_longest_side(photo, SIZE))


@pytest.mark.parametrize("order", CHANNEL_ORDERS)
def test_the_module_encodes_as_the_reference(order: ChannelOrder) -> None:
    photo, contract = noise(PHOTO), resizing(order=order)
    inputs = pack_image(photo, contract)
    assert [*inputs] == ["image"] and inputs["image"].shape == (1, *PHOTO, len(order))
    found = build_module(tiny_model(), "encoder", contract)(torch.from_numpy(inputs["image"]))
    predictor = Predictor(tiny_model())
    predictor.set_image(photo)
    assert torch.allclose(found, predictor.embedding, rtol=1e-5, atol=1e-5)
    (spec,) = contract.signature("encoder").inputs
    (value,) = example_inputs(contract, "encoder").values()
    assert (spec.name, spec.shape, spec.dtype) == ("image", tuple(value.shape), "uint8")


def test_sums_stay_exact_where_an_encoder_shrinks_most() -> None:
    Resampling(12 * SIZE, SIZE, 3)
    with pytest.raises(InputError, match=r"must be 16 to 1536 pixels, not 100x1600"):
        export(tiny_model(), targets="torchscript", input_variant="uint8", photo_size=(100, 1600))


def test_photos_of_another_size_are_refused_with_a_sentence() -> None:
    with pytest.raises(ImageError, match=r"takes photos of 200 x 150 pixels .* not of 150 x 200"):
        pack_image(noise((200, 150)), resizing())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("resize") / "photos")


Judge = Callable[[], BundleReport]


@pytest.fixture
def judge(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """Judges the modules of the demo weights as if they had been read from a bundle's files."""
    run_modules(monkeypatch)

    return partial(judged, tmp_path / "b", photos, input_variant="uint8", photo_size=(105, 140))


def test_the_right_module_passes(judge: Judge) -> None:
    own = judge()
    assert own.verdict == "PASS", own.reasons


def _shifted(pixels: float) -> Callable[[int, int], Taps]:
    """Weights of an image that lies so many pixels further on."""

    def made(old: int, new: int) -> Taps:
        fine = taps(2 * old, new)  # of half pixels
        index = (fine.index + round(2 * pixels)) // 2
        return replace(fine, index=np.clip(index, 0, old - 1))

    return made


def _four_pixels(old: int, new: int) -> Taps:
    """Bilinear between neighbours, which does not widen when it shrinks."""
    place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.floor(place).astype(int)
    share = np.round((place - low) * 2**22).astype(np.int64)
    return Taps(np.stack([low, np.minimum(low + 1, old - 1)]), np.stack([2**22 - share, share]))


def _nearest(old: int, new: int) -> Taps:
    place = ((np.arange(new) + 0.5) * old / new).astype(int)[None]
    return Taps(place, np.full_like(place, 2**22))


def _corners(old: int, new: int) -> Taps:
    """First and last pixels on each other."""
    place = np.round(np.linspace(0, old - 1, new)).astype(int)[None]
    return Taps(place, np.full_like(place, 2**22))


WEIGHTS: dict[str, Callable[[int, int], Taps]] = {
    "half a pixel to the left": _shifted(0.5),
    "half a pixel to the right": _shifted(-0.5),
    "not widened, as platforms' bilinear filters": _four_pixels,
    "nearest": _nearest,
    "corners aligned": _corners,
    "mirrored": lambda old, new: replace(taps(old, new), index=old - 1 - taps(old, new).index),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_other_weights_fail(judge: Judge, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(converters.modules, "taps", WEIGHTS[name])
    own = judge()
    assert own.verdict == "FAIL" and ("encoder", "relative_l2") in failed(own), own.reasons


Read = Callable[[ResizingEncoderModule, Tensor], Tensor]
RIGHT = ResizingEncoderModule.forward


def _swapped(module: ResizingEncoderModule, image: Tensor) -> Tensor:
    rows, columns, channels = image.shape[1:]
    return RIGHT(module, image.reshape(1, columns, rows, channels).transpose(1, 2))


def _at_the_right(module: ResizingEncoderModule, image: Tensor) -> Tensor:
    left, right, top, bottom = module.padding
    module.padding = (right, left, bottom, top)
    return RIGHT(module, image)


def _black(module: ResizingEncoderModule, image: Tensor) -> Tensor:
    planes = module.planes(image.float())
    for step in module.steps:
        planes = step(planes)
    framed = torch.nn.functional.pad(planes, module.padding)
    return module.image_encoder((framed - module.mean) / module.std)


READ: dict[str, Read] = {
    "height and width swapped": _swapped,
    "padding at the other side": _at_the_right,
    "padding black before it is normalised": _black,
    "BGR": lambda module, image: RIGHT(module, image.flip(3)),
}


@pytest.mark.parametrize("name", READ)
def test_a_graph_that_misreads_the_photo_fails(
    judge: Judge, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(ResizingEncoderModule, "forward", READ[name])
    own = judge()
    assert own.verdict == "FAIL" and ("encoder", "relative_l2") in failed(own), own.reasons


@pytest.mark.parametrize("size", [[140, 105], None])
def test_a_manifest_that_says_another_size_fails(tmp_path: Path, size: list[int] | None) -> None:
    bundle = write_bundle(
        tmp_path / "b", demo_model(), input_variant="uint8", photo_size=(105, 140)
    )
    path = bundle / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"photo_size": size}), "utf-8")
    problems = list(manifest_differences(Bundle(bundle), "torchscript", ()))
    assert any("signatures.encoder.inputs" in problem for problem in problems)


def test_parity_cuts_photos_to_the_frame_around_their_subject() -> None:
    pixels = np.zeros((100, 300, 3), np.uint8)
    mask = np.zeros((100, 300), bool)
    mask[40:60, 230:270] = pixels[40:60, 230:270] = True
    pixels *= 255
    given = PromptedPhoto(
        "p", lambda: pixels, lambda _: Subject((230, 40, 270, 60), (250, 50), mask)
    )
    cut = framed(given, (200, 200))
    found, subject = cut.load(), cut.subject((200, 200))
    assert found.shape == (200, 200, 3)
    assert subject.box == (60, 80, 140, 120) and subject.point == (100, 100)
    assert subject.mask is not None and np.array_equal(subject.mask, found[..., 0] > 127)
    tall = framed(given, (300, 100)).subject((300, 100))
    assert tall.box == (0, 120, 100, 180) and tall.mask is not None and tall.mask.all(axis=1).any()


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_passes_parity(
    target: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = resized_bundle(target)
    image, *others = bundle.manifest.signatures["encoder"].inputs
    assert bundle.manifest.photo_size == PHOTO and not others
    if target == COREML:
        # A pixel buffer is bytes in the app's hands, and float planes in the graph.
        assert (bundle.manifest.input_variant, image.shape) == ("pixels", (1, 3, *PHOTO))
    else:
        assert (image.dtype, image.shape) == ("uint8", (1, *PHOTO, 4))
    loadable(monkeypatch, bundle)
    (own,) = comparison.compare(
        [bundle.path], runtimes=[bundle.runtimes[0]], images=photos, measure=False, progress=False
    ).bundles
    assert own.verdict == "PASS", own.reasons
    assert max(case.relative_l2 for case in own.encoder) < 1e-5
    with pytest.raises(InputError, match="without --resize"):
        require_any_photo(bundle, "it is asked about others")
    if target == ONNX:
        row = Thresholds().row(ONNX, "fp32")
        golden = write_golden(bundle, tiny_model(), photo(), row, tmp_path / "golden")
        (given,) = golden.encoder.inputs
        assert given.shape == (1, *PHOTO, 4) and golden.original_size == PHOTO


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"input_variant": "pixels"}, "--resize needs --input uint8, not pixels"),
    ({"photo_size": (8, 200)}, "must be 16 to 1536 pixels, not 8x200"),
    (
        {"options": {EXECUTORCH: ExecuTorchOptions(backend="coreml")}},
        "target coreml, which takes a pixel buffer",
    ),
    ({"options": {ONNX: ONNXOptions(interface="sam")}}, "needs the input variant 'pixels'"),
]


@pytest.mark.parametrize(("asked", "sentence"), REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, asked: dict[str, Any], sentence: str
) -> None:
    (target, *_) = asked.get("options", {"torchscript": None})
    given = {"input_variant": "uint8", "photo_size": PHOTO} | asked
    assert_refused(target, sentence, tmp_path / "out", **given)
