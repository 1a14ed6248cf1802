"""ONNX files with SAM's own interface: what its callers may ask, and what they get."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from converters.lookup import schemes_of
from converters.onnx.options import ONNXOptions
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.errors import BundleError, InputError
from mobilesam.inference.transforms import Frame, normalized_input, resize_longest_side
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.bundle import Bundle
from parity.bundles import require_own_interface
from parity.description import description_differences
from parity.references import logits_of
from parity.weight_audit.audit import audit
from parity.weight_audit.run import read_file
from tests.shared_bundles import exported
from tests.tiny_bundles import CHANNELS, SIZE, tiny_model

ort = pytest.importorskip("onnxruntime")

GRID = SIZE // 16
LOW = SIZE // 4
RANDOM = np.random.default_rng(0)
SIZES = [(128, 128), (40, 128), (333, 1000), (1200, 799), (5, 120), (721, 1279), (31, 17), (64, 1)]
"""Heights and widths of photos; 333 x 1000 and 721 x 1279 have a side near a half in the frame."""


def sam_bundle(scheme: str) -> Bundle:
    """The tiny model's, with all schemes made at once."""
    schemes = schemes_of("onnx")
    return exported(tiny_model(), "tiny-sam", "onnx", schemes, ONNXOptions(interface="sam"))[scheme]


@cache
def session(component: Component, scheme: str = "fp32") -> Any:
    path = sam_bundle(scheme).file(component, "onnxruntime")
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def decoder_inputs(
    labels: list[int], size: tuple[int, int], mask: bool = False
) -> dict[str, np.ndarray]:
    """Random numbers for everything that a caller gives beside labels and the photo's size."""
    coords = RANDOM.uniform(0, SIZE, (1, len(labels), 2)).astype(np.float32)
    return {
        "image_embeddings": RANDOM.normal(size=(1, CHANNELS, GRID, GRID)).astype(np.float32),
        "point_coords": coords,
        "point_labels": np.array([labels], np.float32),
        "mask_input": RANDOM.normal(size=(1, 1, LOW, LOW)).astype(np.float32) * 8,
        "has_mask_input": np.array([mask], np.float32),
        "orig_im_size": np.array(size, np.float32),
    }


@torch.inference_mode()
def pytorch(inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All four masks that the PyTorch model gives to the same tokens."""
    model = tiny_model()
    given = {name: torch.from_numpy(value) for name, value in inputs.items()}
    prompts = model.prompt_encoder
    sparse = prompts.embed_points(given["point_coords"], given["point_labels"])
    dense = prompts.embed_no_mask()
    if inputs["has_mask_input"][0]:
        dense = prompts.embed_mask(given["mask_input"])
    low_res, iou = model.mask_decoder(
        given["image_embeddings"], prompts.image_position(), sparse, dense
    )
    return low_res[0].numpy(), iou[0].numpy()


@pytest.mark.parametrize("scheme", schemes_of("onnx"))
def test_every_scheme_is_described_and_audited(scheme: str) -> None:
    bundle = sam_bundle(scheme)
    assert [*description_differences(bundle, "onnxruntime")] == []
    for component in COMPONENTS:
        found = audit(tiny_model(), component, read_file(bundle, "onnxruntime", component))
        assert (found.found, found.missing, found.wrong) == (found.total, [], [])


def test_names_and_order_are_sams() -> None:
    encoder, decoder = session("encoder"), session("decoder")
    assert [each.name for each in encoder.get_inputs()] == ["input_image"]
    assert [each.name for each in decoder.get_inputs()] == [
        "image_embeddings",
        "point_coords",
        "point_labels",
        "mask_input",
        "has_mask_input",
        "orig_im_size",
    ]
    outputs = [each.name for each in decoder.get_outputs()]
    assert outputs == ["masks", "iou_predictions", "low_res_masks"]


@pytest.mark.parametrize(
    ("labels", "mask", "ambiguous"),
    [
        ([1, -1], False, True),
        ([1], False, True),  # some callers leave SAM's padding point out
        ([0, -1], False, True),
        ([1, -1], True, False),
        ([1, 0, -1], False, False),
        ([2, 3], False, False),
        ([2, 3, -1], False, False),  # samexporter's runtime adds a padding point to a box too
        ([1, 2, 3], False, False),
        ([1, 0] * 12 + [-1], False, False),  # more than a decoder of eight slots holds
    ],
)
def test_any_number_of_points_gets_the_mask_that_sam_shows(
    labels: list[int], mask: bool, ambiguous: bool
) -> None:
    inputs = decoder_inputs(labels, (90, 120), mask)
    masks, iou, low_res = session("decoder").run(None, inputs)
    four, predicted = pytorch(inputs)
    chosen = 1 + int(np.argmax(predicted[1:])) if ambiguous else 0
    assert low_res.shape == (1, 1, LOW, LOW) and masks.shape == (1, 1, 90, 120)
    assert np.allclose(low_res[0, 0], four[chosen], atol=1e-4 * np.abs(four[chosen]).max())
    assert np.allclose(iou[0, 0], predicted[chosen], atol=1e-4)


def test_a_mask_alone_needs_one_unused_slot() -> None:
    inputs = decoder_inputs([-2], (90, 120), mask=True)
    low_res = session("decoder").run(["low_res_masks"], inputs)[0]
    without = inputs | {
        "point_coords": np.zeros((1, 0, 2), np.float32),
        "point_labels": np.zeros((1, 0), np.float32),
    }
    four, _ = pytorch(without)
    assert np.allclose(low_res[0, 0], four[0], atol=1e-4 * np.abs(four[0]).max())


@pytest.mark.parametrize("size", SIZES)
def test_masks_are_at_the_photos_own_size(size: tuple[int, int]) -> None:
    masks, _, low_res = session("decoder").run(None, decoder_inputs([1, -1], size))
    wanted = logits_of(low_res[0], Frame(size, SIZE))
    assert masks[0].shape == wanted.shape
    assert np.linalg.norm(masks[0] - wanted) <= 1e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize("size", [(96, 128), (128, 50), (300, 400), (171, 256)])
def test_the_encoder_takes_a_photo_of_any_shape(size: tuple[int, int]) -> None:
    photo = RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8)
    scaled = resize_longest_side(photo, SIZE)
    found = session("encoder").run(None, {"input_image": scaled.astype(np.float32)})[0]
    with torch.inference_mode():
        wanted = tiny_model().image_encoder(torch.from_numpy(normalized_input(photo, SIZE))).numpy()
    assert np.linalg.norm(found - wanted) <= 1e-5 * np.linalg.norm(wanted)


def test_a_photo_that_was_not_scaled_is_refused() -> None:
    too_large = np.zeros((SIZE, SIZE + 1, 3), np.float32)
    with pytest.raises(Exception, match="Reshape"):
        session("encoder").run(None, {"input_image": too_large})


def test_the_app_cannot_normalise_there() -> None:
    with pytest.raises(InputError, match="needs the input variant 'pixels'"):
        ONNXOptions(interface="sam").check(["fp32"], "normalized")


def test_masks_of_another_size_are_an_error() -> None:
    with open_runner(sam_bundle("fp32"), "onnxruntime", components=("decoder",)) as runner:
        inputs = decoder_inputs([1, -1], (90, 120))
        embedding = inputs.pop("image_embeddings")
        run = runner.run
        runner.run = lambda *given: {  # type: ignore[method-assign]
            name: value.transpose(0, 1, 3, 2) if name == "masks" else value
            for name, value in run(*given).items()
        }
        with pytest.raises(BundleError, match="masks of 120 x 90 pixels"):
            runner.decode_prepared(embedding, inputs)


def test_what_needs_four_masks_refuses() -> None:
    with pytest.raises(InputError, match="has the interface 'sam', and why not: export"):
        require_own_interface(sam_bundle("fp32"), "why not")
