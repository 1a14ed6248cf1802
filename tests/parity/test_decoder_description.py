"""Edits of what a decoder, or a bundle's manifest, says of itself are named, beside those of
:mod:`tests.parity.test_description`, which are of encoders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobilesam.runtimes.bundle import Bundle
from parity.description import description_differences
from tests.parity import description_edits as edits
from tests.tiny_bundles import tiny_bundle

Edit = Callable[[Any], object]


def _renamed(features: Any, names: dict[str, str]) -> None:
    for feature in features:
        feature.name = names.get(feature.name, feature.name)


_SWAPPED = {"low_res_masks": "iou_predictions", "iou_predictions": "low_res_masks"}
_PROMPTS = {"point_coords": "point_labels", "point_labels": "point_coords"}
_RENAMED = {"low_res_masks": "masks", "iou_predictions": "scores"}


def _said(words: str, at: int = 1) -> Edit:
    """Another text beside a Core ML input, as Xcode shows it."""
    return lambda spec: setattr(spec.description.input[at], "shortDescription", words)


def _coreml_shape(at: int, *shape: int) -> Edit:
    def change(spec: Any) -> None:
        spec.description.output[at].type.multiArrayType.shape[:] = shape

    return change


def _exchanged_words(spec: Any) -> None:
    first, second = spec.description.output
    first.shortDescription, second.shortDescription = (
        second.shortDescription,
        first.shortDescription,
    )


COREML: dict[str, tuple[Edit, str]] = {
    "outputs' names exchanged": (
        lambda spec: _renamed(spec.description.output, _SWAPPED),
        "output 'iou_predictions' is described as float32 [1, 4, 32, 32]",
    ),
    "outputs renamed": (
        lambda spec: _renamed(spec.description.output, _RENAMED),
        "output 'masks' is described",
    ),
    "inputs' names exchanged": (
        lambda spec: _renamed(spec.description.input, _PROMPTS),
        "input 'point_labels' is described as float32 [1, 8, 2]",
    ),
    "masks of the photo's size": (_coreml_shape(0, 1, 4, 128, 128), "[1, 4, 128, 128]"),
    "three masks": (_coreml_shape(0, 1, 3, 32, 32), "[1, 3, 32, 32]"),
    "a dropped output": (lambda spec: spec.description.output.pop(), "is not described"),
    "an added input": (
        lambda spec: spec.description.input.add(
            name="orig_im_size"
        ).type.multiArrayType.shape.append(2),
        "input 'orig_im_size' is described",
    ),
    "words: coordinates from 0 to 1": (
        _said("x, y from 0 to 1"),
        "is described in words as 'x, y from 0 to 1'",
    ),
    "words of two outputs exchanged": (_exchanged_words, "is described in words as"),
    "updatable": (lambda spec: setattr(spec, "isUpdatable", True), "described as updatable"),
    "weights of other digests": (
        lambda spec: spec.description.metadata.userDefined.update({"weights_sha256": "0" * 64}),
        "metadata 'weights_sha256'",
    ),
    "a scheme of other bits": (
        lambda spec: spec.description.metadata.userDefined.update({"scheme": "p4"}),
        "metadata 'scheme' is 'p4'",
    ),
}


def _onnx_words(model: Any) -> None:
    model.graph.input[1].doc_string = "y, x in pixels of the photo"


def _external(model: Any) -> None:
    constant = model.graph.initializer[0]
    constant.ClearField("raw_data")
    constant.data_location = 1
    constant.external_data.add(key="location", value="../weights.bin")


def _onnx_renamed(values: Any, nodes: Any, names: dict[str, str]) -> None:
    for value in values:
        value.name = names.get(value.name, value.name)
    for node in nodes:
        for names_of in (node.input, node.output):
            names_of[:] = [names.get(name, name) for name in names_of]


ONNX: dict[str, tuple[Edit, str]] = {
    "outputs' names exchanged": (
        lambda model: _onnx_renamed(model.graph.output, model.graph.node, _SWAPPED),
        "output 'iou_predictions' is described as float32 [1, 4, 32, 32]",
    ),
    "outputs renamed": (
        lambda model: _onnx_renamed(model.graph.output, model.graph.node, _RENAMED),
        "output 'masks' is described",
    ),
    "inputs' names exchanged": (
        lambda model: _onnx_renamed(model.graph.input, model.graph.node, _PROMPTS),
        "input 'point_labels' is described as float32 [1, 8, 2]",
    ),
    "outputs in another order": (
        lambda model: model.graph.output.append(model.graph.output.pop(0)),
        "outputs are in the order iou_predictions, low_res_masks",
    ),
    "a dropped output": (lambda model: model.graph.output.pop(), "is not described"),
    "words: y before x": (_onnx_words, "is described in words as 'y, x in pixels"),
    "constants outside of the bundle": (_external, "lies in another file"),
    "a free number of slots": (
        lambda model: setattr(
            model.graph.input[1].type.tensor_type.shape.dim[1], "dim_param", "slots"
        ),
        "[1, ?, 2]",
    ),
    "weights of other digests": (
        lambda model: setattr(
            next(e for e in model.metadata_props if e.key == "weights_sha256"), "value", "0" * 64
        ),
        "metadata 'weights_sha256'",
    ),
    "a training graph": (lambda model: model.training_info.add(), "training information"),
}


def _named(signature: Any, names: dict[str, str]) -> None:
    for entry in signature:
        entry.name = names.get(entry.name.decode(), entry.name.decode()).encode()


def _second_signature(model: Any) -> None:
    import copy

    other = copy.deepcopy(model.signatureDefs[0])
    other.signatureKey = b"serving_default"
    model.signatureDefs.append(other)


TFLITE: dict[str, tuple[Edit, str]] = {
    "outputs' names exchanged": (
        lambda model: _named(model.signatureDefs[0].outputs, _SWAPPED),
        "output 'iou_predictions' is described as float32 [1, 4, 32, 32]",
    ),
    "outputs renamed": (
        lambda model: _named(model.signatureDefs[0].outputs, _RENAMED),
        "output 'masks' is described",
    ),
    "inputs' names exchanged": (
        lambda model: _named(model.signatureDefs[0].inputs, _PROMPTS),
        "input 'point_labels' is described as float32 [1, 8, 2]",
    ),
    "outputs in another order": (
        lambda model: setattr(
            model.subgraphs[0], "outputs", [int(i) for i in model.subgraphs[0].outputs[::-1]]
        ),
        "outputs of the graph are in the order",
    ),
    "a second signature": (_second_signature, "signatures are decode, serving_default"),
    "an input that is a constant": (
        lambda model: setattr(
            model.subgraphs[0].tensors[int(model.subgraphs[0].inputs[4])],
            "buffer",
            next(i for i, b in enumerate(model.buffers) if b.data is not None and len(b.data)),
        ),
        "is a constant of the file",
    ),
    "labels of int32": (
        lambda model: setattr(
            model.subgraphs[0].tensors[int(model.subgraphs[0].inputs[2])], "type", 2
        ),
        "described as int32",
    ),
}
FILES = [
    *(("coreml", name, edits.coreml(change), text) for name, (change, text) in COREML.items()),
    *(("onnx", name, edits.onnx(change), text) for name, (change, text) in ONNX.items()),
    *(("tflite", name, edits.tflite(change), text) for name, (change, text) in TFLITE.items()),
]


def _exchange_paths(manifest: edits.Manifest) -> None:
    first, second = manifest["files"][:2]
    for key in ("path", "sha256", "size_bytes"):
        first[key], second[key] = second[key], first[key]


MANIFEST: dict[str, tuple[Callable[[edits.Manifest], object], str]] = {
    "components' files exchanged": (_exchange_paths, "it has the signatures"),
    "label missing for points": (lambda m: m["labels"].pop("1"), "labels.1 is missing"),
    "corners' labels exchanged": (
        lambda m: m["labels"].update({"2": m["labels"]["3"], "3": m["labels"]["2"]}),
        "labels.2 is",
    ),
    "mean of ImageNet from 0 to 1": (
        lambda m: m["preprocessing"].update(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        "preprocessing.std",
    ),
    "mean in the order BGR": (lambda m: m["preprocessing"]["mean"].reverse(), "preprocessing.mean"),
    "padding in the middle": (
        lambda m: m["preprocessing"].update(place="centre"),
        "preprocessing.place is 'centre'",
    ),
    "normalised by the app": (
        lambda m: m["preprocessing"].update(normalised_by="app"),
        "preprocessing.normalised_by",
    ),
    "corners aligned": (
        lambda m: m["postprocessing"].update(
            resize="to the photo's size, bilinear, align_corners true"
        ),
        "postprocessing.resize",
    ),
    "the best of all four masks": (
        lambda m: m["postprocessing"].update(choice="the best iou_predictions"),
        "postprocessing.choice",
    ),
    "outputs in another order": (
        lambda m: m["signatures"]["decoder"]["outputs"].reverse(),
        "signatures.decoder.outputs",
    ),
    "inputs in another order": (
        lambda m: m["signatures"]["decoder"]["inputs"].reverse(),
        "signatures.decoder.inputs",
    ),
    "coordinates from 0 to 1": (
        lambda m: m["signatures"]["decoder"]["inputs"][1].update(meaning="x, y from 0 to 1"),
        "point_coords.meaning",
    ),
    "stride": (lambda m: m.update(stride=8), "shape"),
    "channels": (lambda m: m.update(channels=64), "shape"),
    "slot counts": (lambda m: m.update(slot_counts=[2, 4, 8]), "slot_counts"),
    "another runtime's name": (
        lambda m: [each.update(runtime="coreml") for each in m["files"]],
        "'coreml' is none of target 'tflite'",
    ),
    "a file of another format": (
        lambda m: m["files"][0].update(path="manifest.json"),
        "does not end in '.tflite'",
    ),
    "another target": (lambda m: m.update(target="onnx"), "none of target 'onnx'"),
    "another scheme": (lambda m: m["scheme"].update(name="w8"), "scheme.meaning"),
    "a function that is not there": (
        lambda m: m["files"][0].update(function="encode"),
        "names the function 'encode'",
    ),
}


def said(bundle: Bundle) -> str:
    return "\n".join(description_differences(bundle, bundle.runtimes[0], bundle.altered()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "edit", "text"),
    [pytest.param(t, edit, text, id=f"{t}-{name}") for t, name, edit, text in FILES],
)
def test_an_edit_of_a_decoder_is_named(
    target: str, edit: edits.FileEdit, text: str, tmp_path: Path
) -> None:
    bundle = edits.edited(tiny_bundle(target), tmp_path, "decoder", edit)
    assert text in said(bundle)


@pytest.mark.slow
@pytest.mark.parametrize(("change", "text"), MANIFEST.values(), ids=MANIFEST)
def test_an_edit_of_a_manifest_is_named(
    change: Callable[[edits.Manifest], object], text: str, tmp_path: Path
) -> None:
    bundle = edits.edited(tiny_bundle("tflite"), tmp_path, "decoder", None, change)
    assert text in said(bundle)
