"""Faults in how an ONNX file speaks SAM's interface turn the verdict to FAIL; the good file passes.

The encoder and the decoder are fed as annotation programs feed them: samexporter 0.5.0's runtime,
AnyLabeling and CVAT.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from converters.onnx.options import ONNXOptions  # noqa: E402
from mobile_runtime_tests import faults  # noqa: E402
from mobile_runtime_tests.helpers import SIZE, Judge, failed  # noqa: E402
from mobilesam.bundle.contract import Component  # noqa: E402
from mobilesam.data.sample_photos import PHOTOS  # noqa: E402
from mobilesam.inference.predictor import Predictor, choose_mask  # noqa: E402
from mobilesam.inference.prompts import make_prompt  # noqa: E402
from mobilesam.inference.transforms import MASK_THRESHOLD, upscale_logits  # noqa: E402
from mobilesam.runtimes.bundle import Bundle  # noqa: E402
from parity.audits import add_audits  # noqa: E402
from parity.metrics import iou  # noqa: E402
from tests.shared_bundles import demo_model, exported  # noqa: E402

Model = Any
Edit = Callable[[Model], None]


@cache
def good() -> Path:
    """The demo weights', float32."""
    options = ONNXOptions(interface="sam")
    return exported(demo_model(), "demo-sam", "onnx", ["fp32"], options)["fp32"].path


def node(model: Model, name: str) -> Any:
    """A node of those that speak the interface."""
    return next(each for each in model.graph.node if each.name == f"sam_{name}")


def constant(model: Model, name: str, values: object) -> None:
    """Replace a constant's values."""
    found = next(c for c in model.graph.initializer if c.name == f"sam_{name}")
    array = onnx.numpy_helper.to_array(found)
    found.CopyFrom(onnx.numpy_helper.from_array(np.array(values, array.dtype), found.name))


def between(reader: str, place: int, kind: str, given: Sequence[object], **attributes: Any) -> Edit:
    """Put a node before one of the inputs of another.

    Args:
        reader: name of the other node. place: of the input.
        kind: of the new node. given: its further inputs, as arrays. attributes: its own.
    """

    def edit(model: Model) -> None:
        other = node(model, reader)
        names = [f"fault_{index}" for index in range(len(given))]
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(np.asarray(a), n)
            for a, n in zip(given, names, strict=True)
        )
        made = onnx.helper.make_node(
            kind, [other.input[place], *names], ["fault"], "fault", **attributes
        )
        other.input[place] = "fault"
        model.graph.node.insert(list(model.graph.node).index(other), made)

    return edit


def resized(name: str, mode: str) -> Edit:
    """Another mapping of pixels in one of the two scalings."""

    def edit(model: Model) -> None:
        (attribute,) = [
            a for a in node(model, name).attribute if a.name == "coordinate_transformation_mode"
        ]
        attribute.s = mode.encode()

    return edit


def input_changed(name: str, kind: str, given: Sequence[object]) -> Edit:
    """Put a node before every reader of an input of the graph."""

    def edit(model: Model) -> None:
        for each in model.graph.node:
            each.input[:] = ["changed" if other == name else other for other in each.input]
        names = [f"fault_{index}" for index in range(len(given))]
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(np.asarray(a), n)
            for a, n in zip(given, names, strict=True)
        )
        model.graph.node.insert(0, onnx.helper.make_node(kind, [name, *names], ["changed"]))

    return edit


def padding_left_out(model: Model) -> None:
    """SAM's padding point, label -1, read as an unused slot, label -2."""
    input_changed("point_labels", "Less", [np.array(-0.5, np.float32)])(model)
    model.graph.node[0].output[0] = "fault_is"
    cast = onnx.helper.make_node("Cast", ["fault_is"], ["fault_one"], to=onnx.TensorProto.FLOAT)
    model.graph.node.insert(1, cast)
    lower = onnx.helper.make_node("Sub", ["point_labels", "fault_one"], ["changed"])
    model.graph.node.insert(2, lower)


SWAP = np.array([1, 0], np.int64)

FAULTS: dict[str, tuple[Component, Edit, str]] = {
    "orig_im_size as width and height": (
        "decoder",
        input_changed("orig_im_size", "Gather", [SWAP]),
        "masks of",
    ),
    "the crop of width and height": (
        "decoder",
        between("inside", 2, "Gather", [SWAP]),
        "upscaling",
    ),
    "no crop before the last resize": (
        "decoder",
        between("inside", 2, "Max", [np.array([SIZE, SIZE], np.int64)]),
        "upscaling",
    ),
    "a crop that is a pixel short": (
        "decoder",
        between("inside", 2, "Sub", [np.array([1, 1], np.int64)]),
        "upscaling",
    ),
    "half a pixel off in the frame": ("decoder", resized("frame", "asymmetric"), "upscaling"),
    "half a pixel off in the photo": ("decoder", resized("masks", "asymmetric"), "upscaling"),
    "corners aligned in the frame": ("decoder", resized("frame", "align_corners"), "upscaling"),
    "masks of zeros and ones": ("decoder", between("masks", 0, "Sign", []), "upscaling"),
    "the padding point left out": ("decoder", padding_left_out, "logits_relative_l2"),
    "the padding point taken for background": (
        "decoder",
        input_changed("point_labels", "Max", [np.zeros(1, np.float32)]),
        "logits_relative_l2",
    ),
    "always mask 0": ("decoder", lambda m: constant(m, "lone", [99]), "shown_iou_mean"),
    "the best of three for two points too": (
        "decoder",
        lambda m: constant(m, "lone", [2]),
        "shown_iou_mean",
    ),
    "the worst of three": (
        "decoder",
        lambda m: setattr(node(m, "best"), "op_type", "ArgMin"),
        "shown_iou_mean",
    ),
    "a mask input not counted in the choice": (
        "decoder",
        between("asked", 1, "Mul", [np.zeros(1, np.float32)]),
        "shown_iou",
    ),
    "the predicted IoU of mask 0": (
        "decoder",
        between("iou", 1, "Mul", [np.zeros(1, np.int64)]),
        "iou_prediction",
    ),
    "channels in the order BGR": (
        "encoder",
        between("planes", 0, "Gather", [np.array([2, 1, 0], np.int64)], axis=2),
        "relative_l2",
    ),
    "rows and columns of the photo exchanged": (
        "encoder",
        between("planes", 0, "Transpose", [], perm=[1, 0, 2]),
        "could not be run",
    ),
    "padding of black, not of the mean": (
        "encoder",
        between("valid_size", 0, "Max", [np.array([SIZE, SIZE], np.int64)]),
        "relative_l2",
    ),
}


def edited(name: str, folder: Path) -> Path:
    component, edit, _ = FAULTS[name]

    def change(path: Path) -> None:
        model = onnx.load(str(path))
        edit(model)
        onnx.save(model, str(path))

    return faults.rewritten(good(), folder, component, change)


def test_the_good_file_passes_and_is_audited(judge: Judge) -> None:
    report = judge(good(), "onnxruntime")
    add_audits(report, Bundle(good()), "onnxruntime", demo_model())
    assert report.verdict == "PASS", report.reasons
    assert [audit.accounted == audit.parameters for audit in report.weight_audits] == [True, True]


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_fails(name: str, judge: Judge, scratch: Path) -> None:
    report = judge(edited(name, scratch), "onnxruntime")
    assert report.verdict == "FAIL"
    metrics = {metric for _, metric in failed(report)}
    wanted = FAULTS[name][2]
    assert any(m.startswith(wanted) for m in metrics) or wanted in " ".join(report.reasons)


@pytest.mark.parametrize("side", [SIZE, SIZE // 3 * 2])
@pytest.mark.parametrize("kind", ["click", "two points", "box"])
def test_answers_callers_as_pytorch_does(kind: str, side: int) -> None:
    """A photo's longest side is the frame's, as samexporter feeds it, or less, as AnyLabeling may.

    They add a padding point to every prompt, so the box is held against the same tokens.
    """
    photo = PHOTOS[0].load()[:, : PHOTOS[0].load().shape[1] * 2 // 3]
    height, width = photo.shape[:2]
    scale = side / max(height, width)
    h, w = round(height * scale), round(width * scale)
    shown = np.asarray(Image.fromarray(photo).resize((w, h), Image.Resampling.BILINEAR))
    canvas = np.zeros((h, SIZE, 3), np.uint8)  # black at the right of what is shown
    canvas[:, :w] = shown
    model = demo_model()
    predictor = Predictor(model)
    predictor.set_image(canvas)
    points, labels = {
        "click": ([[w / 2, h / 2]], [1]),
        "two points": ([[w / 2, h / 2], [w / 8, h / 8]], [1, 0]),
        "box": ([[w / 4, h / 4], [w * 3 / 4, h * 3 / 4]], [2, 3]),
    }[kind]
    coords = np.array([*points, [0, 0]], np.float32)[None]
    tokens = np.array([[*labels, -1]], np.float32)
    encoder, decoder = (
        ort.InferenceSession(str(good() / f"{c}.onnx"), providers=["CPUExecutionProvider"])
        for c in ("encoder", "decoder")
    )
    (embedding,) = encoder.run(None, {encoder.get_inputs()[0].name: canvas.astype(np.float32)})
    masks, _, _ = decoder.run(
        None,
        {
            "image_embeddings": embedding,
            "point_coords": coords,
            "point_labels": tokens,
            "mask_input": np.zeros((1, 1, SIZE // 4, SIZE // 4), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(canvas.shape[:2], np.float32),
        },
    )
    prompts = model.prompt_encoder
    with torch.inference_mode():
        sparse = prompts.embed_points(torch.from_numpy(coords), torch.from_numpy(tokens))
        low_res, quality = model.mask_decoder(
            predictor.embedding, prompts.image_position(), sparse, prompts.embed_no_mask()
        )
    chosen = 1 + int(quality[0, 1:].argmax()) if kind == "click" else 0
    wanted = upscale_logits(low_res[:, chosen : chosen + 1], predictor.frame)[0, 0].numpy()
    assert iou(masks[0, 0] > MASK_THRESHOLD, wanted > MASK_THRESHOLD) >= 0.999
    if kind != "box":
        prompt = make_prompt(points, labels, original_size=canvas.shape[:2])
        four, predicted = predictor.decode(prompt)
        assert torch.equal(four, low_res)
        assert choose_mask(prompt, predicted[0].numpy()) == chosen
